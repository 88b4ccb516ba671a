// Access control lists: each slot has a tree of its own, in which several users make directories and FIFOs,
// remove them, and give them lists and modes.
//
// Judged: who may do what, mode and list, and what new objects inherit, by a model that keeps a plain list
// for every object, as RFC 8881 §6 has it. Some requests go on after a change with a long write to a file
// that is their user's alone: they are still his when they go on after a crash. Each operation is allowed or
// refused as the model says, also ACCESS, and what a list that is shown says of each user is what the model's
// says.
#include <map>
#include <memory>
#include <set>

#include "sim/workload.h"

namespace perdure::sim {
namespace {

using bench::Ace;
using List = std::vector<Ace>;

constexpr uint32_t allow = 0, deny = 1;
constexpr uint32_t to_files = 1, to_directories = 2, no_further = 4, inherit_only = 8, a_group = 0x40;
constexpr uint32_t read_it = 0x1, add_file = 0x2, add_directory = 0x4, read_named = 0x8, write_named = 0x10,
                   pass = 0x20, delete_child = 0x40, read_attributes = 0x80, write_attributes = 0x100,
                   delete_it = 0x10000, read_acl = 0x20000, write_acl = 0x40000, synchronize = 0x100000;
constexpr uint32_t stat_rights = read_attributes | read_acl | synchronize;
constexpr uint32_t owner_rights = read_attributes | write_attributes | read_acl | write_acl;
constexpr uint32_t users[] = {1000, 1001, 1002, 1003};
constexpr uint32_t sticky = 01000;
constexpr uint32_t written_blocks = 12;

// ---- the model's arithmetic

// What a mode's rwx mean.
uint32_t mask_of(uint32_t bits, bool directory) {
  uint32_t mask = 0;
  if ((bits & 4U) != 0) mask |= read_it | read_named;
  if ((bits & 2U) != 0) mask |= add_file | add_directory | write_named | (directory ? delete_child : 0);
  if ((bits & 1U) != 0) mask |= pass;
  return mask;
}

struct Verdict {
  uint32_t allowed = 0, denied = 0;
};

bool is_special(const Ace& ace) {
  return ace.who.ends_with('@');
}

// Every user is the only one of the group with his number.
Verdict verdict(const List& aces, uint32_t owner, uint32_t who) {
  Verdict v;
  for (const Ace& ace : aces) {
    if ((ace.flags & inherit_only) != 0) continue;
    const bool about_owner = ace.who == "OWNER@" || ace.who == "GROUP@";
    const bool meant =
        ace.who == "EVERYONE@" || (about_owner ? who == owner : ace.who == std::to_string(who));
    if (!meant) continue;
    (ace.type == allow ? v.allowed : v.denied) |= ace.mask & ~(v.allowed | v.denied);
  }
  return v;
}

uint32_t class_mask(const List& aces, std::string_view name) {
  uint32_t allowed = 0, denied = 0;
  for (const Ace& ace : aces)
    if ((ace.flags & inherit_only) == 0 && (ace.who == name || ace.who == "EVERYONE@"))
      (ace.type == allow ? allowed : denied) |= ace.mask & ~(allowed | denied);
  return allowed;
}

uint32_t mode_of(const List& aces) {
  uint32_t mode = 0;
  for (const std::string_view name : {"OWNER@", "GROUP@", "EVERYONE@"}) {
    const uint32_t mask = class_mask(aces, name);
    mode <<= 3U;
    if ((mask & read_it) != 0) mode |= 4U;
    if ((mask & add_file) != 0 && (mask & add_directory) != 0) mode |= 2U;
    if ((mask & pass) != 0) mode |= 1U;
  }
  return mode;
}

List list_of_mode(uint32_t mode, bool directory) {
  const uint32_t all = mask_of(7, directory);
  const uint32_t user = mask_of(mode >> 6U, directory), group = mask_of(mode >> 3U, directory);
  return {{deny, 0, all & ~user, "OWNER@"},
          {allow, 0, user | owner_rights, "OWNER@"},
          {allow, 0, group, "GROUP@"},
          {deny, 0, all & ~group, "GROUP@"},
          {allow, 0, mask_of(mode, directory) | stat_rights, "EVERYONE@"}};
}

// chmod: nothing is put together, and nothing left out.
List with_mode(const List& aces, uint32_t mode, bool directory) {
  const uint32_t all = mask_of(7, directory);
  const uint32_t user = mask_of(mode >> 6U, directory), group = mask_of(mode >> 3U, directory);
  List result{{deny, 0, all & ~user, "OWNER@"}, {allow, 0, user, "OWNER@"}};
  for (Ace ace : aces) {
    if ((ace.flags & (to_files | to_directories)) != 0 || (ace.flags & inherit_only) != 0) {
      result.push_back(ace);
      result.back().flags |= inherit_only;
    }
    if ((ace.flags & inherit_only) != 0) continue;
    ace.flags &= a_group;
    if (is_special(ace))
      ace.mask &= ~all;
    else if (ace.type == allow)
      ace.mask &= ~all | group;
    result.push_back(ace);
  }
  result.push_back({allow, 0, group, "GROUP@"});
  result.push_back({deny, 0, all & ~group, "GROUP@"});
  result.push_back({allow, 0, mask_of(mode, directory), "EVERYONE@"});
  return result;
}

List inherited(const List& aces, bool directory) {
  List result;
  for (Ace ace : aces) {
    const bool files = (ace.flags & to_files) != 0, directories = (ace.flags & to_directories) != 0;
    const bool once = (ace.flags & no_further) != 0;
    const uint32_t group = ace.flags & a_group, on = ace.flags & (to_files | to_directories);
    if (!directory && files)
      ace.flags = group;
    else if (directory && directories)
      ace.flags = group | (once ? 0 : on);
    else if (directory && files && !once)
      ace.flags = group | on | inherit_only;
    else
      continue;
    result.push_back(ace);
  }
  return result;
}

std::string words(const List& aces) {
  std::string out;
  for (const Ace& ace : aces)
    out += fmt::format("{}:{:x}:{}:{:x} ", ace.type == allow ? 'A' : 'D', ace.flags, ace.who, ace.mask);
  return out;
}
// What a list has to say, however it is written down.
std::string meaning(const List& aces, uint32_t owner) {
  std::string out = fmt::format("mode {:o}", mode_of(aces));
  for (const uint32_t user : users) out += fmt::format(" {}={:x}", user, verdict(aces, owner, user).allowed);
  for (const bool directory : {false, true}) {
    List down = inherited(aces, directory);
    for (Ace& ace : down)
      if (is_special(ace)) ace.flags &= ~a_group;
    out += fmt::format(" {}: {}", directory ? "directories" : "files", words(down));
  }
  return out;
}

struct Object {
  FileHandle handle;
  std::string name;
  Object* parent = nullptr;
  bool directory = false;
  uint32_t owner = 0;
  bool sticks = false;
  List aces;
  std::map<std::string, std::unique_ptr<Object>> entries;

  Verdict of(uint32_t who) const {
    if (who == 0) return {UINT32_MAX, 0};
    Verdict v = verdict(aces, owner, who);
    if (who == owner) v.allowed |= owner_rights;
    return v;
  }
  bool may(uint32_t who, uint32_t mask) const { return (mask & ~of(who).allowed) == 0; }
  void set_mode(uint32_t mode) {
    aces = with_mode(aces, mode, directory);
    sticks = (mode & sticky) != 0;
  }
};

bool may_remove(uint32_t who, const Verdict& directory, const Verdict& object, const Object& of,
                const Object& from) {
  if (who == 0) return true;
  if (from.sticks && who != from.owner && who != of.owner) return false;
  if ((directory.allowed & delete_child) != 0 || (object.allowed & delete_it) != 0) return true;
  if ((directory.denied & delete_child) != 0 || (object.denied & delete_it) != 0) return false;
  return (directory.allowed & add_file) != 0;
}

class AclsWorkload final : public Workload {
 public:
  explicit AclsWorkload(World& world) : Workload(world, "acls") {}

  Task<> setup() override {
    const uint64_t count = random().between(1, 3);
    clients_ = co_await start_clients(count, 1, 3);
    if (world_.failed()) co_return;
    slots_ = slots_of(clients_);
    const std::string name = "acls";
    const FileHandle root = co_await make_directory(*slots_[0], clients_[0]->root(), name);
    for (size_t i = 0; i < slots_.size() && !world_.failed(); ++i) {
      const std::string home = fmt::format("home {}", i);
      auto& tree = trees_.emplace_back(std::make_unique<Object>());
      tree->handle = co_await make_directory(*slots_[0], root, home);
      tree->directory = true;
      tree->aces = list_of_mode(0777, true);
      tree->name = home;
    }
    for (const uint32_t user : users) {
      if (world_.failed()) co_return;
      const std::string file = fmt::format("of {}", user), owner = "maker";
      Slot& slot = *slots_[0];
      slot.begin_as(user)
          .putfh(root)
          .open_create({slot.client().id(), owner}, file, bench::CreateMode::GUARDED4, 0600, 0)
          .getfh();
      Reply& reply = co_await slot.ask();
      OpenFile made;
      bench::ChangeInfo change;
      if (!(reply.putfh() && reply.open(made.stateid, change) && reply.getfh(made.handle)))
        co_return fail("create {}: {}", file, bench::status_name(reply.error()));
      own_files_[user] = made.handle;
      co_await close_file(slot, made);
    }
  }

  void start() override {
    operations_ = random().between(30, 300);
    for (size_t i = 0; i < slots_.size(); ++i) spawn(work(*slots_[i], *trees_[i]));
  }

  Task<> check() override {
    for (size_t i = 0; i < slots_.size() && !world_.failed(); ++i) {
      std::vector<Object*> all;
      collect(*trees_[i], all);
      for (Object* object : all) {
        co_await look(*slots_[i], *object);
        if (world_.failed()) co_return;
      }
    }
  }

 private:
  static void collect(Object& object, std::vector<Object*>& all) {
    all.push_back(&object);
    for (auto& [name, entry] : object.entries) collect(*entry, all);
  }
  Object& some(Object& tree, bool directory) {
    std::vector<Object*> all;
    collect(tree, all);
    if (directory) std::erase_if(all, [](const Object* object) { return !object->directory; });
    return *all[random().below(all.size())];
  }
  uint32_t some_user() { return random().one_in(6) ? 0 : users[random().below(std::size(users))]; }
  uint32_t owner_or_some(const Object& object) { return random().one_in(2) ? object.owner : some_user(); }
  // Mostly one that is there.
  std::string some_entry(const Object& object) {
    if (object.entries.empty() || random().one_in(6)) return some_name();
    return std::next(object.entries.begin(),
                     static_cast<std::ptrdiff_t>(random().below(object.entries.size())))
        ->first;
  }
  uint32_t some_mode() {
    if (random().one_in(3)) return static_cast<uint32_t>(random().below(01000));
    return random().pick({0777U, 0755U, 0770U, 0700U, 01777U, 0751U});
  }
  List some_list(bool directory) {
    List aces;
    const uint64_t count = random().below(6);
    for (uint64_t i = 0; i < count; ++i) {
      Ace ace{.type = random().one_in(3) ? deny : allow};
      constexpr uint32_t bits[] = {read_it,         add_file,  add_directory, pass,      delete_child,
                                   read_attributes, delete_it, read_acl,      write_acl, write_named};
      for (const uint32_t bit : bits)
        if (random().one_in(2)) ace.mask |= bit;
      ace.who = std::to_string(users[random().below(std::size(users))]);
      if (random().one_in(4)) ace.flags |= a_group;
      if (random().one_in(3)) ace.who = random().pick({"OWNER@", "GROUP@", "EVERYONE@"});
      constexpr uint32_t flags[] = {to_files, to_directories, no_further, inherit_only};
      for (const uint32_t flag : flags)
        if (directory && random().one_in(3)) ace.flags |= flag;
      aces.push_back(ace);
    }
    if (random().one_in(2))
      aces.push_back(
          {allow, directory ? to_files | to_directories : 0, mask_of(7, false) | stat_rights, "EVERYONE@"});
    return aces;
  }

  Task<> work(Slot& slot, Object& tree) {
    while (operations_ > 0 && !world_.failed()) {
      --operations_;
      const uint64_t what = random().below(12);
      if (what < 3)
        co_await make(slot, some(tree, true));
      else if (what < 5)
        co_await remove(slot, some(tree, true));
      else if (what < 7)
        co_await set_list(slot, some(tree, random().one_in(2)));
      else if (what < 8)
        co_await set_mode(slot, some(tree, random().one_in(2)));
      else if (what < 10)
        co_await ask_access(slot, some(tree, false));
      else if (what < 11)
        co_await rename(slot, some(tree, true));
      else
        co_await look(slot, some(tree, false));
      if (random().one_in(12))
        co_await slot.client().sleep(random().exponential(std::chrono::milliseconds(20)));
    }
  }

  std::string some_name() { return std::string(1, static_cast<char>('a' + random().below(6))); }
  static size_t depth(const Object& object) {
    size_t depth = 0;
    for (const Object* at = object.parent; at != nullptr; at = at->parent) ++depth;
    return depth;
  }
  void expect(NfsStatus expected, NfsStatus got, const char* what, const Object& object, uint32_t user) {
    world_.trace("{} {} by {}: {}", what, object.name, user, bench::status_name(got));
    if (got != expected)
      fail("{} {} by {}: {} instead of {}; owner {}: {}", what, object.name, user, bench::status_name(got),
           bench::status_name(expected), object.owner, words(object.aces));
  }

  Task<> make(Slot& slot, Object& in) {
    const uint32_t user = some_user(), mode = some_mode() & 0777U;
    const bool directory = random().one_in(2) && depth(in) < 3;
    const std::string name = some_name();
    NfsStatus expected = NfsStatus::NFS4_OK;
    if (!in.may(user, pass))
      expected = NfsStatus::NFS4ERR_ACCESS;
    else if (in.entries.contains(name))
      expected = NfsStatus::NFS4ERR_EXIST;
    else if (!in.may(user, directory ? add_directory : add_file))
      expected = NfsStatus::NFS4ERR_ACCESS;
    Call& call = slot.begin_as(user).putfh(in.handle);
    (directory ? call.mkdir(name, mode) : call.fifo(name, mode)).getfh();
    // Where it may fail the client would make the whole request again.
    const bool writes = user != 0 && !world_.profile().disks_fail() && random().one_in(4);
    if (writes) {
      const MutableBytes data =
          call.putfh(own_files_[user]).write({}, 0, bench::StableHow::FILE_SYNC4, written_blocks * block);
      std::ranges::fill(data, std::byte{1});
      call.set_mode(0600);
    }
    Reply& reply = co_await slot.ask();
    bench::ChangeInfo info;
    auto made = std::make_unique<Object>();
    const bool done = reply.putfh() && reply.create(info) && reply.getfh(made->handle);
    uint32_t count = 0;
    bench::StableHow level{};
    Verifier verifier{};
    if (done && writes && !(reply.putfh() && reply.write(count, level, verifier) && reply.setattr()))
      fail("a write and a mode by {} behind a change: {}", user, bench::status_name(reply.error()));
    expect(expected, done ? NfsStatus::NFS4_OK : reply.error(), directory ? "mkdir in" : "mkfifo in", in,
           user);
    if (!done) co_return;
    made->name = in.name + "/" + name;
    made->parent = &in;
    made->directory = directory;
    made->owner = user;
    const List from_parent = inherited(in.aces, directory);
    if (from_parent.empty()) {
      made->aces = list_of_mode(mode, directory);
    } else {
      // Of whom nothing inherited speaks has what comes with a mode.
      made->aces = from_parent;
      for (const char* who : {"OWNER@", "GROUP@", "EVERYONE@"}) {
        const bool spoken_of = std::ranges::any_of(
            from_parent, [&](const Ace& ace) { return ace.who == who && (ace.flags & inherit_only) == 0; });
        const uint32_t mask = std::string_view(who) == "OWNER@" ? owner_rights | synchronize : stat_rights;
        if (!spoken_of) made->aces.push_back({allow, 0, mask, who});
      }
      made->aces = with_mode(made->aces, mode, directory);
    }
    in.entries[name] = std::move(made);
  }

  Task<> remove(Slot& slot, Object& from) {
    const uint32_t user = some_user();
    const std::string name = some_entry(from);
    const auto entry = from.entries.find(name);
    Object* object = entry == from.entries.end() ? nullptr : entry->second.get();
    NfsStatus expected = NfsStatus::NFS4_OK;
    if (!from.may(user, pass))
      expected = NfsStatus::NFS4ERR_ACCESS;
    else if (object == nullptr)
      expected = NfsStatus::NFS4ERR_NOENT;
    else if (!may_remove(user, from.of(user), object->of(user), *object, from))
      expected = NfsStatus::NFS4ERR_ACCESS;
    else if (!object->entries.empty())
      expected = NfsStatus::NFS4ERR_NOTEMPTY;
    slot.begin_as(user).putfh(from.handle).remove(name);
    Reply& reply = co_await slot.ask();
    bench::ChangeInfo info;
    const bool done = reply.putfh() && reply.remove(info);
    expect(expected, done ? NfsStatus::NFS4_OK : reply.error(), "remove from", from, user);
    if (done && object != nullptr) from.entries.erase(name);
  }

  // Within the directory, to a name that is not taken.
  Task<> rename(Slot& slot, Object& in) {
    const uint32_t user = some_user();
    const std::string name = some_entry(in), to = some_name();
    if (!in.entries.contains(name) || in.entries.contains(to)) co_return;
    const Object& object = *in.entries[name];
    const bool may = in.may(user, pass | (object.directory ? add_directory : add_file)) &&
                     may_remove(user, in.of(user), object.of(user), object, in);
    slot.begin_as(user).putfh(in.handle).savefh().putfh(in.handle).rename(name, to);
    Reply& reply = co_await slot.ask();
    bench::ChangeInfo source, target;
    const bool done =
        reply.putfh() && reply.plain(Op::SAVEFH) && reply.putfh() && reply.rename(source, target);
    expect(may ? NfsStatus::NFS4_OK : NfsStatus::NFS4ERR_ACCESS, done ? NfsStatus::NFS4_OK : reply.error(),
           "rename in", in, user);
    if (!done) co_return;
    auto moved = in.entries.extract(name);
    moved.key() = to;
    in.entries.insert(std::move(moved));
  }

  Task<> set_list(Slot& slot, Object& object) {
    const uint32_t user = owner_or_some(object);
    const List aces = some_list(object.directory);
    const bool may = object.may(user, write_acl);
    slot.begin_as(user).putfh(object.handle).set_acl(aces);
    Reply& reply = co_await slot.ask();
    const bool done = reply.putfh() && reply.setattr();
    expect(may ? NfsStatus::NFS4_OK : NfsStatus::NFS4ERR_PERM, done ? NfsStatus::NFS4_OK : reply.error(),
           "a list for", object, user);
    if (done) object.aces = aces;
  }

  Task<> set_mode(Slot& slot, Object& object) {
    const uint32_t user = owner_or_some(object), mode = some_mode();
    const bool may = object.may(user, write_acl), owns = user == 0 || user == object.owner;
    slot.begin_as(user).putfh(object.handle).set_mode(mode);
    Reply& reply = co_await slot.ask();
    const bool done = reply.putfh() && reply.setattr();
    expect(may ? NfsStatus::NFS4_OK : NfsStatus::NFS4ERR_PERM, done ? NfsStatus::NFS4_OK : reply.error(),
           "a mode for", object, user);
    if (done) object.set_mode(owns || object.sticks ? mode : mode & ~sticky);
  }

  Task<> ask_access(Slot& slot, Object& object) {
    const uint32_t user = users[random().below(std::size(users))];
    const Verdict v = object.of(user);
    const auto has = [&](uint32_t mask) { return (mask & ~v.allowed) == 0; };
    const bool adds = has(add_file), adds_any = adds || has(add_directory);
    const bool removes = has(delete_child) || ((v.denied & delete_child) == 0 && adds);
    uint32_t expected = has(read_it) ? 1 : 0;
    if (object.directory) {
      if (has(pass))
        expected |= 2U | (adds && removes ? 4U : 0U) | (adds_any ? 8U : 0U) | (removes ? 16U : 0U);
    } else {
      expected |= (adds ? 4U : 0U) | (adds_any ? 8U : 0U) | (has(pass) ? 32U : 0U);
    }
    slot.begin_as(user).putfh(object.handle).access(0x3f);
    Reply& reply = co_await slot.ask();
    uint32_t supported = 0, granted = 0;
    if (!(reply.putfh() && reply.access(supported, granted)))
      co_return fail("access: {}", bench::status_name(reply.error()));
    if (granted != expected)
      fail("{}, of {}, allows {} {:#x} instead of {:#x}: {}", object.name, object.owner, user, granted,
           expected, words(object.aces));
  }

  Task<> look(Slot& slot, Object& object) {
    const uint32_t user = some_user();
    const bool may = object.may(user, read_attributes | read_acl);
    slot.begin_as(user).putfh(object.handle).getattr(attr::MODE | attr::ACL);
    Reply& reply = co_await slot.ask();
    Attributes attributes;
    const bool done = reply.putfh() && reply.getattr(attributes);
    expect(may ? NfsStatus::NFS4_OK : NfsStatus::NFS4ERR_ACCESS, done ? NfsStatus::NFS4_OK : reply.error(),
           "a look at", object, user);
    if (!done) co_return;
    const uint32_t mode = mode_of(object.aces) | (object.sticks ? sticky : 0);
    const std::string ours = meaning(object.aces, object.owner),
                      theirs = meaning(attributes.acl, object.owner);
    if (attributes.mode != mode || ours != theirs)
      fail("{}, of {}: mode {:o}, {} instead of mode {:o}, {}", object.name, object.owner, attributes.mode,
           theirs, mode, ours);
  }

  std::vector<Client*> clients_;
  std::vector<Slot*> slots_;
  std::vector<std::unique_ptr<Object>> trees_;  // one of each slot
  std::map<uint32_t, FileHandle> own_files_;    // of each user
  uint64_t operations_ = 0;
};

}  // namespace

std::unique_ptr<Workload> make_acls(World& world) {
  return std::make_unique<AclsWorkload>(world);
}

}  // namespace perdure::sim
