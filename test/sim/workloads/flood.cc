// More than the log has room for: many slots write small pieces stably, as fast as they can, on a machine
// whose log is a few hundred batches long, whose store is hardly larger than the files and whose checkpoints
// take their time. So the log is full again and again, requests wait for room in it, and blocks are used
// again as soon as they are free. Between the writes there are truncations, reads and unstable writes.
//
// Judged as in `files`; and that it goes on at all.
#include "sim/judged_file.h"
#include "sim/workload.h"

namespace perdure::sim {
namespace {

using bench::StableHow;
using Range = JudgedFile::Range;

constexpr uint64_t file_blocks = 40;

class FloodWorkload final : public Workload {
 public:
  explicit FloodWorkload(World& world) : Workload(world, "flood") {}

  Task<> setup() override {
    clients_ = co_await start_clients(random().between(1, 3), 4, 16);
    if (world_.failed()) co_return;
    slots_ = slots_of(clients_);
    Slot& slot = clients_[0]->slot(0);
    const std::string name = "flood", owner = "owner";
    const FileHandle root = co_await make_directory(slot, clients_[0]->root(), name);
    const uint64_t files = random().between(1, 5);
    for (uint64_t i = 0; i < files && !world_.failed(); ++i) {
      const std::string file = fmt::format("file {}", i);
      const OpenFile created = co_await create_file(slot, root, file, owner);
      files_.emplace_back(world_, file, created.handle, true);
    }
  }

  void start() override {
    operations_ = random().between(100, 800);
    for (Slot* slot : slots_) spawn(work(*slot));
  }

  Task<> check() override {
    for (JudgedFile& file : files_) {
      co_await file.check(*slots_[0]);
      if (world_.failed()) co_return;
    }
  }

 private:
  Task<> work(Slot& slot) {
    while (operations_ > 0 && !world_.failed()) {
      --operations_;
      co_await step(slot, files_[random().below(files_.size())]);
    }
  }

  Range range() {
    const uint64_t first = random().below(file_blocks);
    if (random().one_in(4))
      return {first * block + 4 * random().below(block / 4),
              4 * static_cast<uint32_t>(random().between(1, 1024))};
    return {first * block, static_cast<uint32_t>(random().between(1, 4)) * block};
  }

  Task<> step(Slot& slot, JudgedFile& file) {
    const Stateid anonymous;
    const uint64_t what = random().below(40);
    const Range where = range();
    if (what == 0) {
      co_await file.truncate(slot, anonymous, random().one_in(2) ? 0 : where.offset);
    } else if (what < 3) {
      co_await file.read(slot, anonymous, where);
    } else if (what < 5) {
      co_await file.write(slot, anonymous, where, StableHow::UNSTABLE4);
    } else if (what < 6) {
      co_await file.commit(slot, where);
    } else {
      co_await file.write(slot, anonymous, where, StableHow::FILE_SYNC4);
    }
    const std::vector<Range> lost = file.take_lost();
    for (const Range& again : lost)
      if (!world_.failed()) co_await file.write(slot, anonymous, again, StableHow::FILE_SYNC4);
  }

  std::vector<Client*> clients_;
  std::vector<Slot*> slots_;
  std::deque<JudgedFile> files_;
  uint64_t operations_ = 0;
};

}  // namespace

std::unique_ptr<Workload> make_flood(World& world) {
  return std::make_unique<FloodWorkload>(world);
}

void adjust_flood(Profile& profile) {
  profile.log_bytes = 1U << 20U;
  // 1024 blocks stay free (fs::DataOptions::margin_blocks).
  profile.blocks_bytes_max = 6U << 20U;
  profile.kv_delay_max = std::max<env::Duration>(profile.kv_delay_max, std::chrono::milliseconds(20));
}

}  // namespace perdure::sim
