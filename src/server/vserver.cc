#include "server/vserver.h"

#include <spdlog/spdlog.h>

#include "base/planted_bug.h"
#include "client/expire.h"
#include "client/open.h"
#include "fs/data.h"
#include "fs/freed.h"
#include "fs/reclaim.h"
#include "fs/remove.h"
#include "fs/volume.h"
#include "fs/write_back.h"
#include "server/job.h"

namespace perdure::server {

using processor::Kind;
using state::Run;

namespace {
constexpr fs::VolumeId first_volume(1);
constexpr env::Duration write_back_interval = std::chrono::seconds(5);
constexpr env::Duration dirty_age = std::chrono::seconds(10);
constexpr env::Duration lease_check_interval = std::chrono::seconds(1);
constexpr size_t expire_at_once = 16;

struct NoRegisters {
  template <class Self, class V>
  static void fields(Self&, V&&) {}
};
}  // namespace

Vserver::Vserver(env::Env& env, Parts parts, VserverOptions options,
                 std::move_only_function<void(Error)> failed)
    : env_(env),
      parts_(std::move(parts)),
      options_(std::move(options)),
      failed_(std::move(failed)),
      database_(std::make_unique<state::Database>(env, *parts_.store)),
      vservers_(std::make_unique<state::Table<VserverRow>>(*database_)),
      epochs_(std::make_unique<state::Table<EpochRow>>(*database_)) {
  fs::FileSystem::Hooks fs_hooks;
  fs_hooks.is_open = [this](Run& run, InodeId inode) { return client::is_open(*clients_, run, inode); };
  fs_hooks.start_reclaim = [this](Run& run, InodeId inode) {
    processor_->start(run, reclaim_job(processor_->new_id(), {.inode = inode}));
  };
  fs_hooks.resume = [this](TransactionId id) { processor_->resume(id); };
  fs::FileSystemOptions file_options;
  fs::DataOptions& data = file_options.data;
  data = options_.data;
  data.memory_bytes = options_.memory_bytes / 4 * 3;
  data.dirty_bytes_max = options_.memory_bytes / 8;
  data.dirty_bytes_low = data.dirty_bytes_max / 2;
  data.page_row_bytes_max = std::min(options_.memory_bytes / 8, 2 * options_.checkpoint.bytes_max);
  data.page_row_bytes_low = data.page_row_bytes_max / 2;
  if (parts_.ring != nullptr)  // pages that a COMMIT finds changed go into the log
    data.commit_blocks = static_cast<uint32_t>(std::clamp<uint64_t>(
        parts_.ring->capacity() / 64 / block_bytes, data.record_blocks_max + 1, data.commit_blocks));
  fs_ = std::make_unique<fs::FileSystem>(env, *database_, *parts_.blocks, std::move(fs_hooks), file_options);
  client::ClientState::Hooks client_hooks;
  client_hooks.released = [this](Run& run, InodeId inode) { return fs::released(*fs_, run, inode); };
  client_hooks.start_expire = [this](Run& run, client::ClientId client) {
    processor_->start(run, expire_job(processor_->new_id(), {client, client::ExpireRegisters::Step::remove}));
  };
  client_hooks.start_recall = [this](Run& run, client::ClientId client, client::StateKey key) {
    processor_->start(run, recall_job(processor_->new_id(), {client, key.inode, key.number}));
  };
  client_hooks.start_lock_wait = [this](Run& run, client::WantedLock wanted) {
    processor_->start(run, lock_wait_job(processor_->new_id(), {.wanted = std::move(wanted)}));
  };
  client_hooks.want_callback_link = [this](client::ClientId client) { nfs_->callback_links().want(client); };
  client_hooks.resume = [this](TransactionId id) { processor_->resume(id); };
  clients_ =
      std::make_unique<client::ClientState>(env, *database_, options_.clients, std::move(client_hooks));
  processor::Processor::Options processing;
  if (parts_.ring != nullptr)
    processing.log_reserve_bytes = std::min(processing.log_reserve_bytes, parts_.ring->capacity() / 4);
  processor_ = std::make_unique<processor::Processor>(env, *database_, processing,
                                                      [this](Error error) { fail(std::move(error)); });
  database_->set_memory_limit(options_.memory_bytes / 4);
}

Vserver::~Vserver() = default;

void Vserver::fail(Error error) {
  if (failed_) std::exchange(failed_, nullptr)(std::move(error));
}

// ------------------------------------------------------------------------------------------- restoration

void Vserver::load(env::Env& env, Parts parts, VserverOptions options,
                   std::move_only_function<void(Error)> failed, env::Done<std::unique_ptr<Vserver>> done,
                   log::LogRing::Wanted wanted) {
  auto vserver =
      std::unique_ptr<Vserver>(new Vserver(env, std::move(parts), std::move(options), std::move(failed)));
  Vserver& v = *vserver;
  v.began_ = env.now();
  v.database_->load_resident([&v, vserver = std::move(vserver), wanted = std::move(wanted),
                              done = std::move(done)](Result<void> loaded) mutable {
    if (!loaded) return done(std::move(loaded).error());
    v.restoration_.load = v.env_.now() - v.began_;
    v.redo(std::move(wanted),
           [&v, vserver = std::move(vserver), done = std::move(done)](Result<void> redone) mutable {
             if (!redone) return done(std::move(redone).error());
             v.loaded();
             done(std::move(vserver));
           });
  });
}

void Vserver::start(env::Env& env, Parts parts, VserverOptions options,
                    std::move_only_function<void(Error)> failed, env::Done<std::unique_ptr<Vserver>> done) {
  const Epoch epoch = options.epoch;
  load(env, std::move(parts), std::move(options), std::move(failed),
       [epoch, done = std::move(done)](Result<std::unique_ptr<Vserver>> loaded) mutable {
         if (!loaded) return done(std::move(loaded).error());
         Vserver& v = **loaded;
         // It may have been a part of a pair, whose epochs count something else.
         const Epoch last = std::max(v.commit_->epoch(), mirror::newest_epoch(v.history()));
         // While it begins to serve it belongs to the environment, which forgets what is under way at a
         // crash: a job of its own must not own it.
         struct Beginning {
           std::unique_ptr<Vserver> vserver;
           env::Done<std::unique_ptr<Vserver>> done;
           env::TimerId owner;
         };
         auto beginning = std::make_shared<Beginning>(std::move(*loaded), std::move(done), env::TimerId{});
         constexpr auto never = std::chrono::hours(24 * 365);
         beginning->owner = v.env_.after(never, [beginning] {});
         v.serve(std::max(epoch, last.next()), [weak = std::weak_ptr(beginning)](Result<void> served) {
           const std::shared_ptr<Beginning> b = weak.lock();
           CHECK(b != nullptr);
           b->vserver->env_.cancel(b->owner);
           if (served) return b->done(std::move(b->vserver));
           // Not from within one of its jobs: it ends with that.
           b->vserver->env_.post(
               [b, problem = std::move(served).error()]() mutable { b->done(std::move(problem)); });
         });
       });
}

void Vserver::redo(log::LogRing::Wanted wanted, env::Done<void> done) {
  if (parts_.ring == nullptr) return done({});
  const env::Instant began = env_.now();
  const store::Applied applied = parts_.store->applied();
  parts_.ring->read(
      applied.read_from, applied.lsn, applied.start,
      [this](Bytes record, Lsn lsn) -> Result<void> {
        ++restoration_.records;
        restoration_.bytes += record.size();
        return database_->redo(record, lsn);
      },
      [this, began, done = std::move(done)](Result<Lsn> end) mutable {
        if (!end) return done(std::move(end).error());
        restoration_.redo = env_.now() - began;
        done({});
      },
      std::move(wanted));
}

// From now on it is a standby: the log's end is known, and checkpoints are made.
void Vserver::loaded() {
  commit_ = std::make_unique<log::GroupCommit>(env_, parts_.ring.get(), Epoch(0),
                                               [this](Error error) { fail(std::move(error)); });
  if (parts_.ring != nullptr) commit_->set_epoch(parts_.ring->last_epoch());
  database_->connect(*commit_);
  Checkpointer::Work work;
  work.write_back = [this](env::Task done) {
    if (open_) return write_back(fs::WriteBackScope::checkpoint, std::move(done));
    env_.post(std::move(done));  // the primary's write-back comes with its log
  };
  work.applied = [this] {
    if (open_) free_blocks();
    if (on_checkpoint_) on_checkpoint_();
  };
  work.failed = [this](Error error) { fail(std::move(error)); };
  checkpointer_ = std::make_unique<Checkpointer>(
      env_, *database_, parts_.ring.get(), options_.checkpoint,
      Checkpointer::Redone{restoration_.records, restoration_.bytes}, std::move(work));
  env_.at_turn_end([this] { turn(); });
  env_.post([] {});  // the turn that registers it may not call it
}

Result<void> Vserver::redo_batch(Bytes payload, Epoch epoch) {
  CHECK(!open_);
  Lsn lsn = commit_->next_lsn();
  uint64_t records = 0;
  for (Bytes rest = payload; !rest.empty(); ++records) {
    const Bytes record = TRY(log::first_record(rest));
    TRY(database_->redo(record, lsn));
    const size_t bytes = std::min(log::aligned_record_bytes(record.size()), rest.size());
    rest = rest.subspan(bytes);
    lsn += Lsn(bytes);
  }
  if (records == 0) return error(ErrorKind::corrupt, "a log batch without records");
  commit_->append_batch(payload, records, epoch);
  return {};
}

Result<void> Vserver::for_each_change(Bytes payload,
                                      const std::function<void(const log::RowChange&)>& change) {
  for (Bytes rest = payload; !rest.empty();) {
    const Bytes record = TRY(log::first_record(rest));
    TRY(log::for_each_change(record, change));
    rest = rest.subspan(std::min(log::aligned_record_bytes(record.size()), rest.size()));
  }
  return {};
}

Result<std::vector<mirror::NamedBlocks>> Vserver::named_blocks(Bytes payload) {
  std::vector<mirror::NamedBlocks> named;
  bool valid = true;
  TRY(for_each_change(payload, [&](const log::RowChange& change) {
    if (change.table != static_cast<uint8_t>(state::TableId::extent) || change.erased) return;
    fs::ExtentRow row;
    valid = valid && state::decode(change.row, row);
    named.push_back({row.block, std::move(row.crcs)});
  }));
  if (!valid) return error(ErrorKind::corrupt, "a log batch with an invalid extent");
  return named;
}

// Makes the volatile parts from the rows, and every machine of the `transactions` table ready to go on.
void Vserver::serve(Epoch epoch, env::Done<void> done) {
  CHECK(!open_ && epoch > commit_->epoch());
  options_.epoch = epoch;
  served_from_ = commit_->closed_end();
  checkpointer_->lead();
  commit_->set_epoch(epoch);
  fs_->set_epoch(epoch);
  clients_->set_epoch(epoch);
  processor_->set_epoch(epoch);
  fs_->restored();
  use_secret();
  clients_->restored();
  const auto ready = [this](env::Done<void> then) {
    open_service();
    if (options_.paired) begin_epoch();
    // Requests that were in flight see the same exports as new ones.
    set_exports(options_.nfs.exports, [this, then = std::move(then)](Result<void> exported) mutable {
      if (!exported) return then(std::move(exported));
      Result<size_t> resumed = processor_->restore();
      if (!resumed) return then(std::move(resumed).error());
      restoration_.resumed = *resumed;
      restoration_.total = env_.now() - began_;
      open_ = true;
      if (fs_->freed.size() != 0) free_blocks();
      every(write_back_interval, &Vserver::write_back_aged);
      leases_checked_ = env_.now();
      every(lease_check_interval, &Vserver::check_leases);
      then({});
    });
  };
  if (vservers_->peek({0}) != nullptr) return ready(std::move(done));
  make_volume([ready, done = std::move(done)](Result<void> made) mutable {
    if (!made) return done(std::move(made).error());
    ready(std::move(done));
  });
}

// The first of its records, so that where there is any of them, this one is there, too.
void Vserver::begin_epoch() {
  constexpr size_t epochs_max = 64;
  using BeginEpoch = Job<NoRegisters>;
  processor_->submit(std::make_unique<BeginEpoch>(*processor_, processor_->new_id(), Kind::unlogged,
                                                  InternalOperation::begin_epoch, NoRegisters{},
                                                  [this](Run& run, NoRegisters&) -> Outcome<bool> {
                                                    const mirror::History all = history();
                                                    for (size_t i = 0; i + epochs_max < all.size(); ++i)
                                                      epochs_->erase(run, {all[i].epoch});
                                                    epochs_->put(run, {options_.epoch}, {served_from_});
                                                    return true;
                                                  }));
}

mirror::History Vserver::history() const {
  mirror::History all;
  epochs_->for_each(
      [&](const EpochRow::Key& key, const EpochRow& row) { all.push_back({key.epoch, row.lsn}); });
  if (options_.paired && open_ && (all.empty() || all.back().epoch < options_.epoch))
    all.push_back({options_.epoch, served_from_});
  return all;
}

void Vserver::prepare_check(Epoch epoch) {
  CHECK(!open_);
  fs_->set_epoch(epoch);
  use_secret();
}

// A new vserver has none yet.
void Vserver::use_secret() {
  if (const VserverRow* row = vservers_->peek({0})) clients_->set_key(row->secret);
}

void Vserver::mirror_applied(Lsn lsn) {
  database_->set_mirror_applied(lsn);
  if (open_) free_blocks();
}

// A new vserver: its identity, and one volume.
void Vserver::make_volume(env::Done<void> done) {
  using MakeVolume = Job<NoRegisters>;
  VserverRow row;
  for (uint64_t* word : {&row.uuid[0], &row.uuid[1], &row.secret.k0, &row.secret.k1}) *word = env_.random();
  processor_->submit(std::make_unique<MakeVolume>(
      *processor_, processor_->new_id(), Kind::unlogged, InternalOperation::make_volume, NoRegisters{},
      [this, row](Run& run, NoRegisters&) -> Outcome<bool> {
        vservers_->put(run, {0}, row);
        TRY(fs::create_volume(*fs_, run, {.id = first_volume, .name = "volume1"}));
        return true;
      },
      [done = std::move(done)](Status status) mutable {
        if (status == Status::ok) return done({});
        done(error(ErrorKind::io, "cannot make the first volume: {}", name(status)));
      }));
}

void Vserver::set_exports(std::vector<nfs4::Export> exports, env::Done<void> done) {
  using SetExports = Job<NoRegisters>;
  processor_->submit(std::make_unique<SetExports>(
      *processor_, processor_->new_id(), Kind::unlogged, InternalOperation::set_exports, NoRegisters{},
      [this, exports = std::move(exports)](Run& run, NoRegisters&) -> Outcome<bool> {
        TRY(nfs_->exports().apply(*fs_, run, exports));
        return true;
      },
      [done = std::move(done)](Status status) mutable {
        if (status == Status::ok) return done({});
        done(error(ErrorKind::invalid, "the exports cannot be made: {}", name(status)));
      }));
}

// A new one with each start, but for a start right after a clean stop: then all that was written under the
// old one is there.
uint64_t Vserver::write_verifier() const {
  const VserverRow& row = *vservers_->peek({0});
  if (planted("the write verifier stays after a crash")) return row.uuid[0];
  if (row.clean_stop.value != 0 && row.clean_stop.value + 1 == options_.epoch.value)
    return row.write_verifier;
  return row.uuid[0] ^ options_.epoch.value;
}

void Vserver::open_service() {
  use_secret();
  const VserverRow& row = *vservers_->peek({0});
  uuid_ = fmt::format("{:016x}{:016x}", row.uuid[0], row.uuid[1]);
  options_.nfs.server_owner = "perdure-" + uuid_;
  options_.nfs.server_scope = options_.nfs.server_owner;
  options_.nfs.write_verifier = write_verifier();
  nfs_ = std::make_unique<nfs4::Service>(*fs_, *clients_, *processor_, options_.nfs);
  processor_->register_factory(Kind::reclaim, [this](TransactionId id, Bytes machine) {
    fs::ReclaimRegisters registers;
    return state::decode(machine, registers) ? reclaim_job(id, registers) : nullptr;
  });
  processor_->register_factory(Kind::expire_client, [this](TransactionId id, Bytes machine) {
    client::ExpireRegisters registers;
    return state::decode(machine, registers) ? expire_job(id, registers) : nullptr;
  });
  processor_->register_factory(Kind::recall, [this](TransactionId id, Bytes machine) {
    nfs4::RecallRegisters registers;
    return state::decode(machine, registers) ? recall_job(id, registers) : nullptr;
  });
  processor_->register_factory(Kind::lock_wait, [this](TransactionId id, Bytes machine) {
    nfs4::LockWaitRegisters registers;
    return state::decode(machine, registers) ? lock_wait_job(id, std::move(registers)) : nullptr;
  });
  processor_->register_factory(Kind::async_copy, [this](TransactionId id, Bytes machine) {
    nfs4::AsyncCopyRegisters registers;
    return state::decode(machine, registers) ? async_copy_job(id, std::move(registers)) : nullptr;
  });
  nfs_->async_copies().start = [this](Run& run, nfs4::AsyncCopyRegisters registers) {
    processor_->start(run, async_copy_job(processor_->new_id(), std::move(registers)));
  };
  fs_->data().hooks.want_checkpoint = [this] { checkpointer_->request([] {}); };
  fs_->data().hooks.want_freeing = [this] { free_blocks(); };
  fs_->data().hooks.failed = [this](const Error& error) { fail(error); };
  fs_->data().hooks.want_write_back = [this] { write_back(fs::WriteBackScope::everything); };
}

// -------------------------------------------------------------------------------------------- service

// The processor comes last: the others may give it work, and it sees to another turn if any is left.
void Vserver::turn() {
  checkpointer_->turn();
  if (!open_) {
    database_->trim_memory(database_->tick());
  } else {
    if (planted("a freed block is used again at once") && !fs_->data().freed_rows.empty()) free_blocks();
    const uint32_t oldest_fault = processor_->oldest_fault_tick();
    database_->trim_memory(oldest_fault);
    fs_->data().trim_memory(oldest_fault);
  }
  processor_->turn();
  if (!open_) return;
  if (processor_->requests_wait() || !commit_->gate_open())
    clients_->lease_clock().stop();
  else
    clients_->lease_clock().go_on();
}

// ----------------------------------------------------------------------------------------------- jobs

using ReclaimJob = Job<fs::ReclaimRegisters>;
using ExpireJob = Job<client::ExpireRegisters>;
using RecallJob = Job<nfs4::RecallRegisters>;
using LockWaitJob = Job<nfs4::LockWaitRegisters>;
using AsyncCopyJob = Job<nfs4::AsyncCopyRegisters>;
using WriteBackJob = Job<fs::WriteBackRegisters>;
using FreeJob = Job<NoRegisters>;

std::unique_ptr<processor::Transaction> Vserver::reclaim_job(TransactionId id,
                                                             fs::ReclaimRegisters registers) {
  return std::make_unique<ReclaimJob>(
      *processor_, id, Kind::reclaim, InternalOperation::reclaim, registers,
      [this](Run& run, fs::ReclaimRegisters& r) { return fs::reclaim_step(*fs_, run, r); });
}

std::unique_ptr<processor::Transaction> Vserver::expire_job(TransactionId id,
                                                            client::ExpireRegisters registers,
                                                            std::move_only_function<void(Status)> ended) {
  return std::make_unique<ExpireJob>(
      *processor_, id, Kind::expire_client, InternalOperation::expire_client, registers,
      [this](Run& run, client::ExpireRegisters& r) { return client::expire_step(*clients_, run, r); },
      std::move(ended));
}

std::unique_ptr<processor::Transaction> Vserver::recall_job(TransactionId id,
                                                            nfs4::RecallRegisters registers) {
  return std::make_unique<RecallJob>(
      *processor_, id, Kind::recall, InternalOperation::recall, registers,
      [this](Run& run, nfs4::RecallRegisters& r) { return nfs_->recalls().step(run, r); });
}

std::unique_ptr<processor::Transaction> Vserver::lock_wait_job(TransactionId id,
                                                               nfs4::LockWaitRegisters registers) {
  return std::make_unique<LockWaitJob>(
      *processor_, id, Kind::lock_wait, InternalOperation::lock_wait, std::move(registers),
      [this](Run& run, nfs4::LockWaitRegisters& r) { return nfs_->lock_waits().step(run, r); });
}

std::unique_ptr<processor::Transaction> Vserver::async_copy_job(TransactionId id,
                                                                nfs4::AsyncCopyRegisters registers) {
  return std::make_unique<AsyncCopyJob>(
      *processor_, id, Kind::async_copy, InternalOperation::async_copy, std::move(registers),
      [this](Run& run, nfs4::AsyncCopyRegisters& r) { return nfs_->async_copies().step(run, r); });
}

// One pass at a time. A pass that fails has lost nothing: what it left is moved by a later one, or goes
// through the checkpoint store.
void Vserver::write_back(fs::WriteBackScope scope, env::Task done) {
  next_write_back_ = std::max(next_write_back_.value_or(scope), scope);  // each includes those before it
  if (done) next_write_back_done_.push_back(std::move(done));
  if (!writing_back_) begin_write_back();
}

void Vserver::begin_write_back() {
  writing_back_ = true;
  const fs::WriteBackScope scope = *std::exchange(next_write_back_, std::nullopt);
  processor_->submit(std::make_unique<WriteBackJob>(
      *processor_, processor_->new_id(), Kind::unlogged, InternalOperation::write_back,
      fs::begin_write_back(*fs_, scope, dirty_age),
      [this](Run& run, fs::WriteBackRegisters& r) -> Outcome<bool> {
        if (!TRY(fs::write_back(*fs_, run, r))) return false;
        if (stopping_ && !fs_->data().anything_dirty()) note_clean_stop(run);
        return true;
      },
      [this, done = std::exchange(next_write_back_done_, {})](Status status) mutable {
        if (status != Status::ok) spdlog::warn("write-back ended early: {}", name(status));
        writing_back_ = false;
        for (env::Task& task : done) task();
        if (next_write_back_ && !writing_back_) begin_write_back();
      }));
}

void Vserver::free_blocks() {
  if (std::exchange(freeing_, true)) {
    free_again_ = true;
    return;
  }
  processor_->submit(std::make_unique<FreeJob>(
      *processor_, processor_->new_id(), Kind::unlogged, InternalOperation::free_blocks, NoRegisters{},
      [this](Run& run, NoRegisters&) -> Outcome<bool> { return fs::free_pending(*fs_, run); },
      [this](Status) {
        freeing_ = false;
        if (std::exchange(free_again_, false)) free_blocks();
      }));
}

void Vserver::every(env::Duration interval, void (Vserver::*task)()) {
  env_.after(interval, [this, interval, task] {
    if (stopping_) return;
    (this->*task)();
    every(interval, task);
  });
}

void Vserver::write_back_aged() {
  if (!writing_back_ && fs_->data().dirty_bytes() != 0) write_back(fs::WriteBackScope::aged);
}

// If the process, or the machine, was stopped for a while, requests wait in the sockets.
void Vserver::check_leases() {
  const env::Duration since = env_.now() - std::exchange(leases_checked_, env_.now());
  if (since > 2 * lease_check_interval) clients_->lease_clock().put_back(since - lease_check_interval);
  expire_leases();
}

// Some at a time, and as fast as they go: a network that fails ends many leases at once, and others wait for
// what those clients hold.
void Vserver::expire_leases() {
  if (stopping_) return;
  for (const client::ClientId client : clients_->take_expired(expire_at_once - expiring_)) {
    ++expiring_;
    processor_->submit(
        expire_job(processor_->new_id(), {client, client::ExpireRegisters::Step::decide}, [this](Status) {
          --expiring_;
          expire_leases();
        }));
  }
}

// ---------------------------------------------------------------------------------------------- clean stop

constexpr int stop_passes = 3;

void Vserver::stop(env::Task done) {
  stopping_ = true;
  if (!open_) return checkpointer_->request(std::move(done));
  stop_when_clean(stop_passes, std::move(done));
}

// A pass leaves alone what a COMMIT in flight is about to move, and what was written meanwhile.
void Vserver::stop_when_clean(int passes, env::Task done) {
  write_back(fs::WriteBackScope::everything, [this, passes, done = std::move(done)]() mutable {
    if (passes > 1 && fs_->data().anything_dirty()) return stop_when_clean(passes - 1, std::move(done));
    checkpointer_->request([this, done = std::move(done)]() mutable {
      commit_->flush();
      done();
    });
  });
}

void Vserver::note_clean_stop(Run& run) {
  VserverRow row = *vservers_->peek({0});
  row.clean_stop = options_.epoch;
  row.write_verifier = options_.nfs.write_verifier;
  vservers_->put(run, {0}, row);
}

}  // namespace perdure::server
