#include "client/testing/world.h"

#include <algorithm>

#include "base/crc32c.h"
#include "client/check.h"
#include "client/create_session.h"
#include "client/exchange_id.h"
#include "client/reclaim_complete.h"

namespace perdure::client::testing {

namespace {
constexpr uint64_t ring_bytes = 8U << 20U;
constexpr const char* ring_path = "ring";
}  // namespace

World::World(ClientState::Options options, uint64_t seed) : env_(seed), options_(options) {
  log::LogRing::create(env_, ring_path, ring_bytes, [](Result<void> r) { CHECK(r.has_value()); });
  env_.run_until_idle();
  start();
}

World::~World() = default;

World::Life::Life(World& world)
    : store(world.env_, world.image_),
      database(world.env_, store),
      cs(world.env_, database, world.options_, world.hooks()),
      jobs(database),
      run(database) {}

ClientState::Hooks World::hooks() {
  return {.released = [this](Run& run, InodeId inode) -> Outcome<void> {
            if (std::exchange(fault_in_released, false)) return Stop::fault();
            run.on_commit([this, inode] { released.push_back(inode); });
            return {};
          },
          .start_expire =
              [this](Run& run, ClientId client) {
                life_->jobs.put(run, {client}, {{client, ExpireRegisters::Step::remove}});
              },
          .resume = [this](TransactionId id) { resumed.push_back(id); }};
}

// Restoration, as a vserver does it.
void World::start() {
  epoch_ = epoch_.next();
  life_ = std::make_unique<Life>(*this);
  Life& life = *life_;
  life.cs.set_epoch(epoch_);
  const auto expect = [](auto& done) { return [&done](auto r) { done = r.has_value(); }; };
  bool loaded = false, read = false;
  life.database.load_resident(expect(loaded));
  env_.run_until_idle();
  CHECK(loaded);
  log::LogRing::open(env_, ring_path,
                     [&](Result<std::unique_ptr<log::LogRing>> r) { life.ring = std::move(*r); });
  env_.run_until_idle();
  const store::Applied applied = life.store.applied();
  life.ring->read(
      applied.read_from, applied.lsn, applied.start,
      [&](Bytes record, Lsn lsn) { return life.database.redo(record, lsn); }, expect(read));
  env_.run_until_idle();
  CHECK(read);
  life.ring->trim(applied.read_from);
  life.commit =
      std::make_unique<log::GroupCommit>(env_, life.ring.get(), Epoch(1), [](Error) { CHECK(false); });
  life.database.connect(*life.commit);
  life.cs.restored();
}

void World::restart() {
  env_.crash();
  life_.reset();
  image_->crash(env_.random());
  start();
}

void World::checkpoint() {
  bool done = false;
  life_->database.begin_checkpoint([&](Result<store::Applied> applied) {
    CHECK(applied.has_value());
    life_->ring->trim(applied->read_from);
    done = true;
  });
  life_->commit->flush();
  while (!done) CHECK(env_.run_one());
}

Run& World::begin(TransactionId id) {
  last_id_ = std::max(last_id_, id.value);
  if (life_->commit->room() < (2U << 20U)) checkpoint();
  life_->run.begin(id, 0, env_.wall_time());
  return life_->run;
}

void World::end(Run& run) {
  run.end_step({});
  run.commit();
  life_->commit->flush();
  env_.run_until_idle();
}

auto World::make_client(std::string_view owner, uint64_t verifier) -> Client {
  const auto made = run([&](Run& r) -> Outcome<Client> {
    const ExchangedId id =
        TRY(exchange_id(cs(), r, {.owner = bytes_of(owner), .verifier = verifier, .principal = "root"}));
    const ChannelAttributes attributes{4096, 4096, 4096, 16, 64};
    const CreatedSession session = TRY(create_session(cs(), r,
                                                      {.client = id.client,
                                                       .seqid = id.create_seqid,
                                                       .principal = "root",
                                                       .fore = attributes,
                                                       .back = attributes}));
    TRY(cache_create_session(cs(), r, id.client, ByteVector(4)));
    TRY(reclaim_complete(cs(), r, id.client, false));
    return Client{id.client, session.id, TRY(cs().find_session(r, session.id)).number};
  });
  CHECK(made.has_value());
  return *made;
}

void World::find_expired() {
  for (const ClientId client : life_->cs.take_expired(SIZE_MAX)) {
    (void)run([&](Run& r) -> Outcome<void> {
      life_->jobs.put(r, {client}, {{client, ExpireRegisters::Step::decide}});
      return {};
    });
  }
}

bool World::run_jobs_once() {
  std::vector<ExpireRegisters> all;
  life_->jobs.for_each([&](const JobRow::Key&, const JobRow& row) { all.push_back(row.registers); });
  for (ExpireRegisters registers : all) {
    const auto finished = run([&](Run& r) -> Outcome<bool> {
      ExpireRegisters after = registers;
      const bool done = TRY(expire_step(life_->cs, r, after));
      if (done)
        life_->jobs.erase(r, {after.client});
      else
        life_->jobs.put(r, {after.client}, {after});
      return done;
    });
    CHECK(finished || finished.error().is_fault());
  }
  return !all.empty();
}

std::string World::describe_rows() const {
  std::string all;
  const auto add = [&all](const auto& table) {
    table.for_each([&](const auto& key, const auto& row) {
      Encoder bytes;
      state::encode(bytes, row);
      all += fmt::format("{} {}: {} ({:08x})\n", table.name(), state::describe(key), state::describe(row),
                         crc32c(bytes.bytes()));
    });
  };
  const ClientState& cs = life_->cs;
  add(cs.clients), add(cs.client_owners), add(cs.sessions), add(cs.slots), add(cs.opens);
  add(cs.lock_states), add(cs.locks), add(life_->jobs);
  return all;
}

size_t World::rows() const {
  const ClientState& cs = life_->cs;
  return cs.clients.size() + cs.client_owners.size() + cs.sessions.size() + cs.slots.size() +
         cs.opens.size() + cs.lock_states.size() + cs.locks.size();
}

std::string World::check_twins() {
  const std::string followed = life_->cs.describe_twins();
  life_->cs.restored();
  const std::string derived = life_->cs.describe_twins();
  std::string wrong = followed == derived ? "" : fmt::format("followed:\n{}derived:\n{}", followed, derived);
  for (const std::string& line : findings()) wrong += line + '\n';
  return wrong;
}

std::vector<std::string> World::findings() {
  CheckSurroundings surroundings;
  life_->jobs.for_each(
      [&](const JobRow::Key& key, const JobRow&) { surroundings.expiring.push_back(key.client); });
  cs().slots.for_each([&](const SlotRow::Key&, const SlotRow& row) {
    if (row.in_progress != TransactionId(0)) surroundings.transactions.push_back(row.in_progress);
  });
  std::ranges::sort(surroundings.transactions);
  std::vector<std::string> found;
  state::Findings findings([&found](const std::string& line) { found.push_back(line); });
  CHECK(check(cs(), surroundings, findings));
  return found;
}

}  // namespace perdure::client::testing
