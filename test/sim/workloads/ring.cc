// A rename ring: files (or directories) in one or two directories, which several slots rename all the time:
// to a free name, from one directory to the other, or two of them into each other's place through a third
// name. Each slot has files and names of its own, so it knows what must happen.
//
// Judged: no RENAME fails. No listing has a file twice, under a name that it could not have meanwhile, or
// misses one that was not being renamed; where there is one directory, one READDIR has every file, renamed or
// not. In the end all are there, under the names that follow from the renames, with their handles.
#include <map>

#include "sim/workload.h"

namespace perdure::sim {
namespace {

struct Place {
  size_t directory = 0;
  std::string name;
  bool operator==(const Place&) const = default;
};

// Where a file may be from the moment its rename was asked for until the next one was answered, and surely
// is from its answer until the next one was asked for.
struct Stay {
  Place place;
  uint64_t asked = 0, there = never, leaving = never, gone = never;
};

struct RingFile {
  uint64_t id = 0;
  FileHandle handle;
  std::vector<Stay> stays;
  const Place& place() const { return stays.back().place; }
};

class RingWorkload final : public Workload {
 public:
  explicit RingWorkload(World& world) : Workload(world, "ring") {}

  Task<> setup() override {
    const uint64_t count = random().between(1, 2);
    clients_ = co_await start_clients(count, 2, 4);
    if (world_.failed()) co_return;
    Slot& slot = clients_[0]->slot(0);
    const std::string name = "ring";
    const FileHandle root = co_await make_directory(slot, clients_[0]->root(), name);
    const uint64_t directories = random().between(1, 2);
    for (uint64_t i = 0; i < directories; ++i) {
      const std::string directory = fmt::format("directory {}", i);
      directories_.push_back(co_await make_directory(slot, root, directory));
    }
    make_directories_ = random().one_in(3);
    size_t owners = 0;
    for (Client* client : clients_) owners += client->slots() - 1;
    for (size_t owner = 0; owner < owners; ++owner) {
      const uint64_t files = random().between(1, 4);
      for (uint64_t i = 0; i < files && !world_.failed(); ++i) co_await make_file(slot, owner, i);
    }
  }

  void start() override {
    renames_ = random().between(20, 150);
    size_t owner = 0;
    for (Client* client : clients_) {
      for (size_t i = 1; i < client->slots(); ++i) spawn(rename_around(client->slot(i), owner++));
      spawn(look(client->slot(0)));
    }
  }

  Task<> check() override {
    Slot& slot = clients_[0]->slot(0);
    for (size_t i = 0; i < directories_.size() && !world_.failed(); ++i)
      co_await read_directory(slot, i, true);
    for (const auto& [id, file] : files_) {
      Attributes attributes;
      slot.begin()
          .putfh(directories_[file.place().directory])
          .lookup(file.place().name)
          .getattr(attr::FILEID);
      Reply& by_name = co_await slot.ask();
      if (!(by_name.putfh() && by_name.plain(Op::LOOKUP) && by_name.getattr(attributes)) ||
          attributes.fileid != id)
        co_return fail("{} is not file {}: {}", file.place().name, id, bench::status_name(by_name.error()));
      slot.begin().putfh(file.handle).getattr(attr::FILEID);
      Reply& by_handle = co_await slot.ask();
      if (!(by_handle.putfh() && by_handle.getattr(attributes)) || attributes.fileid != id)
        co_return fail("the handle of file {} is no more: {}", id, bench::status_name(by_handle.error()));
    }
  }

 private:
  Task<> make_file(Slot& slot, size_t owner, uint64_t number) {
    RingFile file;
    const Place place{random().below(directories_.size()), fmt::format("{} {}", owner, number)};
    if (make_directories_) {
      file.handle = co_await make_directory(slot, directories_[place.directory], place.name);
    } else {
      const std::string open_owner = "ring";
      const OpenFile made = co_await create_file(slot, directories_[place.directory], place.name, open_owner);
      co_await close_file(slot, made);
      file.handle = made.handle;
    }
    slot.begin().putfh(file.handle).getattr(attr::FILEID);
    Reply& reply = co_await slot.ask();
    Attributes attributes;
    if (!(reply.putfh() && reply.getattr(attributes))) co_return fail("getattr of {}", place.name);
    file.id = attributes.fileid;
    file.stays.push_back({.place = place, .asked = 0, .there = 0});
    if (!files_.emplace(file.id, file).second) fail("file id {} is given twice", file.id);
    owned_[owner].push_back(file.id);
  }

  // A name of the owner that none of its files has.
  Place free_place(size_t owner) {
    const std::vector<uint64_t>& own = owned_[owner];
    for (;;) {
      Place place{random().below(directories_.size()),
                  fmt::format("{} {}", owner, random().below(own.size() + 3))};
      if (std::ranges::none_of(own, [&](uint64_t id) { return files_.at(id).place() == place; }))
        return place;
    }
  }

  Task<> rename_around(Slot& slot, size_t owner) {
    const std::vector<uint64_t> own = owned_[owner];
    while (renames_ > 0 && !world_.failed()) {
      --renames_;
      RingFile& file = files_.at(own[random().below(own.size())]);
      RingFile& other = files_.at(own[random().below(own.size())]);
      const Place free = free_place(owner);
      if (&file != &other && random().one_in(3)) {
        const Place one = file.place(), two = other.place();
        co_await rename(slot, file, free);
        co_await rename(slot, other, one);
        co_await rename(slot, file, two);
      } else {
        co_await rename(slot, file, free);
      }
      if (random().one_in(8))
        co_await slot.client().sleep(random().exponential(std::chrono::milliseconds(20)));
    }
  }

  Task<> rename(Slot& slot, RingFile& file, Place to) {
    if (world_.failed()) co_return;
    const Place from = file.place();
    slot.begin()
        .putfh(directories_[from.directory])
        .savefh()
        .putfh(directories_[to.directory])
        .rename(from.name, to.name);
    const uint64_t asked = world_.moment();
    file.stays.back().leaving = asked;
    file.stays.push_back({.place = to, .asked = asked});
    Reply& reply = co_await slot.ask();
    bench::ChangeInfo source, target;
    if (!(reply.putfh() && reply.plain(Op::SAVEFH) && reply.putfh() && reply.rename(source, target)))
      co_return fail("rename {} to {}: {}", from.name, to.name, bench::status_name(reply.error()));
    const uint64_t answered = world_.moment();
    file.stays[file.stays.size() - 2].gone = answered;
    file.stays.back().there = answered;
    world_.trace("file {} is {} {} now", file.id, to.directory, to.name);
  }

  Task<> look(Slot& slot) {
    while (renames_ > 0 && !world_.failed()) {
      const size_t directory = random().below(directories_.size());
      const bool at_once = random().one_in(2);
      co_await read_directory(slot, directory, at_once);
      co_await slot.client().sleep(random().exponential(std::chrono::milliseconds(2)));
    }
  }

  Task<> read_directory(Slot& slot, size_t directory, bool at_once) {
    const uint64_t asked = world_.moment();
    const Names names = co_await list(slot, directories_[directory], at_once ? 32768 : 400);
    const uint64_t answered = world_.moment();
    if (world_.failed()) co_return;
    std::map<uint64_t, std::string> seen;
    for (const auto& [name, id] : names) {
      const auto it = files_.find(id);
      if (it == files_.end()) co_return fail("{} is an unknown file {}", name, id);
      const bool possible = std::ranges::any_of(it->second.stays, [&](const Stay& s) {
        return s.place == Place{directory, name} && s.asked < answered && s.gone > asked;
      });
      if (!possible) co_return fail("file {} cannot be {} in directory {}", id, name, directory);
      const auto [other, fresh] = seen.emplace(id, name);
      // Page by page it may be met again where it was renamed to meanwhile.
      if (!fresh && (at_once || surely_in(it->second, directory, asked, answered)))
        co_return fail("file {} is there twice: {}, {}", id, other->second, name);
    }
    for (const auto& [id, file] : files_) {
      const bool must = (at_once && directories_.size() == 1) || surely_in(file, directory, asked, answered);
      if (must && !seen.contains(id)) co_return fail("file {} is missing in directory {}", id, directory);
    }
  }
  static bool surely_in(const RingFile& file, size_t directory, uint64_t from, uint64_t to) {
    return std::ranges::any_of(file.stays, [&](const Stay& s) {
      return s.place.directory == directory && s.there < from && s.leaving > to;
    });
  }

  std::vector<Client*> clients_;
  std::vector<FileHandle> directories_;
  bool make_directories_ = false;
  uint64_t renames_ = 0;
  std::map<uint64_t, RingFile> files_;             // by file id
  std::map<size_t, std::vector<uint64_t>> owned_;  // by the number of their slot
};

}  // namespace

std::unique_ptr<Workload> make_ring(World& world) {
  return std::make_unique<RingWorkload>(world);
}

}  // namespace perdure::sim
