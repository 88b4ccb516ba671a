#include "client/check_files.h"

#include <algorithm>

#include "client/lock_rows.h"
#include "client/open.h"

namespace perdure::client {

namespace {

// The opens and locks of one file.
struct File {
  struct Open {
    uint32_t number = 0, found_lock_states = 0;
    OpenRow row;
  };
  struct LockState {
    uint32_t number = 0, rows = 0;
    LockStateRow row;
  };
  struct Lock {
    LockRange range;
    uint32_t number = 0;  // of the lock state
  };
  InodeId inode;
  std::vector<Open> opens;
  std::vector<LockState> lock_states;
  std::vector<Lock> locks;  // of living clients
};

class FilesCheck {
 public:
  FilesCheck(ClientState& cs, const std::function<bool(ClientId)>& alive, state::Findings& findings)
      : alive_(alive),
        findings_(findings),
        cs_(cs),
        opens_(cs.opens, damaged()),
        lock_states_(cs.lock_states, damaged()),
        locks_(cs.locks, damaged()) {}

  Result<CheckedFiles> run();

 private:
  state::RowReader<OpenRow>::Damaged damaged() {
    return [this](const std::string& what) { findings_.add("{}", what); };
  }
  Result<void> read_file();
  Result<void> read_locks();
  void check_lock_row(const LockRow::Key& key, const LockRow& row);
  void check_opens();
  void check_lock_states();
  void check_shares();
  void check_conflicts();
  template <class State>
  void check_owners(const std::vector<State>& states, const char* what);

  const std::function<bool(ClientId)>& alive_;
  state::Findings& findings_;
  ClientState& cs_;
  state::RowReader<OpenRow> opens_;
  state::RowReader<LockStateRow> lock_states_;
  state::RowReader<LockRow> locks_;
  bool open_ = false, lock_state_ = false, lock_ = false;  // the readers have a row
  CheckedFiles checked_;
  File file_;
  // The lock row before, of the same lock state: it stands above this one.
  LockRow::Key above_{};
  LockRange above_first_{};
};

Result<CheckedFiles> FilesCheck::run() {
  open_ = TRY(opens_.next());
  lock_state_ = TRY(lock_states_.next());
  lock_ = TRY(locks_.next());
  while (open_ || lock_state_ || lock_) {
    file_ = File{};
    file_.inode = InodeId(UINT64_MAX);
    if (open_) file_.inode = std::min(file_.inode, opens_.key().inode);
    if (lock_state_) file_.inode = std::min(file_.inode, lock_states_.key().inode);
    if (lock_) file_.inode = std::min(file_.inode, locks_.key().inode);
    TRY(read_file());
    check_opens();
    check_lock_states();
    check_owners(file_.opens, "opens");
    check_owners(file_.lock_states, "lock states");
    check_shares();
    check_conflicts();
  }
  return std::move(checked_);
}

Result<void> FilesCheck::read_file() {
  for (; open_ && opens_.key().inode == file_.inode; open_ = TRY(opens_.next())) {
    const OpenRow& row = opens_.row();
    file_.opens.push_back({opens_.key().number, 0, row});
    checked_.opens.push_back({opens_.key(), row.client, cs_.hash(row.owner)});
  }
  for (; lock_state_ && lock_states_.key().inode == file_.inode; lock_state_ = TRY(lock_states_.next())) {
    const LockStateRow& row = lock_states_.row();
    file_.lock_states.push_back({lock_states_.key().number, 0, row});
    checked_.lock_states.push_back({lock_states_.key(), row.client, cs_.hash(row.owner)});
  }
  for (; lock_ && locks_.key().inode == file_.inode; lock_ = TRY(locks_.next()))
    check_lock_row(locks_.key(), locks_.row());
  return {};
}

// Rows of one lock state come in the descending order of their starts.
void FilesCheck::check_lock_row(const LockRow::Key& key, const LockRow& row) {
  const auto where = [&] { return fmt::format("lock row of state {:x} in inode {}", key.number, key.inode); };
  const size_t count = row.bounds.size() / 2;
  checked_.locks += count;
  if (row.bounds.size() % 2 != 0 || count == 0 || count > LockRow::ranges_max) {
    findings_.add("{}: it has {} bounds", where(), row.bounds.size());
    return;
  }
  const std::vector<LockRange> ranges = ranges_of(row);
  if (ranges.front().first < ~key.not_start)
    findings_.add("{}: it begins at {}, but has a lock at {}", where(), ~key.not_start, ranges.front().first);
  for (size_t i = 0; i < count; ++i) {
    const LockRange& r = ranges[i];
    if (r.last < r.first || (i > 0 && r.first <= ranges[i - 1].last))
      findings_.add("{}: its locks are not in order", where());
    else if (i > 0 && r.write == ranges[i - 1].write && r.first == ranges[i - 1].last + 1)
      findings_.add("{}: two locks that touch are not one", where());
  }
  if (above_.inode == key.inode && above_.number == key.number &&
      (ranges.back().last >= above_first_.first || ranges.back().first >= ~above_.not_start))
    findings_.add("{}: its last lock reaches into the row above", where());
  above_ = key;
  above_first_ = ranges.front();

  auto state = std::ranges::lower_bound(file_.lock_states, key.number, {}, &File::LockState::number);
  if (state == file_.lock_states.end() || state->number != key.number)
    return findings_.add("{}: there is no such lock state", where());
  ++state->rows;
  if (!alive_(state->row.client)) return;
  for (const LockRange& range : ranges) file_.locks.push_back({range, key.number});
}

void FilesCheck::check_opens() {
  for (const File::Open& open : file_.opens) {
    const OpenRow& row = open.row;
    const auto where = [&] {
      return fmt::format("open {:x} of inode {} by {}", open.number, file_.inode, describe(row.client));
    };
    if (open.number >> Stateid::kind_shift != static_cast<uint32_t>(StateKind::open))
      findings_.add("{}: its number is not that of an open", where());
    if (row.access < share_read || row.access > share_both || row.deny > share_both || row.seqid == 0)
      findings_.add("{}: impossible access {}, deny {} or seqid {}", where(), row.access, row.deny,
                    row.seqid);
    unsigned access = 0, deny = 0;
    for (unsigned bit = 0; bit < 16; ++bit) {
      if ((row.history >> bit & 1U) == 0) continue;
      access |= bit / 4;
      deny |= bit % 4;
    }
    if (access != row.access || deny != row.deny)
      findings_.add("{}: access {} and deny {} are not what it was opened with", where(), row.access,
                    row.deny);
  }
}

void FilesCheck::check_lock_states() {
  for (const File::LockState& state : file_.lock_states) {
    const auto where = [&] {
      return fmt::format("lock state {:x} of inode {} by {}", state.number, file_.inode,
                         describe(state.row.client));
    };
    if (state.number >> Stateid::kind_shift != static_cast<uint32_t>(StateKind::lock) || state.row.seqid == 0)
      findings_.add("{}: its number is not that of a lock state, or its seqid is 0", where());
    if (!alive_(state.row.client)) continue;  // it is removed piece by piece
    if (state.rows != state.row.rows)
      findings_.add("{}: it counts {} rows of locks, but has {}", where(), state.row.rows, state.rows);
    auto open = std::ranges::lower_bound(file_.opens, state.row.open, {}, &File::Open::number);
    if (open == file_.opens.end() || open->number != state.row.open)
      findings_.add("{}: the open on which it stands, {:x}, does not exist", where(), state.row.open);
    else if (open->row.client != state.row.client)
      findings_.add("{}: the open on which it stands is another client's", where());
    else
      ++open->found_lock_states;
  }
  for (const File::Open& open : file_.opens)
    if (alive_(open.row.client) && open.found_lock_states != open.row.lock_states)
      findings_.add("open {:x} of inode {} by {}: it counts {} lock states, but has {}", open.number,
                    file_.inode, describe(open.row.client), open.row.lock_states, open.found_lock_states);
}

template <class State>
void FilesCheck::check_owners(const std::vector<State>& states, const char* what) {
  if (states.size() < 2) return;
  std::vector<const State*> by_owner;
  for (const State& state : states) by_owner.push_back(&state);
  const auto owner = [](const State* s) {
    return std::pair<ClientId, const ByteVector&>(s->row.client, s->row.owner);
  };
  std::ranges::sort(by_owner, [&](const State* a, const State* b) { return owner(a) < owner(b); });
  for (size_t i = 1; i < by_owner.size(); ++i)
    if (owner(by_owner[i]) == owner(by_owner[i - 1]))
      findings_.add("inode {}: one owner of {} has two {}", file_.inode, describe(by_owner[i]->row.client),
                    what);
}

void FilesCheck::check_shares() {
  std::array<uint32_t, 2> access{};
  const auto has = [](uint8_t mask, unsigned bit) { return (mask >> bit & 1U) != 0; };
  for (const File::Open& open : file_.opens)
    for (unsigned bit = 0; bit < 2; ++bit)
      access[bit] += alive_(open.row.client) && has(open.row.access, bit) ? 1 : 0;
  for (const File::Open& open : file_.opens) {
    if (!alive_(open.row.client)) continue;
    for (unsigned bit = 0; bit < 2; ++bit)
      if (has(open.row.deny, bit) && access[bit] > (has(open.row.access, bit) ? 1U : 0U))
        findings_.add("open {:x} of inode {} by {}: it denies others {}, but another open has it",
                      open.number, file_.inode, describe(open.row.client), bit == 0 ? "reading" : "writing");
  }
}

// Goes along the file. Behind each lock it is known how far the write locks before it reach, and all locks,
// and how far those of the others do.
void FilesCheck::check_conflicts() {
  std::ranges::sort(file_.locks, {}, [](const File::Lock& l) { return std::pair(l.range.first, l.number); });
  LockIndex::Reach all, writes;
  for (const File::Lock& lock : file_.locks) {
    if ((lock.range.write ? all : writes).overlaps(lock.range.first, lock.number))
      findings_.add("inode {}: the {} lock of bytes {}..{} of lock state {:x} conflicts with another one",
                    file_.inode, lock.range.write ? "write" : "read", lock.range.first, lock.range.last,
                    lock.number);
    all.add(lock.range.last, lock.number);
    if (lock.range.write) writes.add(lock.range.last, lock.number);
  }
}

}  // namespace

std::string describe(ClientId client) {
  return fmt::format("client {:#x}", client.value);
}

Result<CheckedFiles> check_files(ClientState& cs, const std::function<bool(ClientId)>& alive,
                                 state::Findings& findings) {
  return FilesCheck(cs, alive, findings).run();
}

}  // namespace perdure::client
