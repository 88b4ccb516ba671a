// Exactly once: each slot has a directory of its own, where it makes files (GUARDED4 and EXCLUSIVE4_1),
// directories, symbolic links and further links, renames and removes them. Requests are sent again whenever a
// connection is cut or the server dies.
//
// Judged: no operation has a result which says that it was executed twice or not at all; one that must fail
// does, and changes nothing. The change attribute of a directory goes from `before` to `after` without a gap,
// and always grows, also over crashes, as do those of files when their links change. Link counts, file ids
// and the listings are exact.
#include <map>

#include "sim/workload.h"

namespace perdure::sim {
namespace {

struct Thing {
  FileHandle handle;
  bool directory = false;
  uint64_t verifier = 0;  // of its exclusive create
  uint32_t links = 1;
  uint64_t change = 0;
};

// What a slot has made.
struct Home {
  FileHandle handle;
  uint64_t change = 0;
  std::map<std::string, uint64_t> names;  // file ids
  std::map<uint64_t, Thing> things;
};

class ExclusiveWorkload final : public Workload {
 public:
  explicit ExclusiveWorkload(World& world) : Workload(world, "exclusive") {}

  Task<> setup() override {
    const uint64_t count = random().between(1, 3);
    clients_ = co_await start_clients(count, 1, 3);
    if (world_.failed()) co_return;
    Slot& first = clients_[0]->slot(0);
    const std::string name = "exclusive";
    const FileHandle root = co_await make_directory(first, clients_[0]->root(), name);
    size_t slots = 0;
    for (Client* client : clients_) slots += client->slots();
    for (size_t i = 0; i < slots && !world_.failed(); ++i) {
      const std::string home = fmt::format("home {}", i);
      homes_.emplace_back();
      homes_.back().handle = co_await make_directory(first, root, home);
      first.begin().putfh(homes_.back().handle).getattr(attr::CHANGE);
      Reply& reply = co_await first.ask();
      Attributes attributes;
      if (!(reply.putfh() && reply.getattr(attributes))) co_return fail("getattr");
      homes_.back().change = attributes.change;
    }
  }

  void start() override {
    operations_ = random().between(20, 200);
    size_t home = 0;
    for (Client* client : clients_)
      for (size_t i = 0; i < client->slots(); ++i) spawn(work(client->slot(i), homes_[home++]));
  }

  Task<> check() override {
    Slot& slot = clients_[0]->slot(0);
    for (Home& home : homes_) {
      const Names names = co_await list(slot, home.handle, random().one_in(2) ? 400 : 32768);
      const std::map<std::string, uint64_t> there(names.begin(), names.end());
      if (there != home.names || there.size() != names.size())
        co_return fail("{} names instead of {}", names.size(), home.names.size());
      co_await look(slot, home.handle, home.change, 2 + directories_in(home));
      for (auto& [id, thing] : home.things) {
        co_await look(slot, thing.handle, thing.change, thing.links);
        if (world_.failed()) co_return;
      }
    }
  }

 private:
  Task<> work(Slot& slot, Home& home) {
    while (operations_ > 0 && !world_.failed()) {
      --operations_;
      const std::string name(1, static_cast<char>('a' + random().below(8)));
      switch (random().below(7)) {
        case 0:
          co_await make_file(slot, home, name, bench::CreateMode::GUARDED4);
          break;
        case 1:
          co_await make_file(slot, home, name, bench::CreateMode::EXCLUSIVE4_1);
          break;
        case 2:
          co_await make_other(slot, home, name);
          break;
        case 3:
          co_await link(slot, home, name);
          break;
        case 4:
          co_await rename(slot, home, name);
          break;
        default:
          co_await remove(slot, home, name);
          break;
      }
      if (random().one_in(6)) co_await look(slot, home.handle, home.change, 2 + directories_in(home));
      if (random().one_in(12))
        co_await slot.client().sleep(random().exponential(std::chrono::milliseconds(30)));
    }
  }

  static uint32_t directories_in(const Home& home) {
    return static_cast<uint32_t>(
        std::ranges::count_if(home.things, [](const auto& thing) { return thing.second.directory; }));
  }

  // The directory was changed, or was not.
  void changed(Home& home, const bench::ChangeInfo& info, bool really, const char* by) {
    const bool grown = really ? info.after > info.before : info.after == info.before;
    if (!info.atomic || info.before != home.change || !grown)
      fail("{}: change info {} to {}{}, after {}", by, info.before, info.after,
           info.atomic ? "" : " not atomic", home.change);
    home.change = info.after;
  }
  // Whether the result is as it must be; true: it is NFS4_OK.
  bool as_expected(Reply& reply, NfsStatus expected, const char* operation, const std::string& name) {
    const NfsStatus status = reply.error();
    world_.trace("{} {}: {}", operation, name, bench::status_name(status));
    if (status != expected)
      fail("{} {} in {}: {} instead of {}", operation, name, bench::op_name(reply.error_op()),
           bench::status_name(status), bench::status_name(expected));
    return status == NfsStatus::NFS4_OK && expected == status;
  }
  void made(Home& home, const std::string& name, const Attributes& attributes, const Thing& thing) {
    home.names[name] = attributes.fileid;
    if (!home.things.emplace(attributes.fileid, thing).second || attributes.numlinks != thing.links)
      fail("{}: file id {} given again, or {} links", name, attributes.fileid, attributes.numlinks);
    home.things.at(attributes.fileid).change = attributes.change;
  }

  static constexpr uint64_t asked_attributes = attr::FILEID | attr::NUMLINKS | attr::CHANGE;
  static constexpr NfsStatus ok = NfsStatus::NFS4_OK;

  Task<> make_file(Slot& slot, Home& home, const std::string& name, bench::CreateMode how) {
    const auto there = home.names.find(name);
    const bool exclusive = how == bench::CreateMode::EXCLUSIVE4_1;
    uint64_t verifier = exclusive ? random().next() : 0;
    // The same exclusive create again, by a request of its own, finds the file that it has made.
    bool again = false;
    if (exclusive && there != home.names.end() && random().one_in(2)) {
      const Thing& thing = home.things.at(there->second);
      if (thing.verifier != 0) verifier = thing.verifier, again = true;
    }
    constexpr Stateid current{.seqid = 1, .other = {}};  // RFC 8881 §16.2.3.1.2
    slot.begin()
        .putfh(home.handle)
        .open_create({slot.client().id(), "owner"}, name, how, 0666, verifier)
        .getfh()
        .getattr(asked_attributes)
        .close(current);
    Reply& reply = co_await slot.ask();
    Stateid stateid;
    bench::ChangeInfo info;
    Thing thing{.handle = {}, .verifier = verifier};
    Attributes attributes;
    if (reply.putfh() && reply.open(stateid, info) && reply.getfh(thing.handle) && reply.getattr(attributes))
      reply.close();
    const NfsStatus expected = there == home.names.end() || again ? ok : NfsStatus::NFS4ERR_EXIST;
    if (!as_expected(reply, expected, exclusive ? "exclusive create" : "create", name)) co_return;
    changed(home, info, !again, "create");
    if (!again) co_return made(home, name, attributes, thing);
    if (attributes.fileid != there->second) fail("{} is another file than before", name);
  }

  Task<> make_other(Slot& slot, Home& home, const std::string& name) {
    const NfsStatus expected = home.names.contains(name) ? NfsStatus::NFS4ERR_EXIST : ok;
    const bool directory = random().one_in(2);
    Call& call = slot.begin().putfh(home.handle);
    directory ? call.mkdir(name, 0777) : call.symlink(name, "nowhere");
    call.getfh().getattr(asked_attributes);
    Reply& reply = co_await slot.ask();
    bench::ChangeInfo info;
    Thing thing{.handle = {}, .directory = directory, .links = directory ? 2U : 1U};
    Attributes attributes;
    if (reply.putfh() && reply.create(info) && reply.getfh(thing.handle)) reply.getattr(attributes);
    if (!as_expected(reply, expected, directory ? "mkdir" : "symlink", name)) co_return;
    changed(home, info, true, "create");
    made(home, name, attributes, thing);
  }

  Task<> link(Slot& slot, Home& home, const std::string& name) {
    std::vector<uint64_t> files;
    for (const auto& [id, thing] : home.things)
      if (!thing.directory) files.push_back(id);
    if (files.empty()) co_return;
    const uint64_t id = files[random().below(files.size())];
    Thing& thing = home.things.at(id);
    const NfsStatus expected = home.names.contains(name) ? NfsStatus::NFS4ERR_EXIST : ok;
    slot.begin()
        .putfh(thing.handle)
        .savefh()
        .putfh(home.handle)
        .link(name)
        .restorefh()
        .getattr(asked_attributes);
    Reply& reply = co_await slot.ask();
    bench::ChangeInfo info;
    Attributes attributes;
    if (reply.putfh() && reply.plain(Op::SAVEFH) && reply.putfh() && reply.link(info) &&
        reply.plain(Op::RESTOREFH))
      reply.getattr(attributes);
    if (!as_expected(reply, expected, "link", name)) co_return;
    changed(home, info, true, "link");
    home.names[name] = id;
    if (attributes.numlinks != ++thing.links || attributes.change <= thing.change)
      fail("link {}: {} links, change {} after {}", name, attributes.numlinks, attributes.change,
           thing.change);
    thing.change = attributes.change;
  }

  // To a free name: what it does to one that is there is the tree's affair (tree.cc).
  Task<> rename(Slot& slot, Home& home, const std::string& from) {
    std::string to = "z";
    for (char c = 'a'; c < 'i' && to == "z"; ++c)
      if (!home.names.contains(std::string(1, c))) to = std::string(1, c);
    if (to == "z" || to == from) co_return;
    const auto there = home.names.find(from);
    slot.begin().putfh(home.handle).savefh().rename(from, to);
    Reply& reply = co_await slot.ask();
    bench::ChangeInfo source, target;
    if (reply.putfh() && reply.plain(Op::SAVEFH)) reply.rename(source, target);
    if (!as_expected(reply, there == home.names.end() ? NfsStatus::NFS4ERR_NOENT : ok, "rename", from))
      co_return;
    changed(home, source, true, "rename");
    if (target.before != source.before || target.after != source.after)
      fail("rename: two changes of one directory");
    home.things.at(there->second).change = 0;  // it may count as a change
    home.names[to] = there->second;
    home.names.erase(there);
  }

  Task<> remove(Slot& slot, Home& home, const std::string& name) {
    const auto there = home.names.find(name);
    slot.begin().putfh(home.handle).remove(name);
    Reply& reply = co_await slot.ask();
    bench::ChangeInfo info;
    if (reply.putfh()) reply.remove(info);
    if (!as_expected(reply, there == home.names.end() ? NfsStatus::NFS4ERR_NOENT : ok, "remove", name))
      co_return;
    changed(home, info, true, "remove");
    const uint64_t id = there->second;
    home.names.erase(there);
    Thing& thing = home.things.at(id);
    if (thing.directory || --thing.links == 0) {
      home.things.erase(id);
    } else {
      const uint64_t before = std::exchange(thing.change, 0);
      co_await look(slot, thing.handle, thing.change, thing.links);
      if (thing.change <= before)
        fail("{} has lost a link, but change is {} after {}", name, thing.change, before);
    }
  }

  // Attributes as they must be; a change of 0 is not known.
  Task<> look(Slot& slot, const FileHandle& handle, uint64_t& change, uint32_t links) {
    if (world_.failed()) co_return;
    slot.begin().putfh(handle).getattr(asked_attributes);
    Reply& reply = co_await slot.ask();
    Attributes attributes;
    if (!(reply.putfh() && reply.getattr(attributes)))
      co_return fail("getattr: {}", bench::status_name(reply.error()));
    if (attributes.numlinks != links || (change != 0 && attributes.change != change))
      fail("{} links instead of {}, change {} after {}", attributes.numlinks, links, attributes.change,
           change);
    change = attributes.change;
  }

  std::vector<Client*> clients_;
  std::vector<Home> homes_;
  uint64_t operations_ = 0;
};

}  // namespace

std::unique_ptr<Workload> make_exclusive(World& world) {
  return std::make_unique<ExclusiveWorkload>(world);
}

}  // namespace perdure::sim
