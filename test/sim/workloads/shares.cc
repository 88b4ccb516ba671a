// Share reservations: owners of several clients open a few files with access and deny modes, open them again
// in another mode, downgrade and close them. Meanwhile each name's maker removes its file and makes it anew.
//
// Judged: no two opens that conflict are there at once, and none is denied without a reason (held.h). Each
// open allows what it was opened for: READ and WRITE work, and WRITE under one that only reads is refused. A
// removed file is there as long as somebody has it open, and its handle is stale only then, and always then;
// once it was stale to somebody, it stays so. An open that fails, because it would truncate what its user may
// not write, leaves nothing behind.
#include <deque>
#include <map>

#include "sim/held.h"
#include "sim/workload.h"

namespace perdure::sim {
namespace {

constexpr NfsStatus ok = NfsStatus::NFS4_OK;
using Share = Call::Share;

// One life of a name. It may be there from the moment when its create was asked for until its remove was
// answered, surely from the create's answer until the remove was asked for.
struct File {
  size_t name = 0;
  uint64_t id = 0;  // 0: nobody knows it yet
  FileHandle handle;
  uint64_t asked = 0, there = never, leaving = never, gone = never;
  uint64_t written = never;  // from then on it has its content: its id
  uint64_t stale = never;    // from then on somebody knows that it is gone
};

struct OpenHold {
  std::pair<size_t, size_t> owner;  // of slot and owner
  size_t name = 0;
  const File* file = nullptr;  // nullptr: some file of this name
  Share share;
  bool conflicts(const OpenHold& other) const {
    const bool same_file = file == nullptr || other.file == nullptr ? name == other.name : file == other.file;
    return same_file && owner != other.owner &&
           ((share.access & other.share.deny) != 0 || (share.deny & other.share.access) != 0);
  }
  std::string words() const {
    return fmt::format("an open of name {} (file {}) by owner {}.{}, access {} deny {}", name,
                       file != nullptr ? file->id : 0, owner.first, owner.second, share.access, share.deny);
  }
};

class SharesWorkload final : public Workload {
 public:
  explicit SharesWorkload(World& world) : Workload(world, "shares"), held_(world) {}

  Task<> setup() override {
    const uint64_t count = random().between(1, 3);
    clients_ = co_await start_clients(count, 1, 3);
    if (world_.failed()) co_return;
    for (Client* client : clients_)
      for (size_t n = 0; n < client->slots(); ++n)
        workers_.push_back({.slot = &client->slot(n), .number = workers_.size(), .opens = {}});
    const std::string name = "shares";
    root_ = co_await make_directory(*workers_[0].slot, clients_[0]->root(), name);
    // The first workers make one name each.
    current_.resize(std::min<size_t>(workers_.size(), random().between(1, 3)));
  }

  void start() override {
    operations_ = random().between(30, 200);
    for (Worker& worker : workers_) spawn(work(worker));
  }

  Task<> check() override {
    for (Worker& worker : workers_) {
      for (size_t i = 0; i < worker.opens.size(); ++i) co_await use(worker, i);
      for (size_t name = 0; name < current_.size(); ++name) co_await open_by_name(worker, name);
      if (world_.failed()) co_return;
    }
    for (Worker& worker : workers_)
      while (!worker.opens.empty() && !world_.failed()) co_await close(worker, 0);
    Slot& slot = *workers_[0].slot;
    for (File& file : files_) co_await probe(slot, file);
    if (world_.failed()) co_return;
    const Names names = co_await list(slot, root_);
    std::map<std::string, uint64_t> expected;
    for (size_t i = 0; i < current_.size(); ++i)
      if (current_[i] != nullptr) expected[name_of(i)] = current_[i]->id;
    const std::map<std::string, uint64_t> there(names.begin(), names.end());
    if (there != expected) fail("{} names instead of {}, or others", there.size(), expected.size());
  }

 private:
  struct Open {
    size_t owner = 0;
    File* file = nullptr;
    Stateid stateid;
    std::vector<Share> ways;  // in which it was opened and which are not given up
    std::vector<size_t> holds;
    Share share() const { return all_of(ways); }
  };
  struct Worker {
    Slot* slot;
    size_t number;
    std::deque<Open> opens;
  };

  static Share all_of(const std::vector<Share>& ways) {
    Share all{0, 0};
    for (const Share& way : ways) all.access |= way.access, all.deny |= way.deny;
    return all;
  }
  static std::string name_of(size_t name) { return fmt::format("file {}", name); }
  std::string owner_name(const Worker& worker, size_t owner) {
    return fmt::format("{}.{}", worker.number, owner);
  }
  Share some_share() {
    return {static_cast<uint32_t>(random().between(1, 3)),
            random().one_in(2) ? 0 : static_cast<uint32_t>(random().below(4))};
  }

  Task<> work(Worker& worker) {
    while (operations_ > 0 && !world_.failed()) {
      --operations_;
      const size_t what = random().below(14), opens = worker.opens.size();
      if (worker.number < current_.size() &&
          (what == 0 || (what < 4 && current_[worker.number] == nullptr))) {
        co_await make_or_remove(worker);
      } else if (what == 12 && worker.number < current_.size() && current_[worker.number] != nullptr) {
        co_await may_not_truncate(worker);
      } else if ((what == 3 || what == 13) && !files_.empty()) {
        // Often one that has just gone, or is about to.
        const size_t newest =
            random().below(random().one_in(2) ? files_.size() : std::min<size_t>(files_.size(), 4));
        File& file = files_[files_.size() - 1 - newest];
        co_await probe(*worker.slot, file);
      } else if (opens == 0 || (opens < 4 && what < 5)) {
        co_await open_by_name(worker, random().below(current_.size()));
      } else if (what < 7) {
        co_await open_again(worker, random().below(opens));
      } else if (what < 8) {
        co_await downgrade(worker, random().below(opens));
      } else if (what < 10) {
        co_await close(worker, random().below(opens));
      } else {
        co_await use(worker, random().below(opens));
      }
      if (random().one_in(12))
        co_await worker.slot->client().sleep(random().exponential(std::chrono::milliseconds(20)));
    }
  }

  // ---- names

  Task<> make_or_remove(Worker& worker) {
    File*& current = current_[worker.number];
    const std::string name = name_of(worker.number);
    if (current != nullptr) {
      current->leaving = world_.moment();
      worker.slot->begin().putfh(root_).remove(name);
      Reply& reply = co_await worker.slot->ask();
      bench::ChangeInfo info;
      if (!(reply.putfh() && reply.remove(info)))
        co_return fail("remove {}: {}", name, bench::status_name(reply.error()));
      std::exchange(current, nullptr)->gone = world_.moment();
      co_return;
    }
    File& file = files_.emplace_back(File{.name = worker.number, .handle = {}, .asked = world_.moment()});
    const Share share = some_share();
    const size_t owner = random().below(2);
    const std::string opener = owner_name(worker, owner);
    const size_t hold = held_.ask({{worker.number, owner}, file.name, &file, share});
    worker.slot->begin()
        .putfh(root_)
        .open_create({worker.slot->client().id(), opener}, share, name, bench::CreateMode::GUARDED4, 0644, 0)
        .getfh()
        .getattr(attr::FILEID);
    Reply& reply = co_await worker.slot->ask();
    Stateid stateid;
    bench::ChangeInfo info;
    FileHandle handle;
    Attributes attributes;
    if (!(reply.putfh() && reply.open(stateid, info) && reply.getfh(handle) && reply.getattr(attributes)))
      co_return fail("create {}: {}", name, bench::status_name(reply.error()));
    learn(file, attributes.fileid, handle);
    file.there = world_.moment();
    current = &file;
    opened(worker, owner, file, stateid, share, hold);
  }

  void learn(File& file, uint64_t id, const FileHandle& handle) {
    for (const File& other : files_)
      if (other.id == id && &other != &file) return fail("file id {} is given twice", id);
    if (file.id != 0 && file.id != id) return fail("file {} is file {} as well", file.id, id);
    file.id = id;
    file.handle = handle;
  }

  // Which file of this name an open has found that was asked for at `asked`.
  File* found(size_t name, uint64_t asked, uint64_t id, const FileHandle& handle) {
    for (File& file : files_) {
      if (file.name != name || file.gone < asked) continue;
      if (file.id == 0) learn(file, id, handle);
      if (file.id == id) return &file;
    }
    fail("{} was file {}, which cannot be", name_of(name), id);
    return nullptr;
  }

  // ---- OPEN, OPEN_DOWNGRADE, CLOSE

  void opened(Worker& worker, size_t owner, File& file, const Stateid& stateid, Share share, size_t hold) {
    held_[hold].what.file = &file;
    held_.granted(hold);
    world_.trace("{}", held_[hold].what.words());
    auto open = std::ranges::find_if(worker.opens,
                                     [&](const Open& o) { return o.owner == owner && o.file == &file; });
    if (open == worker.opens.end()) {
      if (stateid.seqid != 1) fail("a new open has seqid {}", stateid.seqid);
      open = worker.opens.insert(
          open, Open{.owner = owner, .file = &file, .stateid = stateid, .ways = {}, .holds = {}});
    } else {
      next_stateid(*open, stateid, "OPEN");
    }
    open->ways.push_back(share);
    open->holds.push_back(hold);
  }
  void next_stateid(Open& open, const Stateid& now, const char* by) {
    if (now.other != open.stateid.other || now.seqid != open.stateid.seqid + 1)
      fail("{}: seqid {} after {}, or another open", by, now.seqid, open.stateid.seqid);
    open.stateid = now;
  }

  Task<> open_by_name(Worker& worker, size_t name) {
    const Share share = some_share();
    const size_t owner = random().below(2);
    const std::string opener = owner_name(worker, owner);
    const uint64_t asked = world_.moment();
    const size_t hold = held_.ask({{worker.number, owner}, name, nullptr, share});
    worker.slot->begin()
        .putfh(root_)
        .open({worker.slot->client().id(), opener}, share, name_of(name))
        .getfh()
        .getattr(attr::FILEID);
    Reply& reply = co_await worker.slot->ask();
    Stateid stateid;
    bench::ChangeInfo info;
    FileHandle handle;
    Attributes attributes;
    if (reply.putfh() && reply.open(stateid, info) && reply.getfh(handle) && reply.getattr(attributes)) {
      if (File* file = found(name, asked, attributes.fileid, handle))
        opened(worker, owner, *file, stateid, share, hold);
      co_return;
    }
    const bool surely_there = std::ranges::any_of(
        files_, [&](const File& f) { return f.name == name && f.there < asked && f.leaving == never; });
    world_.trace("{}: {}", held_[hold].what.words(), bench::status_name(reply.error()));
    const auto* reason = held_.denied(hold);
    if (reply.error() == NfsStatus::NFS4ERR_NOENT && !surely_there) co_return;
    if (reply.error() == NfsStatus::NFS4ERR_SHARE_DENIED && reason != nullptr) co_return;
    fail("{}: {}", held_[hold].what.words(), bench::status_name(reply.error()));
  }

  // Its own file, so that it is there. The open itself is possible, if no other conflicts: reading is allowed
  // to all. What it would do then is not.
  Task<> may_not_truncate(Worker& worker) {
    constexpr uint32_t stranger = 1000;
    const std::string name = name_of(worker.number), opener = fmt::format("stranger {}", worker.number);
    const Share share{bench::share_access_read, static_cast<uint32_t>(random().below(4))};
    const size_t hold = held_.ask({{worker.number, SIZE_MAX}, worker.number, nullptr, share});
    worker.slot->begin_as(stranger).putfh(root_).open_truncate({worker.slot->client().id(), opener}, share,
                                                               name);
    Reply& reply = co_await worker.slot->ask();
    Stateid stateid;
    bench::ChangeInfo info;
    if (reply.putfh() && reply.open(stateid, info)) co_return fail("{} is truncated by a stranger", name);
    const auto* reason = held_.denied(hold);
    if (reply.error() == NfsStatus::NFS4ERR_ACCESS) co_return;
    if (reply.error() == NfsStatus::NFS4ERR_SHARE_DENIED && reason != nullptr) co_return;
    fail("a stranger opens and truncates {}: {}", name, bench::status_name(reply.error()));
  }

  // By its handle, so that it is surely this file, removed or not.
  Task<> open_again(Worker& worker, size_t which) {
    File& file = *worker.opens[which].file;
    const Share share = some_share();
    const size_t owner = random().one_in(4) ? random().below(2) : worker.opens[which].owner;
    const std::string opener = owner_name(worker, owner);
    const size_t hold = held_.ask({{worker.number, owner}, file.name, &file, share});
    worker.slot->begin().putfh(file.handle).open_current({worker.slot->client().id(), opener}, share);
    Reply& reply = co_await worker.slot->ask();
    Stateid stateid;
    bench::ChangeInfo info;
    if (reply.putfh() && reply.open(stateid, info))
      co_return opened(worker, owner, file, stateid, share, hold);
    world_.trace("{}: {}", held_[hold].what.words(), bench::status_name(reply.error()));
    const auto* reason = held_.denied(hold);
    if (reply.error() != NfsStatus::NFS4ERR_SHARE_DENIED || reason == nullptr)
      fail("again, {}: {}", held_[hold].what.words(), bench::status_name(reply.error()));
  }

  Task<> downgrade(Worker& worker, size_t which) {
    Open& open = worker.opens[which];
    Share share = some_share();
    // Usually to some of the ways in which it was opened.
    if (!random().one_in(4)) {
      share = open.ways[random().below(open.ways.size())];
      for (const Share& way : open.ways)
        if (random().one_in(4)) share.access |= way.access, share.deny |= way.deny;
    }
    std::vector<Share> kept;
    for (const Share& way : open.ways)
      if ((way.access & ~share.access) == 0 && (way.deny & ~share.deny) == 0) kept.push_back(way);
    const Share rest = all_of(kept);
    const bool possible = rest.access == share.access && rest.deny == share.deny;
    const std::vector<size_t> before = open.holds;
    size_t hold = 0;
    if (possible) {
      hold = held_.ask({{worker.number, open.owner}, open.file->name, open.file, share});
      held_.granted(hold);
      for (const size_t old : before) held_.releasing(old);
    }
    worker.slot->begin().putfh(open.file->handle).open_downgrade(open.stateid, share);
    Reply& reply = co_await worker.slot->ask();
    Stateid stateid;
    const bool done = reply.putfh() && reply.open_downgrade(stateid);
    if (!possible && reply.error() == NfsStatus::NFS4ERR_INVAL) co_return;
    if (!possible || !done)
      co_return fail("downgrade to access {} deny {}: {}", share.access, share.deny,
                     bench::status_name(reply.error()));
    next_stateid(open, stateid, "OPEN_DOWNGRADE");
    world_.trace("{}: it was more", held_[hold].what.words());
    for (const size_t old : before) held_.released(old);
    open.holds = {hold};
    open.ways = kept;
  }

  Task<> close(Worker& worker, size_t which) {
    const Open open = worker.opens[which];
    worker.opens.erase(worker.opens.begin() + static_cast<std::ptrdiff_t>(which));
    for (const size_t hold : open.holds) held_.releasing(hold);
    const OpenFile file{open.file->handle, open.stateid};
    co_await close_file(*worker.slot, file);
    world_.trace("closed: {}", held_[open.holds.back()].what.words());
    for (const size_t hold : open.holds) held_.released(hold);
  }

  // ---- what is open

  Task<> use(Worker& worker, size_t which) {
    Open& open = worker.opens[which];
    const uint32_t access = open.share().access;
    const bool write = (access & bench::share_access_read) == 0 || random().one_in(2);
    File& file = *open.file;
    Call& call = worker.slot->begin().putfh(file.handle);
    if (write)
      std::memcpy(call.write(open.stateid, 0, bench::StableHow::FILE_SYNC4, 8).data(), &file.id, 8);
    else
      call.read(open.stateid, 0, 8);
    Reply& reply = co_await worker.slot->ask();
    const bool had_content = file.written < worker.slot->asked_at();
    uint32_t length = 0;
    bench::StableHow level{};
    Verifier verifier;
    Bytes data;
    bool eof = false;
    const bool done = reply.putfh() && (write ? reply.write(length, level, verifier) : reply.read(data, eof));
    const bool may = !write || (access & bench::share_access_write) != 0;
    if (reply.error() != (may ? ok : NfsStatus::NFS4ERR_OPENMODE))
      co_return fail("{} of file {} under access {}: {}", write ? "WRITE" : "READ", file.id, access,
                     bench::status_name(reply.error()));
    if (write && done) file.written = std::min(file.written, world_.moment());
    if (write) co_return;
    const bool right =
        data.empty() ? !had_content : data.size() == 8 && std::memcmp(data.data(), &file.id, 8) == 0;
    if (!right) fail("{} bytes of file {}, or wrong ones", data.size(), file.id);
  }

  Task<> probe(Slot& slot, File& file) {
    if (file.id == 0) co_return;
    const auto held = [&](auto how) {
      return std::ranges::any_of(held_.all(), [&](const auto& hold) {
        return (hold.what.file == nullptr ? hold.what.name == file.name : hold.what.file == &file) &&
               how(hold);
      });
    };
    slot.begin().putfh(file.handle).getattr(attr::FILEID);
    const uint64_t asked = world_.moment();
    Reply& reply = co_await slot.ask();
    Attributes attributes;
    const bool there = reply.putfh() && reply.getattr(attributes);
    world_.trace("file {} is {}", file.id, there ? "there" : "not there");
    if (there && attributes.fileid != file.id) co_return fail("file {} is {}", file.id, attributes.fileid);
    if (!there && reply.error() != NfsStatus::NFS4ERR_STALE)
      co_return fail("file {}: {}", file.id, bench::status_name(reply.error()));
    const bool may_be_there =
        file.gone > asked || held([&](const auto& h) { return h.asked < never && h.released > asked; });
    const bool must_be_there =
        file.leaving == never || held([&](const auto& h) {
          return h.what.file == &file && h.granted != 0 && h.granted < asked && h.surely();
        });
    if (there && file.stale < asked) co_return fail("file {} was stale, and is there again", file.id);
    if (!there) file.stale = std::min(file.stale, world_.moment());
    if (there ? !may_be_there : must_be_there)
      fail("file {}, {}, is {}", file.id, file.gone == never ? "not removed" : "removed",
           there ? "there" : "stale");
  }

  std::vector<Client*> clients_;
  std::deque<Worker> workers_;
  FileHandle root_;
  std::vector<File*> current_;  // of each name, nullptr: none
  std::deque<File> files_;
  Held<OpenHold> held_;
  uint64_t operations_ = 0;
};

}  // namespace

std::unique_ptr<Workload> make_shares(World& world) {
  return std::make_unique<SharesWorkload>(world);
}

}  // namespace perdure::sim
