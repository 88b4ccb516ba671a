// CrashWorker's operations on names.
#include <set>
#include <utility>

#include "bench/crash/crash_worker.h"

namespace perdure::bench {
namespace {

constexpr uint64_t file_attributes = attr::TYPE | attr::CHANGE | attr::SIZE | attr::FILEID | attr::NUMLINKS;
constexpr size_t open_files_max = 6;

}  // namespace

Task<> CrashWorker::create_file() {
  const Action action{.kind = Action::Kind::create, .path = free_path(), .first = ++next_id_};
  if (action.path.empty()) co_return;
  const NodeRef directory = model_.find(parent_of(action.path));
  const CreateMode how = random_.chance(50) ? CreateMode::EXCLUSIVE4_1 : CreateMode::GUARDED4;
  ask(action);
  for (;;) {
    begin_in(*directory)
        .open_create({shared_.client.clientid(), owner_}, name_of(action.path), how, 0644, action.first)
        .getfh()
        .getattr(file_attributes)
        .putfh(directory->fh)
        .getattr(attr::CHANGE);
    Reply& r = co_await slot_.exchange();
    Attributes before, own, after;
    ChangeInfo change;
    Stateid stateid;
    FileHandle fh;
    if (!(r.putfh() && r.getattr(before) && r.open(stateid, change))) {
      if (co_await again(r)) continue;
      co_return fail("create " + action.path, r);
    }
    if (!(r.getfh(fh) && r.getattr(own) && r.putfh() && r.getattr(after)))
      co_return fail("create " + action.path, r);
    if (!unchanged(*directory, before.change, "directory of " + action.path)) co_return;
    if (stateid.seqid != 1)
      co_return fail(fmt::format("create {}: stateid {} instead of 1", action.path, stateid.seqid));
    if (own.type != FileType::NF4REG || own.size != 0 || own.numlinks != 1)
      co_return fail("create " + action.path + ": it is not empty and new");
    directory->change = after.change;
    acknowledge();
    const NodeRef node = model_.find(action.path);
    node->fh = fh;
    node->change = own.change;
    node->is_open = true;
    node->open = stateid;
    open_files_.push_back(node);
    break;
  }
  if (open_files_.size() > open_files_max)
    co_await close_file(open_files_[random_.below(open_files_.size())]);
}

Task<> CrashWorker::make(Action action) {
  action.path = free_path();
  if (action.path.empty()) co_return;
  const bool directory_wanted = action.kind == Action::Kind::mkdir;
  if (!directory_wanted) action.other_path = fmt::format("target-{}", ++next_id_);
  const NodeRef directory = model_.find(parent_of(action.path));
  const std::string what = fmt::format("{} {}", directory_wanted ? "mkdir" : "symlink", action.path);
  ask(action);
  for (;;) {
    Call& call = begin_in(*directory);
    if (directory_wanted)
      call.mkdir(name_of(action.path), 0755);
    else
      call.symlink(name_of(action.path), action.other_path);
    call.getfh().getattr(file_attributes).putfh(directory->fh).getattr(attr::CHANGE);
    Reply& r = co_await slot_.exchange();
    Attributes before, own, after;
    ChangeInfo change;
    FileHandle fh;
    if (!(r.putfh() && r.getattr(before) && r.create(change))) {
      if (co_await again(r)) continue;
      co_return fail(what, r);
    }
    if (!(r.getfh(fh) && r.getattr(own) && r.putfh() && r.getattr(after))) co_return fail(what, r);
    if (!unchanged(*directory, before.change, "directory of " + action.path)) co_return;
    directory->change = after.change;
    acknowledge();
    const NodeRef node = model_.find(action.path);
    node->fh = fh;
    node->change = own.change;
    co_return;
  }
}

Task<> CrashWorker::link() {
  const Action action{.kind = Action::Kind::link, .path = any(FileType::NF4REG), .other_path = free_path()};
  if (action.path.empty() || action.other_path.empty()) co_return;
  const NodeRef file = model_.find(action.path);
  const NodeRef directory = model_.find(parent_of(action.other_path));
  const std::string what = fmt::format("link {} to {}", action.path, action.other_path);
  ask(action);
  for (;;) {
    slot_.begin(true)
        .putfh(file->fh)
        .savefh()
        .putfh(directory->fh)
        .getattr(attr::CHANGE)
        .link(name_of(action.other_path))
        .getattr(attr::CHANGE)
        .restorefh()
        .getattr(file_attributes);
    Reply& r = co_await slot_.exchange();
    Attributes before, after, own;
    ChangeInfo change;
    if (!(r.putfh() && r.plain(Op::SAVEFH) && r.putfh() && r.getattr(before) && r.link(change))) {
      if (co_await again(r)) continue;
      co_return fail(what, r);
    }
    if (!(r.getattr(after) && r.plain(Op::RESTOREFH) && r.getattr(own))) co_return fail(what, r);
    if (!unchanged(*directory, before.change, "directory of " + action.other_path)) co_return;
    if (own.numlinks != file->links + 1)
      co_return fail(fmt::format("{}: {} links instead of {}", what, own.numlinks, file->links + 1));
    directory->change = after.change;
    file->change = own.change;
    co_return acknowledge();
  }
}

// To a free name, or over another file.
Task<> CrashWorker::rename() {
  Action action{.kind = Action::Kind::rename};
  const uint64_t draw = random_.below(10);
  action.path = any(draw < 2 ? FileType::NF4DIR : draw < 3 ? FileType::NF4LNK : FileType::NF4REG);
  action.other_path = draw >= 7 ? any(FileType::NF4REG) : free_path();
  if (action.path.empty() || action.other_path.empty() || !model_.possible(action)) co_return;
  const NodeRef node = model_.find(action.path);
  const NodeRef target = model_.find(action.other_path);
  const NodeRef from = model_.find(parent_of(action.path));
  const NodeRef to = model_.find(parent_of(action.other_path));
  const std::string what = fmt::format("rename {} to {}", action.path, action.other_path);
  ask(action);
  for (;;) {
    begin_in(*from)
        .savefh()
        .putfh(to->fh)
        .getattr(attr::CHANGE)
        .rename(name_of(action.path), name_of(action.other_path))
        .getattr(attr::CHANGE)
        .restorefh()
        .getattr(attr::CHANGE);
    Reply& r = co_await slot_.exchange();
    Attributes from_before, to_before, to_after, from_after;
    ChangeInfo source_change, target_change;
    if (!(r.putfh() && r.getattr(from_before) && r.plain(Op::SAVEFH) && r.putfh() && r.getattr(to_before) &&
          r.rename(source_change, target_change))) {
      if (co_await again(r)) continue;
      co_return fail(what, r);
    }
    if (!(r.getattr(to_after) && r.plain(Op::RESTOREFH) && r.getattr(from_after))) co_return fail(what, r);
    if (!unchanged(*from, from_before.change, "directory of " + action.path) ||
        !unchanged(*to, to_before.change, "directory of " + action.other_path))
      co_return;
    to->change = to_after.change;
    from->change = from_after.change;
    node->change = 0;  // a server may count it as a change of what was moved
    if (target != nullptr) target->change = 0;
    acknowledge();
    break;
  }
  if (target != nullptr && target->links == 0 && target->is_open) co_await close_file(target);
}

// REMOVE of `path`, until it is answered. False: it failed, as has been told with `what`.
Task<bool> CrashWorker::remove_name(const char* what, const std::string& path) {
  const NodeRef directory = model_.find(parent_of(path));
  for (;;) {
    begin_in(*directory).remove(name_of(path)).getattr(attr::CHANGE);
    Reply& r = co_await slot_.exchange();
    Attributes before, after;
    ChangeInfo change;
    if (!(r.putfh() && r.getattr(before) && r.remove(change))) {
      if (co_await again(r)) continue;
      fail(what + path, r);
      co_return false;
    }
    if (!r.getattr(after)) {
      fail(what + path, r);
      co_return false;
    }
    if (!unchanged(*directory, before.change, "directory of " + path)) co_return false;
    directory->change = after.change;
    co_return true;
  }
}

Task<> CrashWorker::remove() {
  Action action{.kind = Action::Kind::remove};
  action.path = any(random_.chance(15) ? FileType::NF4LNK : FileType::NF4REG);
  if (action.path.empty()) co_return;
  const NodeRef node = model_.find(action.path);
  ask(action);
  if (!co_await remove_name("remove ", action.path)) co_return;
  node->change = 0;
  acknowledge();
  // Removed, but still open: its state has to survive as well.
  if (node->links == 0 && node->is_open) co_await close_file(node);
}

Task<> CrashWorker::rmdir() {
  std::vector<std::string> empty;
  for (std::string& path : model_.paths(FileType::NF4DIR)) {
    if (!model_.has_children(path)) empty.push_back(std::move(path));
  }
  if (empty.empty()) co_return;
  const Action action{.kind = Action::Kind::rmdir, .path = empty[random_.below(empty.size())]};
  ask(action);
  if (co_await remove_name("rmdir ", action.path)) acknowledge();
}

// What the server must refuse, also when it is asked a second time: a name that is taken, one that is not
// there.
Task<> CrashWorker::refused() {
  const bool taken = random_.chance(50);
  const std::string path = taken ? any(FileType::NF4REG) : free_path();
  if (path.empty()) co_return;
  const NodeRef directory = model_.find(parent_of(path));
  const NfsStatus expected = taken ? NfsStatus::NFS4ERR_EXIST : NfsStatus::NFS4ERR_NOENT;
  for (;;) {
    Call& call = begin_in(*directory);
    if (taken)
      call.mkdir(name_of(path), 0755);
    else
      call.remove(name_of(path));
    Reply& r = co_await slot_.exchange();
    Attributes before;
    ChangeInfo change;
    if (!(r.putfh() && r.getattr(before))) {
      if (co_await again(r)) continue;
      co_return fail("refusal at " + path, r);
    }
    if (taken)
      r.create(change);
    else
      r.remove(change);
    if (co_await again(r)) continue;
    if (r.error() != expected)
      co_return fail(fmt::format("{} {}: {} instead of {}", taken ? "mkdir" : "remove", path,
                                 status_name(r.error()), status_name(expected)));
    if (!unchanged(*directory, before.change, "directory of " + path)) co_return;
    ++shared_.checks;
    co_return;
  }
}

Task<> CrashWorker::look_up() {
  const bool there = random_.chance(60);
  const std::string path = there ? any(FileType::NF4REG) : free_path();
  if (path.empty()) co_return;
  const NodeRef node = model_.find(path);
  for (;;) {
    slot_.begin(false).putfh(model_.find(parent_of(path))->fh).lookup(name_of(path)).getattr(file_attributes);
    Reply& r = co_await slot_.exchange();
    Attributes a;
    const bool found = r.putfh() && r.plain(Op::LOOKUP) && r.getattr(a);
    if (!found && co_await read_again(r)) continue;
    const bool absent = r.error() == NfsStatus::NFS4ERR_NOENT;
    if (there ? !found : !absent)
      co_return fail(fmt::format("{} should {}be there", path, there ? "" : "not "), r);
    if (there && (a.numlinks != node->links || a.size != node->versions.size() * test_block_bytes))
      co_return fail(fmt::format("{}: {} links, {} bytes", path, a.numlinks, a.size));
    ++shared_.checks;
    co_return;
  }
}

Task<> CrashWorker::list() {
  const std::string path = any_directory();
  std::vector<DirectoryEntry> entries;
  for (;;) {
    const NfsStatus status = co_await read_directory(slot_, model_.find(path)->fh, entries);
    if (status == NfsStatus::NFS4_OK) break;
    Reply r;
    r.fail(status, Op::READDIR);
    if (!co_await read_again(r)) co_return fail("listing /" + path, r);
    entries.clear();
  }
  std::set<std::string> found;
  for (const DirectoryEntry& e : entries) {
    if (!found.insert(e.name).second) co_return fail(fmt::format("listing /{}: {} twice", path, e.name));
  }
  std::set<std::string> expected;
  for (const auto& entry : model_.nodes()) {
    if (!entry.first.empty() && parent_of(entry.first) == path) expected.emplace(name_of(entry.first));
  }
  if (found != expected)
    co_return fail(
        fmt::format("listing /{}: {} names, not the {} that are there", path, found.size(), expected.size()));
  ++shared_.checks;
}

}  // namespace perdure::bench
