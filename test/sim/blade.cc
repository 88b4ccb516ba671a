#include "sim/blade.h"

#include <algorithm>

#include "base/crc32c.h"
#include "log/log_scan.h"
#include "sim/network.h"
#include "sim/pair_net.h"
#include "sim/world.h"
#include "store/block_store.h"

namespace perdure::sim {

using env::IoKind;
using store::testing::MemoryKvStore;

namespace {
const std::string log_path = "log", new_log_path = "log.new", blocks_path = "blocks";
}

Blade::Blade(World& world, size_t number)
    : world_(world),
      number_(number),
      env_(world.seed() + number),
      image_(std::make_shared<store::testing::MemoryKvImage>()),
      history_(world) {
  const Profile& p = world_.profile();
  env_.set_io_latency([this, &p](const std::string& path, IoKind) {
    Random& random = world_.random();
    if (p.io_slow_one_in != 0 && random.one_in(p.io_slow_one_in)) return random.exponential(p.io_slow);
    return (p.io_min + random.exponential(p.io_mean)) * (path == log_path ? p.log_factor : 1);
  });
  env_.set_io_shuffled(p.io_shuffled);
  env_.set_fault([this](const std::string& path, IoKind kind) { return disk_fails(path, kind); });
  env_.set_damage([this](const std::string& path) { return damages(path); });
  env_.set_misread([this, &p](const std::string& path) {
    if (!dying_ || p.io_error_one_in == 0 || !world_.random().one_in(p.io_error_one_in)) return false;
    world_.trace("a misread of {}", path);
    error_injected_ = true;
    return true;
  });
  env_.set_write_observer([this](const std::string& path, uint64_t offset, Bytes bytes) {
    if (path == log_path) history_.written(offset, bytes);
    if (path == blocks_path)
      world_.trace("blade {} writes {} blocks at {}, the first is {:08x}", name(), bytes.size() / 4096,
                   offset / 4096, crc32c(bytes.first(4096)));
  });
}

Blade::~Blade() {
  CHECK(state_ == State::down);
}

void Blade::end() {
  if (state_ != State::down) die(false);
}

// -------------------------------------------------------------------------------------------- disk errors

std::optional<ErrorKind> Blade::disk_fails(const std::string& path, IoKind kind) {
  const uint64_t one_in = world_.profile().io_error_one_in;
  if (!dying_ || one_in == 0 || !world_.random().one_in(one_in)) return std::nullopt;
  if (!may_die()) return std::nullopt;  // of which it may die
  if (member_ != nullptr && path == blocks_path && kind == IoKind::flush) return std::nullopt;
  world_.trace("an I/O error: {}, kind {}", path, static_cast<int>(kind));
  error_injected_ = failing_ = true;
  return kind == IoKind::grow && world_.random().one_in(2) ? ErrorKind::no_space : ErrorKind::io;
}

std::optional<ErrorKind> Blade::store_fails() {
  const uint64_t one_in = world_.profile().kv_error_one_in;
  if (!dying_ || one_in == 0 || !world_.random().one_in(one_in) || !may_die()) return std::nullopt;
  world_.trace("an I/O error: the store");
  error_injected_ = failing_ = true;
  return world_.random().one_in(2) ? ErrorKind::no_space : ErrorKind::io;
}

std::optional<env::Damage> Blade::damages(const std::string& path) {
  const uint64_t one_in = world_.profile().damage_one_in;
  if (!dying_ || path != blocks_path || one_in == 0 || !world_.random().one_in(one_in)) return std::nullopt;
  if (member_ != nullptr && !has_twin()) return std::nullopt;
  const auto damage =
      world_.random().pick({env::Damage::misdirected, env::Damage::rotten, env::Damage::unreadable});
  world_.trace("a write of blocks is damaged, kind {}", static_cast<int>(damage));
  error_injected_ = true;
  world_.after(world_.random().exponential(std::chrono::seconds(1)), [this] { heal(); });
  return damage;
}

bool Blade::has_twin() const {
  const mirror::Configuration& configuration = world_.pair_net().configuration().configuration;
  const mirror::Member* peer = world_.blade(1 - number_).member();
  if (configuration.alone() || !configuration.has(member_->self()) || peer == nullptr ||
      !configuration.has(peer->self()))
    return false;
  // What a primary writes while nobody listens, or only tells its mirror of, is on its own disk alone.
  const mirror::Sender* sender = member_->sender();
  return member_->role() != mirror::Member::Role::primary ||
         (sender != nullptr && sender->following() && !sender->full());
}

void Blade::heal() {
  env_.heal(blocks_path);
}

void Blade::spare() {
  dying_ = false;
  heal();
}

// ------------------------------------------------------------------------------------------------- time

std::optional<env::Instant> Blade::next_event() const {
  if (state_ == State::down) return std::nullopt;
  const std::optional<env::Instant> next = env_.next_event();
  if (!next) return std::nullopt;
  return std::max({*next, busy_until_, paused_until_});
}

void Blade::step() {
  env_.set_now(world_.now());
  env_.run_one();
  busy_until_ = world_.now() + std::chrono::nanoseconds(world_.random().below(3000));
  if (exiting_) {
    world_.trace("blade {}: the server process ends: {}", name(), exit_reason_);
    return die(false), restart_later();
  }
  if (after_step_) after_step_();
  if (!dying_ || death_in_ == 0 || --death_in_ != 0) return;
  if (!may_die()) {
    death_in_ = 1;
    return;
  }
  const bool power = world_.random().below(100) < world_.profile().power_cut_percent;
  die(power && !flipped_);
  restart_later();
}

// ----------------------------------------------------------------------------------------------- start

// `next` is called with what was asked for; an error ends the process.
template <class F>
auto Blade::or_exit(F next) {
  return [this, next = std::move(next)](auto result) mutable {
    if (!result) return exit(result.error());
    next(std::move(*result));
  };
}

// The server process ends with the callback that is being executed.
void Blade::exit(const Error& error) {
  if (std::exchange(exiting_, true)) return;
  exit_reason_ = error.message;
  const bool excused = std::exchange(error_injected_, false);
  heal();
  if (flipped_ && error.kind == ErrorKind::corrupt) return put_bit_back();
  // It is no longer a part of the pair: that is no failure.
  if (member_ != nullptr && error.kind == ErrorKind::stopped) return;
  if (!excused) world_.fail("the server process ends: {}", error.message);
}

void Blade::start() {
  CHECK(state_ == State::down);
  state_ = State::starting;
  ++starts_;
  exiting_ = false;
  env_.set_now(world_.now());
  env_.post([this] {
    const Profile& p = world_.profile();
    parts_.store = std::make_unique<MemoryKvStore>(
        env_, image_,
        store::testing::MemoryKvOptions{.needs_io_percent = p.kv_needs_io_percent,
                                        .delay_max = p.kv_delay_max,
                                        .fails = [this] { return store_fails(); }});
    if (env_.exists(log_path)) return open_ring();
    // As server/server.cc does it: complete under its name, or not there.
    if (env_.exists(new_log_path)) env_.remove(new_log_path);
    log::LogRing::create(env_, new_log_path, p.log_bytes, [this](const Result<void>& made) {
      if (!made) return exit(made.error());
      env_.rename(new_log_path, log_path);
      open_ring();
    });
  });
}

void Blade::open_ring() {
  log::LogRing::open(env_, log_path, or_exit([this](std::unique_ptr<log::LogRing> ring) {
                       parts_.ring = std::move(ring);
                       open_blocks();
                     }));
}

void Blade::open_blocks() {
  store::open_block_file(
      env_, blocks_path,
      {.bytes_max = world_.profile().blocks_bytes_max, .step_bytes = 8U << 20U, .keep_free_bytes = 0},
      or_exit([this](std::unique_ptr<store::BlockStore> blocks) {
        parts_.blocks = std::move(blocks);
        restore();
      }));
}

server::VserverOptions Blade::options() const {
  const Profile& p = world_.profile();
  server::VserverOptions options;
  options.epoch = Epoch(parts_.ring->start_number().value);
  options.memory_bytes = p.memory_bytes;
  if (p.small_steps) {
    options.data.record_bytes_max = 2 * block_bytes;
    options.data.record_blocks_max = 2;
    options.data.commit_blocks = 4;
    options.data.write_back_blocks = 8;
    options.data.rows_max = 4;
  }
  options.checkpoint = {.records_max = p.checkpoint_records_max,
                        .bytes_max = p.log_bytes / 4,
                        .interval = p.checkpoint_interval};
  options.clients.lease_seconds = p.lease_seconds;
  options.clients.courtesy_seconds = p.courtesy_seconds;
  options.clients.owners_per_client_max = p.owners_per_client_max;
  options.data.margin_blocks = p.margin_blocks;
  options.rows_copied_at_once = p.rows_copied_at_once;
  if (p.hashes_collide) options.clients.hash_mask = 1;
  options.nfs.async_shared_bytes_min = uint64_t{16} * block_bytes;
  options.nfs.async_moved_bytes_min = uint64_t{4} * block_bytes;
  options.nfs.exports[0].squash = nfs4::Squash::none;
  return options;
}

void Blade::restore() {
  if (world_.profile().pair) return join_pair();
  const server::VserverOptions vserver_options = options();
  server::Vserver::start(
      env_, std::move(parts_), vserver_options, [this](Error error) { exit(error); },
      or_exit([this](std::unique_ptr<server::Vserver> vserver) {
        alone_ = std::move(vserver);
        vserver_ = alone_.get();
        serve();
      }));
}

void Blade::join_pair() {
  arbiter_ = world_.pair_net().arbiter(number_);
  std::vector<std::unique_ptr<mirror::Connector>> paths;
  for (size_t path = 0; path < world_.profile().pair_paths; ++path)
    paths.push_back(world_.pair_net().connector(number_, path));
  const mirror::BundleOptions bundle{.busy_bytes = 2048};
  connector_ = mirror::connector_over(env_, std::move(paths), bundle);
  acceptor_ = std::make_unique<mirror::BundleAcceptor>(
      env_, [this](std::unique_ptr<mirror::Channel> channel) { member_->accept(std::move(channel)); },
      bundle);
  replica_ = std::make_unique<server::VserverReplica>(env_, std::move(parts_), options(),
                                                      [this](Error error) { exit(error); });
  mirror::Member::Options member_options;
  member_options.self = {name(), world_.random().next() | 1U};
  member_options.peer = number_ == 0 ? "b" : "a";
  member_options.level = static_cast<mirror::Level>(world_.profile().level);
  member_options.blocks_on_the_way = world_.profile().blocks_on_the_way;
  mirror::Member::Hooks hooks;
  hooks.serving = [this] {
    vserver_ = replica_->vserver();
    serve();
  };
  hooks.ended = [this](Error error) { exit(error); };
  hooks.hand_over_wanted = [this] { hand_over(); };
  member_ = std::make_unique<mirror::Member>(env_, *replica_, *arbiter_, *connector_, member_options,
                                             std::move(hooks));
  member_->set_fit(fit_);
  member_->start();
}

void Blade::hand_over() {
  if (member_ == nullptr) return;
  post([this] {
    if (member_ != nullptr && member_->role() == mirror::Member::Role::mirror)
      (void)member_->want_hand_over();
    else if (member_ != nullptr && member_->hand_over())
      world_.trace("blade {} hands over", name());
  });
}

void Blade::set_fit(bool fit) {
  fit_ = fit;
  if (member_ != nullptr)
    post([this, fit] {
      if (member_ != nullptr) member_->set_fit(fit);
    });
}

void Blade::accept(std::unique_ptr<mirror::Channel> channel) {
  post([this, channel = std::move(channel)]() mutable { acceptor_->accept(std::move(channel)); });
}

void Blade::pause(env::Duration time) {
  if (state_ == State::down) return;
  world_.trace("blade {} stands still for {} us", name(), time / std::chrono::microseconds(1));
  paused_until_ = std::max(paused_until_, world_.now() + time);
}

std::string Blade::says() const {
  if (state_ == State::down) return "down";
  if (member_ == nullptr) return serving() ? "serving" : "starting or stopping";
  std::string text = fmt::format("{}, {}, epoch {}", mirror::name(member_->role()), member_->says(),
                                 member_->configuration().epoch);
  if (const mirror::Sender* sender = member_->sender(); sender != nullptr)
    text += fmt::format("; its follower: {}, sent {}, received {}, stable {}, time {}, {} in sync",
                        sender->following(), sender->sent(), sender->ack().received, sender->ack().stable,
                        sender->ack().time, member_->configuration().in_sync.size());
  return text;
}

void Blade::serve() {
  if (flipped_) return world_.fail("the server starts with a damaged log, at {}", flipped_->first);
  const server::RestorationFigures& r = vserver_->restoration();
  world_.trace("blade {} serves: start {}, {} records redone, {} transactions resumed", name(),
               vserver_->commit().start(), r.records, r.resumed);
  world_.note(r.records);
  check();
  if (member_ == nullptr) history_.compare(*vserver_);
  front_ = std::make_unique<server::RpcFront>();
  front_->add_program(100003, 4, 4, 2, vserver_->nfs());
  front_->set_callback_sink(vserver_->nfs().callbacks());
  wire::Transport& clients = world_.network().server_up(*front_, *this);
  front_->attach(clients);
  vserver_->nfs().attach(clients);
  state_ = State::serving;
  serving_since_ = world_.now();
}

bool Blade::at_rest() const {
  if (!serving() || !vserver_->processor().in_flight().empty() || vserver_->checkpointer().under_way() ||
      env_.io_under_way() != 0)
    return false;
  bool any = false;
  vserver_->processor().transactions().for_each([&](const auto&, const auto&) { any = true; });
  return !any;
}

void Blade::compare(Blade& mirror) {
  mirror.vserver_ = mirror.replica_->vserver();
  mirror.vserver_->prepare_check(vserver_->fs().epoch());
  mirror.check();
  const std::string difference = first_difference(
      all_rows(vserver_->database()), all_rows(mirror.vserver_->database()), vserver_->database());
  if (!difference.empty()) world_.fail("the mirror's rows are not the primary's: {}", difference);
  mirror.vserver_ = nullptr;
}

void Blade::check() {
  uint64_t shown = 0;
  state::Findings findings([&](const std::string& line) {
    if (shown++ == 0) world_.fail("perdure check: {}", line);
    world_.trace("check: {}", line);
  });
  const Result<server::CheckFigures> figures =
      server::check({.fs = vserver_->fs(),
                     .clients = vserver_->clients(),
                     .transactions = vserver_->processor().transactions(),
                     .blocks = vserver_->blocks(),
                     .read_blocks = [this](BlockNo first, MutableBytes into) -> Result<void> {
                       env_.read(blocks_path, first.value * 4096, into);
                       return {};
                     }},
                    findings);
  if (!figures) return world_.fail("perdure check: {}", figures.error().message);
  figures_ = *figures;
}

// ------------------------------------------------------------------------------------------------ deaths

void Blade::kill() {
  if (state_ != State::down) die(false), restart_later();
}
void Blade::power_cut() {
  if (state_ != State::down) die(true), restart_later();
}

void Blade::power_cut(env::SectorFate fate) {
  if (state_ != State::down) die(true, fate), restart_later();
}

void Blade::die(bool power, std::optional<env::SectorFate> fate) {
  CHECK(state_ != State::down);
  world_.trace("blade {}: {}", name(), power ? "THE POWER IS CUT" : "THE SERVER PROCESS DIES");
  world_.note(power ? 1 : 2);
  state_ = State::down;
  failing_ = false;
  ++deaths_;
  world_.network().server_down(*this);
  world_.pair_net().process_died(number_, power);
  for (size_t i = 0; world_.blades() == 2 && i < 2; ++i) world_.blade(i).heal();
  paused_until_ = {};
  if (fate)
    crash_disks(*fate);
  else if (power)
    env_.crash();
  else
    env_.kill();
  front_.reset();
  vserver_ = nullptr;
  member_.reset();
  replica_.reset();
  connector_.reset();
  acceptor_.reset();
  arbiter_.reset();
  alone_.reset();
  parts_ = {};
  // Of `n` volatile parts so many are kept.
  if (!power) return;
  const uint64_t n = image_->volatile_parts();
  const uint64_t parts = !fate || fate == env::SectorFate::tear ? world_.random().next()
                         : fate == env::SectorFate::keep        ? n
                                                                : 0;
  image_->crash(parts);
}

void Blade::crash_disks(env::SectorFate fate) {
  env_.crash([this, fate](const std::string&, uint64_t) {
    if (fate != env::SectorFate::tear) return fate;
    return world_.random().pick({env::SectorFate::keep, env::SectorFate::drop, env::SectorFate::tear});
  });
}

bool Blade::may_die() const {
  if (member_ == nullptr || world_.profile().level != static_cast<int>(mirror::Level::mirror)) return true;
  const mirror::Configuration& configuration = world_.pair_net().configuration().configuration;
  if (!configuration.has(member_->self()) || configuration.alone()) return true;
  const Blade& peer = world_.blade(1 - number_);
  return has_twin() && !peer.down() && !peer.failing_;
}

void Blade::draw_death() {
  const Profile& p = world_.profile();
  death_in_ = 0;
  if (!dying_ || deaths_ >= p.deaths_max) return;
  const bool early = world_.random().below(100) < p.early_death_percent;
  const uint64_t mean = early ? std::min<uint64_t>(p.death_gap_mean, 60) : p.death_gap_mean;
  death_in_ = 1 + static_cast<uint64_t>(world_.random().exponential(static_cast<double>(mean)));
}

void Blade::restart_later() {
  Random& random = world_.random();
  const Profile& p = world_.profile();
  draw_death();
  if (p.clock_jump_max.count() != 0)
    env_.jump_wall_clock(random.between(env::Duration(0), 2 * p.clock_jump_max) - p.clock_jump_max);
  if (dying_ && p.rot_one_in != 0 && random.one_in(p.rot_one_in)) flip_a_bit();
  world_.after(random.between(env::Duration(0), p.restart_delay_max), [this] {
    if (state_ == State::down) start();
  });
}

// A clean stop loses nothing and keeps the write verifier.
void Blade::restart_cleanly() {
  if (state_ != State::serving) return;
  state_ = State::stopping;
  world_.trace("the server is asked to stop");
  world_.network().server_down(*this);
  env_.post([this] { vserver_->stop([this] { exiting_ = true, exit_reason_ = "stopped"; }); });
}

// In a batch that the checkpoint does not contain, and of which a later batch says that it was durable.
void Blade::flip_a_bit() {
  if (flipped_ || !env_.exists(log_path)) return;
  const log::Source source{.read_at = [this](uint64_t offset, MutableBytes into) -> Result<void> {
                             env_.read(log_path, offset, into);
                             return {};
                           },
                           .name = log_path,
                           .superblock = {}};
  Result<log::Superblock> superblock =
      log::read_superblock(source.read_at, world_.profile().log_bytes, log_path);
  if (!superblock) return;
  log::Source with = source;
  with.superblock = *superblock;
  const Result<std::vector<log::BatchHeader>> headers = log::find_log(with);
  if (!headers || headers->empty()) return;
  const Lsn applied = image_->applied().read_from;
  std::vector<const log::BatchHeader*> candidates;
  for (const log::BatchHeader& h : *headers)
    if (h.lsn >= applied && h.end() <= headers->back().durable) candidates.push_back(&h);
  if (candidates.empty()) return;
  const log::BatchHeader& batch = *candidates[world_.random().below(candidates.size())];
  // Of the payload or the header, not of the padding, which nobody reads.
  const Lsn at = batch.lsn + Lsn(world_.random().below(log::batch_header_bytes + batch.payload_bytes));
  const uint64_t offset = with.offset_of(at);
  ByteVector sector(log::sector_bytes);
  env_.read(log_path, offset / log::sector_bytes * log::sector_bytes, sector);
  const std::byte old = sector[offset % log::sector_bytes];
  const std::byte now = old ^ static_cast<std::byte>(1U << world_.random().below(8));
  env_.overwrite(log_path, offset, Bytes(&now, 1));
  flipped_ = {offset, old};
  world_.trace("a bit of the log flips, in the batch at {}", batch.lsn);
}

void Blade::put_bit_back() {
  env_.overwrite(log_path, flipped_->first, Bytes(&flipped_->second, 1));
  flipped_.reset();
}

}  // namespace perdure::sim
