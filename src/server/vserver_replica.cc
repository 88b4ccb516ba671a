#include "server/vserver_replica.h"

#include <map>

#include "base/mark.h"
#include "base/planted_bug.h"
#include "mirror/channel.h"

namespace perdure::server {

namespace {

// In the checkpoint store of a blade whose rows are of no use: behind all rows of tables.
const ByteVector no_copy_key = {std::byte{0xfe}};
const ByteVector first_key = {std::byte{1}};
const ByteVector last_key = {std::byte{0xfd}};

// For a follower no more log is kept when less than this part of the ring is free: clients' requests need a
// quarter of a small one. Then it will find out that it has to begin anew.
constexpr uint64_t free_eighths = 3;
// Of rows, together: extents have 4 bytes for each block, and a follower fetches these before it goes on.
constexpr size_t rows_bytes_max = 128U << 10U;
// What is kept for it is much when it is more than this; one that is in sync lacks less.
constexpr uint64_t much_bytes = 4U << 20U;
constexpr env::Duration slow_slice = std::chrono::milliseconds(10);

// The first key behind `key`.
ByteVector behind(Bytes key) {
  if (key.empty()) return first_key;
  ByteVector next(key.begin(), key.end());
  next.push_back(std::byte{0});
  return next;
}

}  // namespace

VserverReplica::VserverReplica(env::Env& env, Vserver::Parts parts, VserverOptions options,
                               std::move_only_function<void(Error)> failed)
    : env_(env), parts_(std::move(parts)), options_(std::move(options)), failed_(std::move(failed)) {
  options_.paired = true;
  auto blocks = std::make_unique<mirror::MirroredBlocks>(env, std::move(parts_.blocks));
  blocks_ = blocks.get();
  parts_.blocks = std::move(blocks);
  const Result<store::KeyValues> marker = parts_.store->scan_now(no_copy_key, no_copy_key, 1);
  needs_copy_ = !marker || !marker->empty();
  is_new_ = parts_.ring->start_number() == StartNumber(1);
}

void VserverReplica::load(log::LogRing::Wanted wanted, env::Done<void> done) {
  CHECK(vserver_ == nullptr && parts_.ring != nullptr && !needs_copy_);
  Vserver::load(
      env_, std::move(parts_), options_, std::move(failed_),
      [this, done = std::move(done)](Result<std::unique_ptr<Vserver>> loaded) mutable {
        if (!loaded) return done(std::move(loaded).error());
        vserver_ = std::move(*loaded);
        done({});
      },
      std::move(wanted));
}

// ---------------------------------------------------------------------------------------------------- copies

void VserverReplica::discard(env::Done<void> done) {
  store::KvStore& store = vserver_ != nullptr ? vserver_->database().store() : *parts_.store;
  const store::Applied applied = store.applied();
  store.apply({{no_copy_key, ByteVector{std::byte{1}}}}, applied, std::move(done));
}

void VserverReplica::copy_rows(const mirror::Rows& rows, env::Done<void> done) {
  CHECK(needs_copy_ && vserver_ == nullptr);
  std::map<ByteVector, std::optional<ByteVector>> wanted;
  for (const mirror::Rows::Row& row : rows.rows) wanted.emplace(row.key, row.value);
  // What the log has changed meanwhile is newer, or will be. Of the rest, what is there and should not be
  // goes, and what is there as it should be stays.
  const ByteVector last = rows.upto.empty() ? last_key : rows.upto;
  std::set<ByteVector> newer;
  while (!changed_.empty() && *changed_.begin() <= last) {
    wanted.erase(*changed_.begin());
    newer.insert(changed_.extract(changed_.begin()));
  }
  copied_upto_ = last;
  struct Copy {
    store::KvStore& store;
    std::set<ByteVector> newer;
    std::map<ByteVector, std::optional<ByteVector>> changes;
    ByteVector last;
    env::Done<void> done;
    static void compare(std::unique_ptr<Copy> self, ByteVector from) {
      constexpr size_t rows_max = 1024;
      store::KvStore& kv = self->store;
      ByteVector to = self->last;
      kv.scan(std::move(from), std::move(to), rows_max,
              [self = std::move(self)](Result<store::KeyValues> own) mutable {
                if (!own) return self->done(std::move(own).error());
                for (const auto& [key, value] : *own) {
                  ByteVector name(key.begin(), key.end());
                  if (self->newer.contains(name)) continue;
                  const auto it = self->changes.find(name);
                  if (it == self->changes.end())
                    self->changes.emplace(std::move(name), std::nullopt);
                  else if (it->second && std::ranges::equal(*it->second, value))
                    self->changes.erase(it);
                }
                if (own->size() == rows_max) {
                  ByteVector next = behind(own->back().first);
                  return compare(std::move(self), std::move(next));
                }
                std::vector<store::Change> sorted;
                for (auto& [key, value] : self->changes) sorted.push_back({key, std::move(value)});
                store::KvStore& store = self->store;
                store.apply(std::move(sorted), std::nullopt, std::move(self->done));
              });
    }
  };
  Copy::compare(std::unique_ptr<Copy>(
                    new Copy{*parts_.store, std::move(newer), std::move(wanted), last, std::move(done)}),
                behind(rows.behind));
}

void VserverReplica::copy_batches(const std::vector<Bytes>& payloads, env::Done<void> done) {
  CHECK(needs_copy_ && vserver_ == nullptr);
  std::map<ByteVector, std::optional<ByteVector>> changes;
  bool valid = true;
  for (const Bytes payload : payloads) {
    Result<void> read = Vserver::for_each_change(payload, [&](const log::RowChange& change) {
      valid = valid && change.table != 0 && std::byte{change.table} < last_key[0];
      ByteVector key = {std::byte{change.table}};
      key.insert(key.end(), change.key.begin(), change.key.end());
      std::optional<ByteVector> value;
      if (!change.erased) value.emplace(change.row.begin(), change.row.end());
      changes.insert_or_assign(std::move(key), std::move(value));
    });
    if (read && !valid) read = error(ErrorKind::corrupt, "a log batch with rows of an impossible table");
    if (!read)
      return env_.post([read = std::move(read), done = std::move(done)]() mutable { done(std::move(read)); });
  }
  std::vector<store::Change> sorted;
  for (auto& [key, value] : changes) {
    if (key > copied_upto_ && !planted("a copy forgets what the log has changed meanwhile")) {
      PERDURE_MARK("the log changes a row that has not been copied yet");
      changed_.insert(key);
    }
    sorted.push_back({key, std::move(value)});
  }
  parts_.store->apply(std::move(sorted), std::nullopt, std::move(done));
}

void VserverReplica::end_copy(Lsn read_from, env::Done<void> done) {
  parts_.ring->reset([this, read_from, done = std::move(done)](Result<void> reset) mutable {
    if (!reset) return done(std::move(reset).error());
    const store::Applied applied{read_from + Lsn(log::batch_header_bytes), read_from, StartNumber(0)};
    parts_.store->apply({{no_copy_key, std::nullopt}}, applied,
                        [this, done = std::move(done)](Result<void> applied_now) mutable {
                          if (applied_now) needs_copy_ = false;
                          done(std::move(applied_now));
                        });
  });
}

// The log from the checkpoint on that there is when the copy begins is kept.
void VserverReplica::scan_rows(const mirror::WantRows& want, env::Done<mirror::Rows> done) {
  store::KvStore& store = vserver_->database().store();
  log::LogRing& ring = *vserver_->ring();
  if (want.first) {
    copy_from_ = ring.tail();
    ring.hold(copy_from_);
  }
  store.scan(
      behind(want.behind), last_key, options_.rows_copied_at_once,
      [at_once = options_.rows_copied_at_once, copy_from = copy_from_, from = want.behind,
       done = std::move(done)](Result<store::KeyValues> found) mutable {
        if (!found) return done(std::move(found).error());
        mirror::Rows rows{.read_from = copy_from, .behind = std::move(from), .upto = {}, .rows = {}};
        size_t bytes = 0;
        const bool more = found->size() == at_once;
        for (const auto& [key, value] : *found) {
          bytes += key.size() + value.size();
          rows.rows.push_back({ByteVector(key.begin(), key.end()), ByteVector(value.begin(), value.end())});
          if (bytes < rows_bytes_max) continue;
          rows.upto = rows.rows.back().key;
          return done(std::move(rows));
        }
        if (more) rows.upto = rows.rows.back().key;
        done(std::move(rows));
      });
}

void VserverReplica::hold_log(std::optional<Lsn> from, bool may_slow) {
  log::LogRing& ring = *vserver_->ring();
  if (ring.room() < ring.capacity() / 8 * free_eighths) from.reset();
  ring.hold(from);
  const Lsn end = ring.position();
  slow_ = may_slow && from && (end - std::min(*from, end)).value > much_bytes;
  if (slow_ && !slowing_) slow_down();
}

// A pause, and as much time without one, again and again.
void VserverReplica::slow_down() {
  slowing_ = slow_;
  if (!slow_) return;
  PERDURE_MARK("clients are slowed down for a follower");
  vserver_->processor().pause_requests(true);
  env_.after(slow_slice, [this] {
    vserver_->processor().pause_requests(false);
    env_.after(slow_slice, [this] { slow_down(); });
  });
}

Result<std::vector<mirror::NamedBlocks>> VserverReplica::named_blocks(const mirror::Rows& rows) {
  std::vector<mirror::NamedBlocks> named;
  for (const mirror::Rows::Row& r : rows.rows) {
    if (r.key.empty()) return error(ErrorKind::corrupt, "a row without a key");
    if (r.key[0] != std::byte{static_cast<uint8_t>(state::TableId::extent)}) continue;
    fs::ExtentRow row;
    if (!state::decode(r.value, row)) return error(ErrorKind::corrupt, "an invalid extent");
    named.push_back({row.block, std::move(row.crcs)});
  }
  return named;
}

}  // namespace perdure::server
