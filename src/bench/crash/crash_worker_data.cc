// CrashWorker's operations on data, opens and locks.
#include <algorithm>

#include "bench/crash/crash_worker.h"

namespace perdure::bench {
namespace {

constexpr uint64_t write_blocks_max = 4;
constexpr uint64_t data_attributes = attr::CHANGE | attr::SIZE;
constexpr Nanoseconds lock_wait_max = seconds(60);

}  // namespace

// A file is opened at most once by its worker, so its stateid counts from 1.
Task<bool> CrashWorker::open(const std::string& path) {
  const NodeRef node = model_.find(path);
  if (node->is_open) co_return true;
  for (;;) {
    slot_.begin(true)
        .putfh(model_.find(parent_of(path))->fh)
        .open({shared_.client.clientid(), owner_}, share_access_both, name_of(path));
    Reply& r = co_await slot_.exchange();
    ChangeInfo change;
    if (!(r.putfh() && r.open(node->open, change))) {
      if (co_await again(r)) continue;
      fail("open " + path, r);
      co_return false;
    }
    if (node->open.seqid != 1) {
      fail(fmt::format("open {}: stateid {} instead of 1: done twice", path, node->open.seqid));
      co_return false;
    }
    ++shared_.acknowledged["open"];
    node->is_open = true;
    open_files_.push_back(node);
    co_return true;
  }
}

Task<> CrashWorker::close_file(NodeRef node) {
  for (;;) {
    slot_.begin(true).putfh(node->fh).close(node->open);
    Reply& r = co_await slot_.exchange();
    if (!(r.putfh() && r.close())) {
      if (co_await again(r)) continue;
      co_return fail(fmt::format("close of file {}", node->id), r);
    }
    ++shared_.acknowledged["close"];
    node->is_open = false;
    std::erase(open_files_, node);
    co_return;
  }
}

// Some blocks, in one WRITE. Unstable ones stay inside the file, and are written again until a COMMIT says by
// the same verifier that they are safe.
Task<> CrashWorker::write(bool stable) {
  Action action{.kind = Action::Kind::write, .path = any(FileType::NF4REG)};
  if (action.path.empty() || !co_await open(action.path)) co_return;
  const NodeRef node = model_.find(action.path);
  const uint64_t blocks = node->versions.size();
  const uint64_t room = stable ? shared_.options.file_blocks_max : blocks;
  if (room == 0) co_return;
  action.first = random_.below(stable ? std::min(blocks + 2, room) : room);
  action.count = 1 + random_.below(std::min(write_blocks_max, room - action.first));
  action.version = ++next_version_;
  ask(action);
  if (stable) {
    Verifier verifier;
    if (co_await write_blocks(*node, action, StableHow::FILE_SYNC4, verifier)) acknowledge();
    co_return;
  }
  for (;;) {
    Verifier written;
    if (!co_await write_blocks(*node, action, StableHow::UNSTABLE4, written)) co_return;
    Verifier committed;
    if (!co_await commit_all(*node, committed)) co_return;
    if (committed == written) co_return acknowledge();
    ++shared_.verifier_changes;
  }
}

Task<bool> CrashWorker::commit_all(Node& node, Verifier& verifier) {
  for (;;) {
    slot_.begin(true).putfh(node.fh).commit(0, 0);
    Reply& r = co_await slot_.exchange();
    if (r.putfh() && r.commit(verifier)) co_return true;
    if (co_await again(r)) continue;
    fail(fmt::format("commit of file {}", node.id), r);
    co_return false;
  }
}

Task<bool> CrashWorker::write_blocks(Node& node, const Action& action, StableHow stable, Verifier& verifier) {
  const uint64_t end =
      std::max<uint64_t>(node.versions.size(), action.first + action.count) * test_block_bytes;
  const auto length = static_cast<uint32_t>(action.count * test_block_bytes);
  for (;;) {
    Call& call = slot_.begin(true).putfh(node.fh).getattr(attr::CHANGE);
    const MutableBytes data = call.write(node.open, action.first * test_block_bytes, stable, length);
    for (uint64_t i = 0; i < action.count; ++i)
      fill_test_block(data.subspan(i * test_block_bytes, test_block_bytes), node.id, action.version,
                      action.first + i);
    call.getattr(data_attributes);
    Reply& r = co_await slot_.exchange();
    Attributes before, after;
    uint32_t count = 0;
    StableHow how{};
    if (!(r.putfh() && r.getattr(before) && r.write(count, how, verifier))) {
      if (co_await again(r)) continue;
      fail("write " + action.path, r);
      co_return false;
    }
    if (!r.getattr(after)) {
      fail("write " + action.path, r);
      co_return false;
    }
    if (!unchanged(node, before.change, action.path)) co_return false;
    if (count != length || how < stable || after.size != end) {
      fail(fmt::format("write {}: {} of {} bytes, stable {}, size {} instead of {}", action.path, count,
                       length, static_cast<uint32_t>(how), after.size, end));
      co_return false;
    }
    // An unstable write may be undone by a crash, and with it the change attribute.
    node.change = stable == StableHow::FILE_SYNC4 ? after.change : 0;
    co_return true;
  }
}

Task<> CrashWorker::truncate() {
  Action action{.kind = Action::Kind::truncate, .path = any(FileType::NF4REG)};
  if (action.path.empty() || !co_await open(action.path)) co_return;
  const NodeRef node = model_.find(action.path);
  action.first = random_.below(shared_.options.file_blocks_max);
  ask(action);
  for (;;) {
    slot_.begin(true)
        .putfh(node->fh)
        .getattr(attr::CHANGE)
        .set_size(node->open, action.first * test_block_bytes)
        .getattr(data_attributes);
    Reply& r = co_await slot_.exchange();
    Attributes before, after;
    if (!(r.putfh() && r.getattr(before) && r.setattr())) {
      if (co_await again(r)) continue;
      co_return fail("truncate " + action.path, r);
    }
    if (!r.getattr(after)) co_return fail("truncate " + action.path, r);
    if (!unchanged(*node, before.change, action.path)) co_return;
    if (after.size != action.first * test_block_bytes)
      co_return fail(fmt::format("truncate {}: size {}", action.path, after.size));
    node->change = after.change;
    co_return acknowledge();
  }
}

Task<> CrashWorker::read() {
  const std::string path = any(FileType::NF4REG);
  if (path.empty()) co_return;
  const NodeRef node = model_.find(path);
  if (node->versions.empty()) co_return;
  const uint64_t block = random_.below(node->versions.size());
  for (;;) {
    const Stateid stateid = node->is_open ? node->open : Stateid{};
    slot_.begin(false).putfh(node->fh).read(stateid, block * test_block_bytes, test_block_bytes);
    Reply& r = co_await slot_.exchange();
    Bytes data;
    bool eof = false;
    if (!(r.putfh() && r.read(data, eof))) {
      if (co_await read_again(r)) continue;
      co_return fail("read " + path, r);
    }
    const uint64_t version = node->versions[block];
    const BlockLabel expected =
        version == 0 ? BlockLabel{} : BlockLabel{BlockLabel::Kind::whole, node->id, version, block};
    const BlockLabel found = read_test_block(data);
    if (found != expected)
      co_return fail(fmt::format("read {}: block {} is {} instead of {}", path, block, to_text(found),
                                 to_text(expected)));
    ++shared_.checks;
    co_return;
  }
}

// Lock, read, write one more, unlock: a counter that all workers share says in the end how often each of them
// did it.
Task<> CrashWorker::increment() {
  if (shared_.counters.empty()) co_return;
  const uint64_t counter = random_.below(shared_.counters.size());
  if (!co_await open_counter(counter) || !co_await lock_counter(counter) || !co_await add_one(counter))
    co_return;
  CounterUse& use = counters_[counter];
  shared_.counter_held[counter] = false;
  for (;;) {
    const uint32_t seqid = use.lock.seqid;
    slot_.begin(true).putfh(shared_.counters[counter]).locku(use.lock, 0, lock_to_end);
    Reply& r = co_await slot_.exchange();
    if (!(r.putfh() && r.locku(use.lock))) {
      if (co_await again(r)) continue;
      co_return fail(fmt::format("unlock counter {}", counter), r);
    }
    if (use.lock.seqid != seqid + 1) co_return fail(fmt::format("unlock counter {}: done twice", counter));
    ++shared_.acknowledged["unlock"];
    co_return;
  }
}

Task<bool> CrashWorker::open_counter(uint64_t counter) {
  CounterUse& use = counters_[counter];
  const std::string name = counter_name(counter);
  while (!use.opened) {
    slot_.begin(true)
        .putfh(shared_.directory)
        .open({shared_.client.clientid(), owner_}, share_access_both, name);
    Reply& r = co_await slot_.exchange();
    ChangeInfo change;
    use.opened = r.putfh() && r.open(use.open, change);
    if (use.opened || co_await again(r)) continue;
    fail("open " + name, r);
    co_return false;
  }
  co_return true;
}

Task<bool> CrashWorker::lock_counter(uint64_t counter) {
  CounterUse& use = counters_[counter];
  const Nanoseconds since = shared_.client.now();
  for (;;) {
    const uint32_t expected = use.known ? use.lock.seqid + 1 : 1;
    Call& call = slot_.begin(true).putfh(shared_.counters[counter]);
    if (use.known)
      call.lock_more(use.lock, LockType::WRITE_LT, 0, lock_to_end);
    else
      call.lock_new(use.open, {shared_.client.clientid(), owner_}, LockType::WRITE_LT, 0, lock_to_end);
    Reply& r = co_await slot_.exchange();
    if (r.putfh() && r.lock(use.lock)) {
      use.known = true;
      ++shared_.acknowledged["lock"];
      if (use.lock.seqid != expected) fail(fmt::format("lock counter {}: done twice", counter));
      if (shared_.counter_held[counter]) fail(fmt::format("lock counter {}: held by two at once", counter));
      shared_.counter_held[counter] = true;
      co_return !failed_;
    }
    if (r.error() != NfsStatus::NFS4ERR_DENIED) {
      if (co_await again(r)) continue;
      fail(fmt::format("lock counter {}", counter), r);
      co_return false;
    }
    if (shared_.client.now() > since + lock_wait_max) {
      fail(fmt::format("lock counter {}: not granted for {} s", counter, lock_wait_max / seconds(1)));
      co_return false;
    }
    if (over()) co_return false;  // whoever holds it may have failed
    co_await shared_.client.sleep(milliseconds(1 + random_.below(10)));
  }
}

Task<bool> CrashWorker::add_one(uint64_t counter) {
  CounterUse& use = counters_[counter];
  const FileHandle& fh = shared_.counters[counter];
  uint64_t value = 0;
  for (bool done = false; !done;) {
    slot_.begin(false).putfh(fh).read(use.lock, 0, sizeof value);
    Reply& r = co_await slot_.exchange();
    Bytes data;
    bool eof = false;
    done = r.putfh() && r.read(data, eof);
    if (!done && co_await read_again(r)) continue;
    if (!done) {
      fail(fmt::format("read counter {}", counter), r);
      co_return false;
    }
    if (data.size() == sizeof value) std::memcpy(&value, data.data(), sizeof value);
  }
  if (value < use.last_value) {
    fail(fmt::format("counter {}: {} after it was {}", counter, value, use.last_value));
    co_return false;
  }
  use.last_value = ++value;
  ask({.kind = Action::Kind::increment, .first = counter});
  for (;;) {
    const MutableBytes data =
        slot_.begin(true).putfh(fh).write(use.lock, 0, StableHow::FILE_SYNC4, sizeof value);
    std::memcpy(data.data(), &value, sizeof value);
    Reply& r = co_await slot_.exchange();
    uint32_t count = 0;
    StableHow how{};
    Verifier verifier;
    if (r.putfh() && r.write(count, how, verifier)) break;
    if (co_await again(r)) continue;
    fail(fmt::format("write counter {}", counter), r);
    co_return false;
  }
  acknowledge();
  co_return true;
}

}  // namespace perdure::bench
