// Larger files with overlapping writes. Some files belong to one slot, others are written by several slots of
// several clients in the same blocks at once: unaligned writes of 4 bytes to some 200 KiB, unstable and
// stable, COMMIT of the file and of parts of it, truncations, holes, places far behind each other.
//
// Judged (file_history.h, which also says what of it is exact): each word that is read, every size and the
// space used. What was lost must not have been stable; what was stable is never lost, and what was written
// unstably only if the write verifier tells so.
#include "sim/judged_file.h"
#include "sim/workload.h"

namespace perdure::sim {
namespace {

using bench::StableHow;
using Range = JudgedFile::Range;

class FilesWorkload final : public Workload {
 public:
  explicit FilesWorkload(World& world) : Workload(world, "files") {}

  Task<> setup() override {
    const uint64_t clients = random().between(1, 3), files = random().between(1, 4);
    clients_ = co_await start_clients(clients, 1, 3);
    if (world_.failed()) co_return;
    slots_ = slots_of(clients_);
    Slot& slot = clients_[0]->slot(0);
    const std::string name = "files", owner = "owner";
    const FileHandle root = co_await make_directory(slot, clients_[0]->root(), name);
    for (uint64_t i = 0; i < files; ++i) {
      const std::string file = fmt::format("file {}", i);
      const OpenFile created = co_await create_file(slot, root, file, owner);
      if (world_.failed()) co_return;
      File& f = files_.emplace_back(world_, file, created.handle);
      f.slot = random().one_in(3) ? slots_[random().below(slots_.size())] : nullptr;
      f.span = random().pick({9'000U, 40'000U, 300'000U});
      f.places = {0, uint64_t{5} << 30U, (uint64_t{1} << 40U) - 10'000, 1'000'000};
      f.places.resize(random().between(1, f.places.size()));
      f.stateids.push_back(created.stateid);
      for (uint64_t c = 1; c < clients; ++c) {
        const OpenFile opened = co_await open_file(clients_[c]->slot(0), root, file, owner);
        f.stateids.push_back(opened.stateid);
      }
    }
  }

  void start() override {
    operations_ = random().between(20, 150);
    for (Slot* slot : slots_) spawn(work(*slot));
  }

  Task<> check() override {
    for (File& file : files_) {
      co_await file.file.check(*slots_[0]);
      if (world_.failed()) co_return;
    }
  }

 private:
  struct File {
    File(World& world, const std::string& name, const FileHandle& handle) : file(world, name, handle, true) {}
    JudgedFile file;
    Slot* slot = nullptr;  // the only one that writes it, if any
    uint64_t span = 0;     // of each of the places where it is written
    std::vector<uint64_t> places;
    std::vector<Stateid> stateids;  // of each client
  };

  Task<> work(Slot& slot) {
    while (operations_ > 0 && !world_.failed()) {
      --operations_;
      co_await step(slot, files_[random().below(files_.size())]);
      if (random().one_in(8))
        co_await slot.client().sleep(random().exponential(std::chrono::milliseconds(50)));
    }
  }

  uint64_t words(uint64_t bytes_max) { return 4 * random().between(1, bytes_max / 4); }
  uint64_t place(const File& file) {
    const uint64_t within =
        random().one_in(3) ? random().below(file.span / 4096 + 1) * 4096 : words(file.span) - 4;
    return file.places[random().below(file.places.size())] + within;
  }
  Range range(const File& file) {
    switch (random().below(8)) {
      case 0:
      case 1:
        return {place(file), static_cast<uint32_t>(random().between(1, 16)) * 4096};
      case 2:
      case 3:
        return {place(file), static_cast<uint32_t>(words(70'000))};
      case 4:
        return {place(file), static_cast<uint32_t>(words(200'000))};
      default:
        return {place(file), static_cast<uint32_t>(words(6'000))};
    }
  }
  StableHow level() {
    return random().pick({StableHow::UNSTABLE4, StableHow::UNSTABLE4, StableHow::UNSTABLE4,
                          StableHow::DATA_SYNC4, StableHow::FILE_SYNC4});
  }

  Task<> step(Slot& slot, File& file) {
    Stateid stateid;  // the anonymous one, or of the client's open
    for (size_t c = 0; c < clients_.size(); ++c)
      if (clients_[c] == &slot.client() && random().one_in(2)) stateid = file.stateids[c];
    const bool writer = file.slot == nullptr || file.slot == &slot;
    const uint64_t what = writer ? random().below(20) : random().between(14, 19);
    const Range where = range(file);
    if (what < 9) {
      co_await file.file.write(slot, stateid, where, level());
    } else if (what < 11) {
      const uint64_t size = random().one_in(3) ? 0 : place(file);
      co_await file.file.truncate(slot, stateid, size);
    } else if (what < 14) {
      const Range all;
      co_await file.file.commit(slot, random().one_in(2) ? all : where);
    } else if (what < 18) {
      co_await file.file.read(slot, stateid, where);
    } else {
      co_await file.file.look(slot);
    }
    if (!writer) co_return;
    const std::vector<Range> lost = file.file.take_lost();
    for (const Range& again : lost)
      if (!world_.failed()) co_await file.file.write(slot, stateid, again, level());
  }

  std::vector<Client*> clients_;
  std::vector<Slot*> slots_;
  std::deque<File> files_;
  uint64_t operations_ = 0;
};

}  // namespace

std::unique_ptr<Workload> make_files(World& world) {
  return std::make_unique<FilesWorkload>(world);
}

}  // namespace perdure::sim
