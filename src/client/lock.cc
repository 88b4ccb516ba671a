#include "client/lock.h"

#include <algorithm>

#include "base/mark.h"
#include "client/find_state.h"
#include "client/open.h"
#include "client/reclaim_complete.h"

namespace perdure::client {

namespace {

constexpr size_t close_rows_max = 256;

// The owner of a lock in the index that is in the way, if its client is still there.
Outcome<const LockStateRow*> living_owner(ClientState& cs, Run& run, InodeId inode, uint32_t number) {
  const LockStateRow* state = TRY(cs.lock_states.get(run, {inode, number}));
  if (state == nullptr) return nullptr;
  if (TRY(cs.clients.get(run, {state->client})) == nullptr || TRY(cs.gives_way(run, state->client)))
    return nullptr;
  return state;
}

// The lowest lock in the way of a lock of this type by lock state `except` (0: none yet). Write locks come
// first. Locks of dead clients are dropped from the index, so that each is met once.
Outcome<std::optional<Conflict>> find_conflict(ClientState& cs, Run& run, InodeId inode, ByteRange range,
                                               LockType type, uint32_t except) {
  for (const bool write : {true, false}) {
    if (!write && type == LockType::read) break;
    for (;;) {
      const FileTwin* file = cs.file_twin(run, inode);
      if (file == nullptr) return std::nullopt;
      const LockIndex& index = write ? file->write_locks : file->read_locks;
      const std::optional<LockIndex::Lock> found = index.find(range.first, range.last, except);
      if (!found) break;
      if (const LockStateRow* owner = TRY(living_owner(cs, run, inode, found->owner)))
        return Conflict{.range = {found->first, found->last},
                        .type = write ? LockType::write : LockType::read,
                        .client = owner->client,
                        .owner = owner->owner};
      cs.change_locks(run, inode, ClientId(0), {{*found, write, false}});
    }
  }
  return std::nullopt;
}

// A new lock state, or the one that the owner has; with its open counted.
struct Target {
  uint32_t number = 0;
  LockStateRow row;
  const LockStateRow* before = nullptr;  // as it is stored, nullptr: not yet
};

Outcome<Target> find_target(ClientState& cs, Run& run, const LockArgs& args) {
  if (!args.new_owner) {
    const LockStateRow* row = TRY(find_lock_state(cs, run, args.client, args.inode, args.stateid));
    return Target{args.stateid.number, *row, row};
  }
  TRY(find_open(cs, run, args.client, args.inode, args.stateid));
  const FoundLockState found = TRY(find_lock_state_of(cs, run, args.client, args.inode, args.owner));
  Target target{found.number, {}, found.row};
  if (found.row != nullptr) {
    target.row = *found.row;
  } else {
    target.row.client = args.client;
    target.row.owner.assign(args.owner.begin(), args.owner.end());
  }
  target.row.open = args.stateid.number;
  return target;
}

// The opens that the lock state stood and stands on.
Outcome<void> move_to_open(ClientState& cs, Run& run, InodeId inode, uint32_t from, uint32_t to) {
  if (from == to) return {};
  for (const auto& [number, add] : {std::pair{from, false}, std::pair{to, true}}) {
    if (number == 0) continue;
    OpenRow row = *TRY(cs.opens.get(run, {inode, number}));
    row.lock_states += add ? 1 : UINT32_MAX;
    cs.opens.put(run, {inode, number}, std::move(row));
  }
  return {};
}

// He is in the line already, or may join it. All others can only try again and again, and are given what is
// free.
Outcome<bool> may_stand_in_line(ClientState& cs, Run& run, const WantedLock& wanted) {
  const LockQueues& queues = cs.lock_queues();
  if (queues.find(wanted)) return true;
  const ClientState::Options& options = cs.options();
  return cs.hooks().start_lock_wait && queues.size() < options.lock_waits_max &&
         queues.size(wanted.client) < options.lock_waits_per_client_max &&
         queues.size(wanted.inode) < options.lock_waits_per_file_max &&
         TRY(cs.may_be_called(run, wanted.client));
}

// He was denied a lock for which he would wait. What he has come again for is in the line already.
void stand_in_line(ClientState& cs, Run& run, const WantedLock& wanted) {
  LockQueues& queues = cs.lock_queues();
  if (const auto id = queues.find(wanted)) {
    run.on_commit([&cs, id = *id, inode = wanted.inode] {
      if (LockQueues::Waiter* waiter = cs.lock_queues().find(inode, id)) waiter->asked = true;
      cs.hooks().resume(id);
    });
    return;
  }
  PERDURE_MARK("a client waits for a lock");
  cs.hooks().start_lock_wait(run, wanted);
}

// Whatever it waited for, it may have it now.
void leave_line(ClientState& cs, Run& run, const WantedLock& got) {
  if (!cs.lock_queues().anybody(got.inode)) return;
  run.on_commit([&cs, got] {
    cs.lock_queues().for_each(got.inode, [&](TransactionId id, const LockQueues::Waiter& waiter) {
      if (waiter.wanted.client == got.client && waiter.wanted.owner == got.owner) cs.hooks().resume(id);
    });
  });
}

}  // namespace

Outcome<ByteRange> lock_range(uint64_t offset, uint64_t length) {
  if (length == UINT64_MAX) return ByteRange{offset, UINT64_MAX};
  if (length == 0 || length > UINT64_MAX - offset) return Status::invalid_argument;
  return ByteRange{offset, offset + length - 1};
}

Outcome<Locked> lock(ClientState& cs, Run& run, const LockArgs& args) {
  if (args.new_owner && args.owner.size() > owner_bytes_max) return Status::invalid_argument;
  TRY(check_reclaim(cs, run, args.client, args.reclaim));
  Target target = TRY(find_target(cs, run, args));
  const OpenRow* open = TRY(cs.opens.get(run, {args.inode, target.row.open}));
  CHECK(open != nullptr);
  if ((open->access & (args.type == LockType::read ? share_read : share_write)) == 0)
    return Status::open_mode;
  std::optional<WantedLock> wanted;  // if there is a line, or may be one
  if (args.waits || cs.lock_queues().anybody(args.inode))
    wanted = {.client = args.client,
              .inode = args.inode,
              .owner = target.row.owner,
              .range = args.range,
              .write = args.type == LockType::write};
  auto conflict = TRY(find_conflict(cs, run, args.inode, args.range, args.type, target.number));
  const bool waits = args.waits && TRY(may_stand_in_line(cs, run, *wanted));
  if (!conflict && waits)
    if (const LockQueues::Waiter* first = cs.lock_queues().called_before(*wanted))
      conflict = Conflict{.range = first->wanted.range,
                          .type = first->wanted.write ? LockType::write : LockType::read,
                          .client = first->wanted.client,
                          .owner = first->wanted.owner};
  if (conflict) {
    if (waits) stand_in_line(cs, run, *wanted);
    return Locked{.stateid = {}, .conflict = conflict};
  }
  if (wanted) leave_line(cs, run, *wanted);

  const bool fresh = target.before == nullptr;
  if (fresh) {
    if (cs.client_twin(args.client)->lock_states >= cs.options().lock_states_per_client_max)
      return Status::resource;
    target.number = TRY(cs.new_state_number(run, StateKind::lock, args.inode));
  }
  const StateKey key{args.inode, target.number};
  TRY(set_range(cs, run, key, target.row, args.range, args.type == LockType::write));
  if (fresh) {
    cs.hold(run, {args.client, StateKind::lock, args.inode, cs.hash(args.owner), target.number});
    cs.count_lock_state(run, args.client, true);
  }
  TRY(move_to_open(cs, run, args.inode, fresh ? 0 : target.before->open, target.row.open));
  target.row.seqid = next_seqid(target.row.seqid);
  const Stateid stateid{target.row.seqid, args.inode, target.number};
  cs.lock_states.put(run, key, std::move(target.row));
  return Locked{.stateid = stateid, .conflict = {}};
}

Outcome<std::optional<Conflict>> lockt(ClientState& cs, Run& run, const LocktArgs& args) {
  const FoundLockState own = TRY(find_lock_state_of(cs, run, args.client, args.inode, args.owner));
  return find_conflict(cs, run, args.inode, args.range, args.type, own.number);
}

Outcome<Stateid> locku(ClientState& cs, Run& run, ClientId client, InodeId inode, const Stateid& stateid,
                       ByteRange range) {
  LockStateRow row = *TRY(find_lock_state(cs, run, client, inode, stateid));
  TRY(set_range(cs, run, {inode, stateid.number}, row, range, std::nullopt));
  row.seqid = next_seqid(row.seqid);
  const Stateid unlocked{row.seqid, inode, stateid.number};
  cs.lock_states.put(run, {inode, stateid.number}, std::move(row));
  return unlocked;
}

Outcome<bool> has_lock(ClientState& cs, Run& run, const WantedLock& wanted) {
  const FoundLockState found = TRY(find_lock_state_of(cs, run, wanted.client, wanted.inode, wanted.owner));
  if (found.row == nullptr) return false;
  // The row in which a lock that contains the first byte would stand.
  const auto row = TRY(cs.locks.first(run, {wanted.inode, found.number, ~wanted.range.first},
                                      {wanted.inode, found.number, UINT64_MAX}));
  if (!row) return false;
  return std::ranges::any_of(ranges_of(*row.row), [&](const LockRange& range) {
    return range.first <= wanted.range.first && wanted.range.last <= range.last &&
           (range.write || !wanted.write);
  });
}

Outcome<bool> erase_locks(ClientState& cs, Run& run, StateKey key, ClientId client, size_t rows_max) {
  LockRow::Key from{key.inode, key.number, 0};
  const LockRow::Key last{key.inode, key.number, UINT64_MAX};
  std::vector<ClientState::LockChange> changes;
  bool more = false;
  for (auto found = TRY(cs.locks.first(run, from, last)); found;
       found = TRY(cs.locks.next(run, from, last))) {
    more = rows_max == 0;
    if (more) break;
    --rows_max;
    from = found.key;
    for (const LockRange& range : ranges_of(*found.row))
      changes.push_back({{range.first, range.last, key.number}, range.write, false});
    cs.locks.erase(run, from);
  }
  cs.change_locks(run, key.inode, client, std::move(changes));
  return !more;
}

Outcome<void> erase_lock_states(ClientState& cs, Run& run, InodeId inode, uint32_t number,
                                const OpenRow& open) {
  const HeldState first{open.client, StateKind::lock, inode, 0, 0};
  const HeldState last{open.client, StateKind::lock, inode, UINT64_MAX, UINT32_MAX};
  std::vector<std::pair<HeldState, const LockStateRow*>> states;
  size_t rows = 0;
  for (auto it = cs.held().lower_bound(first); it != cs.held().end() && *it <= last && rows <= close_rows_max;
       ++it) {
    const LockStateRow* state = TRY(cs.lock_states.get(run, {inode, it->number}));
    CHECK(state != nullptr);
    if (state->open != number) continue;
    states.emplace_back(*it, state);
    rows += 2 + state->rows;
  }
  if (rows > close_rows_max) return Status::locks_held;
  for (const auto& [held, state] : states) {
    const bool all = TRY(erase_locks(cs, run, {inode, held.number}, open.client, state->rows));
    CHECK(all);
    cs.lock_states.erase(run, {inode, held.number});
    cs.let_go(run, held);
    cs.count_lock_state(run, open.client, false);
  }
  return {};
}

}  // namespace perdure::client
