// Random operations on the content of a few files, many under way at a time, interleaved step by step with
// write-back, checkpoints, reclaims and crashes, against FileModel.
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

#include "fs/read.h"
#include "fs/testing/data_fixture.h"
#include "fs/testing/file_model.h"
#include "fs/truncate.h"

namespace perdure::fs {
namespace {

using testing::DataFixture;
using testing::DataFixtureOptions;
using testing::FileModel;

struct World {
  uint64_t seed;
  unsigned needs_io_percent;
  DataFixtureOptions options() const {
    DataFixtureOptions o;
    o.seed = seed;
    o.needs_io_percent = needs_io_percent;
    o.blocks = o.blocks_max = 1500;
    o.log_bytes = 16U << 20U;
    o.data.memory_bytes = 64 * block_bytes;
    o.data.dirty_bytes_low = 32 * block_bytes;
    o.data.dirty_bytes_max = 64 * block_bytes;
    o.data.page_row_bytes_low = 48 * block_bytes;
    o.data.page_row_bytes_max = 96 * block_bytes;
    o.data.record_bytes_max = 2 * block_bytes;
    o.data.record_blocks_max = 2;
    o.data.commit_blocks = 5;
    o.data.write_back_blocks = 8;
    o.data.rows_max = 4;
    o.data.margin_blocks = 16;
    o.data.read_ahead_bytes_max = 16 * block_bytes;
    return o;
  }
};

class ContentModel {
 public:
  explicit ContentModel(const World& world) : f_(world.options()), random_(world.seed) {
    f_.env().set_io_shuffled(true);
    for (size_t i = 0; i < files_.size(); ++i) make(i);
  }

  void operate() {
    const uint64_t what = draw(1000);
    const size_t file = draw(files_.size());
    if (what < 300)
      write(file);
    else if (what < 500)
      read(file);
    else if (what < 600)
      truncate(file);
    else if (what < 680)
      commit(file);
    else if (what < 710)
      write_back();
    else if (what < 725)
      checkpoint();
    else if (what < 740)
      drop(file);
    else if (what < 750)
      settle_and_verify(draw(2) == 0);
    else if (what < 760)
      crash();
    else if (what < 800)
      f_.data().trim_memory(f_.oldest_fault());
    while (in_flight_ > 8 || draw(4) != 0)
      if (!f_.step()) break;
    acknowledge();
  }

  void settle_and_verify(bool evict) {
    f_.settle();
    ASSERT_EQ(in_flight_, 0U);
    acknowledge();
    f_.verify();
    if (evict) f_.evict();
    for (size_t i = 0; i < files_.size(); ++i) read_all(i, false);
  }

  void crash() {
    acknowledge();
    f_.crash();
    ++epoch_;
    in_flight_ = 0;
    unacknowledged_.clear();
    for (size_t i = 0; i < files_.size(); ++i) read_all(i, true);
    f_.settle();
    f_.verify();
    ++crashes;
  }

  uint64_t crashes = 0, ended = 0;
  DataFixture& fixture() { return f_; }

 private:
  struct File {
    InodeId id;
    FileModel model;
    uint64_t base = 0;  // offsets are near it
    bool dropped = false, dropped_for_sure = false;
  };
  static constexpr uint64_t span_blocks = 48;

  uint64_t draw(uint64_t n) { return std::uniform_int_distribution<uint64_t>(0, n - 1)(random_); }
  uint64_t draw_offset(const File& file) {
    const uint64_t offset = file.base + draw(span_blocks * block_bytes);
    return draw(2) == 0 ? offset / block_bytes * block_bytes : offset;
  }
  ByteVector draw_bytes(uint64_t size) {
    ByteVector bytes(size);
    const uint64_t tag = random_();
    for (uint64_t i = 0; i < size; ++i)
      bytes[i] = static_cast<std::byte>((tag >> (i % 8 * 8)) + i / 512 * 37 + 1);
    return bytes;
  }

  void make(size_t i) {
    files_[i] = {};
    files_[i].id = f_.new_file();
    // The last file lives at the end of what can be.
    if (i + 1 == files_.size()) files_[i].base = (file_bytes_max / block_bytes - span_blocks) * block_bytes;
    const uint64_t sequence = ++sequence_;
    files_[i].model.truncate(sequence, 0);
    f_.settle();
    files_[i].model.all_stable(sequence);
  }

  // Calls `effect` in the end of the effective run, if it succeeded, and `stable` once the reply could leave.
  template <class Registers, class Step, class Effect>
  void spawn(size_t file, Registers registers, Step step, Effect effect) {
    ++in_flight_;
    const InodeId id = files_[file].id;
    f_.spawn(std::move(registers), std::move(step),
             [this, file, id, effect = std::move(effect), epoch = epoch_](auto outcome, Lsn release) mutable {
               ASSERT_EQ(epoch, epoch_);
               --in_flight_;
               ++ended;
               if (files_[file].id != id || files_[file].dropped) {
                 ASSERT_FALSE(outcome);
                 EXPECT_EQ(outcome.error().status(), Status::stale);
                 return;
               }
               ASSERT_TRUE(outcome) << name(outcome.error().status());
               const auto stable = effect(*outcome);
               unacknowledged_.emplace_back(id, release, stable);
             });
  }

  void acknowledge() {
    std::erase_if(unacknowledged_, [&](const auto& waiting) {
      const auto& [id, release, stable] = waiting;
      if (release != Lsn(0) && f_.log().durable() <= release) return false;
      for (File& file : files_)
        if (file.id == id) stable(file);
      return true;
    });
  }
  using WhenStable = std::function<void(File&)>;

  void write(size_t i) {
    const uint64_t offset = draw_offset(files_[i]);
    const uint64_t size = std::min(1 + draw(draw(3) == 0 ? 12 * block_bytes : 6000), file_bytes_max - offset);
    auto bytes = std::make_shared<ByteVector>(draw_bytes(size));
    const auto how = static_cast<Stable>(draw(3));
    spawn(
        i, WriteRegisters{},
        [this, id = files_[i].id, offset, bytes, how](state::Run& run, WriteRegisters& registers) {
          return fs::write(f_.fs(), run, Principal{.uid = 0, .gid = 0, .groups = {}}, id, offset,
                           Bytes(*bytes), how, registers);
        },
        [this, i, offset, bytes, how](const WriteResult& result) -> WhenStable {
          EXPECT_EQ(result.count, bytes->size());
          const uint64_t sequence = ++sequence_;
          files_[i].model.write(sequence, offset, *bytes);
          if (result.committed == Stable::unstable) {
            EXPECT_EQ(how, Stable::unstable);
            return [](File&) {};
          }
          return [sequence](File& file) { file.model.stable(sequence); };
        });
  }

  void read(size_t i) {
    const uint64_t offset = draw_offset(files_[i]);
    const uint64_t count = draw(16 * block_bytes);
    spawn(
        i, 0,
        [this, id = files_[i].id, offset, count](state::Run& run,
                                                 int&) -> Outcome<std::pair<ByteVector, bool>> {
          const InodeRow inode = TRY(f_.fs().load(run, id));
          const ReadResult result = TRY(fs::read(f_.fs(), run, id, inode, offset, count));
          return std::pair(flatten(result), result.eof);
        },
        [this, i, offset, count](const std::pair<ByteVector, bool>& result) -> WhenStable {
          EXPECT_TRUE(result.first == files_[i].model.read(offset, count));
          EXPECT_EQ(result.second, offset + result.first.size() >= files_[i].model.size());
          return [](File&) {};
        });
  }

  static ByteVector flatten(const ReadResult& result) {
    ByteVector bytes;
    for (const PageRef& page : result.pages)
      bytes.insert(bytes.end(), page.bytes().begin(), page.bytes().end());
    bytes.erase(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(result.first_offset));
    bytes.resize(result.length);
    return bytes;
  }

  void truncate(size_t i) {
    const uint64_t size = draw(8) == 0 ? 0 : draw_offset(files_[i]);
    spawn(
        i, 0,
        [this, id = files_[i].id, size](state::Run& run, int&) -> Outcome<uint64_t> {
          InodeRow inode = TRY(f_.fs().load(run, id));
          TRY(fs::truncate(f_.fs(), run, id, inode, size));
          f_.fs().touch_content(run, inode);
          f_.fs().store(run, id, inode);
          return size;
        },
        [this, i](uint64_t size_now) -> WhenStable {
          const uint64_t sequence = ++sequence_;
          files_[i].model.truncate(sequence, size_now);
          return [sequence](File& file) { file.model.stable(sequence); };
        });
  }

  void commit(size_t i) {
    const bool all = draw(2) == 0;
    const uint64_t offset = all ? 0 : draw_offset(files_[i]), count = all ? 0 : 1 + draw(8 * block_bytes);
    spawn(
        i, CommitRegisters{},
        [this, id = files_[i].id, offset, count](state::Run& run,
                                                 CommitRegisters& registers) -> Outcome<int> {
          TRY(fs::commit(f_.fs(), run, id, offset, count, registers));
          return 0;
        },
        [all, sequence = sequence_](int) -> WhenStable {
          return [all, sequence](File& file) {
            if (all) file.model.all_stable(sequence);
          };
        });
  }

  void write_back() { f_.start_write_back(static_cast<WriteBackScope>(draw(3))); }

  void checkpoint() {
    if (!f_.database().checkpoint_under_way()) f_.start_checkpoint();
  }

  void drop(size_t i) {
    spawn(
        i, 0,
        [this, id = files_[i].id](state::Run& run, int&) -> Outcome<int> {
          const InodeRow inode = TRY(f_.fs().load(run, id));
          TRY(fs::drop(f_.fs(), run, id, inode));
          return 0;
        },
        [this, i](int) -> WhenStable {
          files_[i].dropped = true;
          return [](File& file) { file.dropped_for_sure = true; };
        });
    settle_and_verify(false);
    if (files_[i].dropped) make(i);
  }

  // What the model says, or, after a crash, one of the things that it says could be; that is adopted then.
  void read_all(size_t i, bool crashed) {
    File& file = files_[i];
    const auto inode = f_.run([&](state::Run& run) { return f_.fs().load(run, file.id); });
    if (!inode) {
      ASSERT_TRUE(file.dropped);
      if (crashed) make(i);
      return;
    }
    ASSERT_FALSE(file.dropped_for_sure);
    file.dropped = false;
    if (!crashed) {
      ASSERT_EQ(inode->size, file.model.size());
      for (const uint64_t from : {uint64_t{0}, file.base})
        ASSERT_TRUE(*f_.read(file.id, from, (span_blocks + 16) * block_bytes) ==
                    file.model.read(from, (span_blocks + 16) * block_bytes));
      return;
    }
    ASSERT_TRUE(file.model.size_possible(inode->size)) << inode->size;
    std::map<uint64_t, ByteVector> blocks;
    std::set<uint64_t> numbers;
    for (const uint64_t from : {uint64_t{0}, file.base / block_bytes})
      for (uint64_t n = 0; n < span_blocks + 16; ++n) numbers.insert(from + n);
    for (const uint64_t n : numbers) {
      if (n * block_bytes >= inode->size) continue;
      blocks[n] = *f_.read(file.id, n * block_bytes, block_bytes);
      EXPECT_EQ(file.model.judge(n * block_bytes, blocks[n]), "") << "of file " << i;
    }
    file.model.adopt(inode->size, blocks);
  }

  DataFixture f_;
  std::mt19937_64 random_;
  std::array<File, 3> files_;
  uint64_t sequence_ = 0, epoch_ = 0;
  size_t in_flight_ = 0;
  std::vector<std::tuple<InodeId, Lsn, WhenStable>> unacknowledged_;
};

TEST(ContentModel, RandomOperationsAndCrashes) {
  const char* more = std::getenv("PERDURE_SEEDS");  // "from-to", to search for more
  uint64_t from = 1, to = 24;
  if (more != nullptr) {
    char* rest = nullptr;
    from = std::strtoull(more, &rest, 10);
    to = *rest == '-' ? std::strtoull(rest + 1, nullptr, 10) : from;
  }
  uint64_t crashes = 0, ended = 0, faults = 0, waits = 0;
  for (uint64_t seed = from; seed <= to; ++seed) {
    SCOPED_TRACE(fmt::format("PERDURE_SEEDS={}", seed));
    ContentModel model({seed, static_cast<unsigned>(seed % 4 * 30)});
    for (int i = 0; i < 400 && !HasFailure(); ++i) model.operate();
    if (!HasFailure()) model.settle_and_verify(true);
    if (!HasFailure()) model.crash();
    if (HasFailure()) return;
    crashes += model.crashes;
    ended += model.ended;
    faults += model.fixture().faults;
    waits += model.fixture().waits;
  }
  RecordProperty("crashes", static_cast<int>(crashes));
  // That the test tests what it means to.
  EXPECT_GT(crashes, to - from);
  EXPECT_GT(ended, 150 * (to - from));
  EXPECT_GT(faults, to - from);
  EXPECT_GT(waits, to - from);
}

}  // namespace
}  // namespace perdure::fs
