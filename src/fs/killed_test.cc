// Transactions of many steps lose their power in the middle: at each I/O in turn, and at each step of the
// processor in turn. What was acknowledged is there, what takes effect as a whole is there as a whole or not
// at all, and what was begun goes on until every block is accounted for.
#include <gtest/gtest.h>

#include "fs/create.h"
#include "fs/lookup.h"
#include "fs/read.h"
#include "fs/rename.h"
#include "fs/testing/data_fixture.h"
#include "fs/truncate.h"

namespace perdure::fs {
namespace {

using testing::DataFixture;
using testing::DataFixtureOptions;
using testing::page;

const Principal root_user{.uid = 0, .gid = 0, .groups = {}};

// What block `n` holds in version `version`; all zeros in version 0.
ByteVector block_of(uint64_t n, unsigned version) {
  ByteVector bytes(page);
  if (version == 0) return bytes;
  for (uint64_t i = 0; i < page; ++i)
    bytes[i] = static_cast<std::byte>(1 + (i + 3 * n + 101 * version + i / 256) % 255);
  return bytes;
}

ByteVector blocks_of(uint64_t first, uint64_t count, unsigned version) {
  ByteVector bytes;
  for (uint64_t n = first; n < first + count; ++n) {
    const ByteVector block = block_of(n, version);
    bytes.insert(bytes.end(), block.begin(), block.end());
  }
  return bytes;
}

DataFixtureOptions small_steps() {
  DataFixtureOptions o;
  o.blocks = o.blocks_max = 1024;
  o.log_bytes = 4U << 20U;
  o.needs_io_percent = 50;
  o.data.record_bytes_max = 2 * page;
  o.data.record_blocks_max = 2;
  o.data.commit_blocks = 8;
  o.data.write_back_blocks = 8;
  o.data.rows_max = 4;
  o.data.margin_blocks = 16;
  return o;
}

// One thing that is interrupted.
class Scenario {
 public:
  explicit Scenario(DataFixtureOptions options = small_steps()) : f(options) {}
  virtual ~Scenario() = default;
  // Before.
  virtual void prepare() = 0;
  // Starts what will be interrupted.
  virtual void operate() = 0;
  // After restoration; `acknowledged`: the reply may have left.
  virtual void check(bool acknowledged) = 0;
  // The client sends its request again, as far as it makes sense.
  virtual void send_again() = 0;
  // In the end, with everything settled.
  virtual void check_end() = 0;

  bool acknowledged() { return ended_ && (release_ == Lsn(0) || f.log().durable() > release_); }

  DataFixture f;

 protected:
  template <class Registers, class Step>
  void spawn(Registers registers, Step step) {
    f.spawn(std::move(registers), std::move(step), [this](const auto& outcome, Lsn release) {
      EXPECT_TRUE(outcome);
      ended_ = true;
      release_ = release;
    });
  }
  // The version that block `n` of the file holds, of those that it may have.
  unsigned version(InodeId id, uint64_t n, std::initializer_list<unsigned> possible) {
    const ByteVector bytes = *f.read(id, n * page, page);
    for (const unsigned v : possible)
      if (bytes == block_of(n, v)) return v;
    ADD_FAILURE() << "block " << n << " has none of its possible contents";
    return UINT_MAX;
  }
  void expect_version(InodeId id, uint64_t first, uint64_t count, unsigned v) {
    EXPECT_TRUE(*f.read(id, first * page, count * page) == blocks_of(first, count, v))
        << count << " blocks from " << first << " on are not of version " << v;
  }
  // A file whose blocks are extents of their own.
  void fragment(InodeId id, uint64_t blocks, unsigned v) {
    for (const uint64_t odd : {0U, 1U}) {
      for (uint64_t n = odd; n < blocks; n += 2)
        ASSERT_TRUE(f.write(id, n * page, block_of(n, v), Stable::unstable));
      ASSERT_TRUE(f.commit(id));
    }
    f.settle();
    f.write_back();
  }

 private:
  bool ended_ = false;
  Lsn release_;
};

// Returns how many moments it has tried.
template <class S>
size_t interrupt_everywhere() {
  size_t moments = 0;
  for (const bool at_io : {true, false}) {
    bool through = false;
    for (size_t n = 0; !through && !::testing::Test::HasFailure(); ++n, ++moments) {
      SCOPED_TRACE(fmt::format("after {} {}", n, at_io ? "requests" : "steps"));
      S s;
      s.prepare();
      s.f.settle();
      s.operate();
      if (at_io) {
        s.f.env().stall_io_after(n);
        s.f.settle();
        through = s.f.env().io_under_way() == 0;
      } else {
        size_t steps = 0;
        while (steps < n && s.f.step()) ++steps;
        through = steps < n;
      }
      const bool acknowledged = s.acknowledged();
      EXPECT_TRUE(acknowledged || !through);
      s.f.crash();
      s.check(acknowledged);
      s.send_again();
      s.f.checkpoint();
      s.f.verify();
      s.check_end();
      s.f.crash();
      s.check_end();
      s.f.verify();
    }
  }
  return moments;
}

// ---------------------------------------------------------------------------------------------------------

// COMMIT of 64 pages, 8 at a time.
class CommitOfManyPages : public Scenario {
 public:
  static constexpr uint64_t blocks = 64;
  void prepare() override {
    id_ = f.new_file();
    fragment(id_, blocks, 1);
    f.evict();
  }
  void operate() override {
    ASSERT_TRUE(f.write(id_, 0, blocks_of(0, blocks + 8, 2), Stable::unstable));
    spawn(CommitRegisters{},
          [this](Run& run, CommitRegisters& r) { return fs::commit(f.fs(), run, id_, 0, 0, r); });
  }
  void check(bool acknowledged) override {
    const uint64_t size = f.load(id_).size;
    EXPECT_TRUE(size == blocks * page || size == (blocks + 8) * page) << size;
    for (uint64_t n = 0; n < size / page; ++n) {
      const unsigned v = n < blocks ? version(id_, n, {1, 2}) : version(id_, n, {0, 2});
      EXPECT_TRUE(v == 2 || !acknowledged);
    }
  }
  void send_again() override {  // because the verifier has changed
    ASSERT_TRUE(f.write(id_, 0, blocks_of(0, blocks + 8, 2), Stable::unstable));
    ASSERT_TRUE(f.commit(id_));
  }
  void check_end() override { expect_version(id_, 0, blocks + 8, 2); }

 private:
  InodeId id_;
};

TEST(Killed, CommitOfManyPages) {
  EXPECT_GT(interrupt_everywhere<CommitOfManyPages>(), 60U);
}

// A stable write of 40 whole blocks and two partial ones, over an old file with unstable data on it.
class BigStableWrite : public Scenario {
 public:
  static constexpr uint64_t blocks = 64, offset = 7 * page + 100, length = 41 * page;
  void prepare() override {
    id_ = f.new_file();
    fragment(id_, blocks, 1);
    f.evict();
  }
  void operate() override {
    ASSERT_TRUE(f.write(id_, 20 * page, blocks_of(20, 3, 3), Stable::unstable));
    spawn(WriteRegisters{}, [this](Run& run, WriteRegisters& r) {
      return fs::write(f.fs(), run, root_user, id_, offset, Bytes(bytes_), Stable::file_sync, r);
    });
  }
  void check(bool acknowledged) override {
    const ByteVector found = *f.read(id_, 0, (blocks + 1) * page);
    const bool is_new = found == new_content();
    EXPECT_TRUE(is_new || (!acknowledged && found == blocks_of(0, blocks, 1)));
  }
  void send_again() override { ASSERT_TRUE(f.write(id_, offset, bytes_, Stable::file_sync)); }
  void check_end() override {
    EXPECT_TRUE(*f.read(id_, 0, (blocks + 1) * page) == new_content());
    EXPECT_EQ(f.load(id_).blocks, blocks);
  }

 private:
  ByteVector new_content() const {
    ByteVector all = blocks_of(0, blocks, 1);
    std::copy(bytes_.begin(), bytes_.end(), all.begin() + offset);
    return all;
  }
  InodeId id_;
  const ByteVector bytes_ = blocks_of(500, length / page, 2);
};

TEST(Killed, BigStableWrite) {
  EXPECT_GT(interrupt_everywhere<BigStableWrite>(), 15U);
}

// Truncation of a file of 96 extents, 4 of which are freed at a time; and its reclaim.
class TruncationOfAFragmentedFile : public Scenario {
 public:
  static constexpr uint64_t blocks = 96, kept = 9;
  static constexpr uint64_t new_size = kept * page + 1000;
  void prepare() override {
    id_ = f.new_file();
    fragment(id_, blocks, 1);
    ASSERT_TRUE(f.write(id_, 50 * page, blocks_of(50, 2, 1), Stable::file_sync));  // page rows
    f.checkpoint();
    f.evict();
  }
  void operate() override {
    ASSERT_TRUE(f.write(id_, 60 * page, blocks_of(60, 3, 1), Stable::unstable));
    spawn(0, [this](Run& run, int&) { return truncate_in(run); });
  }
  void check(bool acknowledged) override {
    const uint64_t size = f.load(id_).size;
    EXPECT_TRUE(size == new_size || (!acknowledged && size == blocks * page)) << size;
    expect_version(id_, 0, kept, 1);
    if (size != new_size) expect_version(id_, 0, blocks, 1);
    const ByteVector tail = block_of(kept, 1);
    EXPECT_EQ(*f.read(id_, kept * page, 1000), ByteVector(tail.begin(), tail.begin() + 1000));
  }
  void send_again() override {
    ASSERT_TRUE(f.truncate(id_, new_size));
    // While the reclaim goes on it grows again, over what is cut off.
    ASSERT_TRUE(f.truncate(id_, blocks * page));
    expect_zeros();
    ASSERT_TRUE(f.write(id_, 70 * page, block_of(70, 5), Stable::file_sync));
    ASSERT_TRUE(f.write(id_, 72 * page, block_of(72, 5), Stable::unstable));
    ASSERT_TRUE(f.commit(id_));
  }
  void check_end() override {
    EXPECT_EQ(f.load(id_).size, blocks * page);
    EXPECT_EQ(f.load(id_).blocks, kept + 1 + 2);
    expect_version(id_, 0, kept, 1);
    expect_version(id_, 70, 1, 5);
    expect_version(id_, 71, 1, 0);
    expect_version(id_, 72, 1, 5);
    expect_version(id_, 73, blocks - 73, 0);
  }

 private:
  Outcome<int> truncate_in(Run& run) {
    InodeRow inode = TRY(f.fs().load(run, id_));
    TRY(fs::truncate(f.fs(), run, id_, inode, new_size));
    f.fs().touch_content(run, inode);
    f.fs().store(run, id_, inode);
    return 0;
  }
  void expect_zeros() {
    EXPECT_EQ(*f.read(id_, new_size, blocks * page), ByteVector(blocks * page - new_size));
  }
  InodeId id_;
};

TEST(Killed, TruncationOfAFragmentedFile) {
  EXPECT_GT(interrupt_everywhere<TruncationOfAFragmentedFile>(), 60U);
}

// RENAME over a file of 96 extents.
class RenameOverAFragmentedFile : public Scenario {
 public:
  static constexpr uint64_t blocks = 96;
  void prepare() override {
    root_ = f.fs().volumes.peek({VolumeId(1)})->root;
    free_ = f.data().allocator.free_blocks();
    big_ = make("big");
    small_ = make("small");
    fragment(big_, blocks, 1);
    ASSERT_TRUE(f.write(big_, 50 * page, blocks_of(50, 2, 1), Stable::file_sync));
    ASSERT_TRUE(f.write(small_, 0, block_of(0, 2), Stable::file_sync));
    f.checkpoint();
    f.evict();
  }
  void operate() override {
    spawn(0, [this](Run& run, int&) { return rename(f.fs(), run, root_user, root_, "small", root_, "big"); });
  }
  void check(bool acknowledged) override {
    const bool done = look_up("big") == small_;
    EXPECT_TRUE(done || !acknowledged);
    EXPECT_EQ(look_up("small"), done ? std::nullopt : std::optional(small_));
    expect_version(small_, 0, 1, 2);
    if (!done) expect_version(big_, 0, blocks, 1);
    const auto big = f.run([&](Run& run) { return f.fs().load(run, big_); });
    EXPECT_EQ(big.has_value(), !done);
  }
  void send_again() override {
    if (look_up("small")) {
      ASSERT_TRUE(
          f.run([this](Run& run) { return rename(f.fs(), run, root_user, root_, "small", root_, "big"); }));
    }
    f.write_back();
    f.checkpoint();
  }
  void check_end() override {
    EXPECT_EQ(look_up("big"), small_);
    EXPECT_EQ(look_up("small"), std::nullopt);
    expect_version(small_, 0, 1, 2);
    EXPECT_FALSE(f.run([&](Run& run) -> Outcome<int> {
      const InodeRow* row = TRY(f.fs().inodes.get(run, {big_}));
      return row == nullptr ? Outcome<int>(Status::stale) : 0;
    }));
    EXPECT_EQ(f.data().allocator.free_blocks(), free_ - 1);
  }

 private:
  InodeId make(std::string_view name) {
    const InodeId id =
        f.run([&](Run& run) { return create(f.fs(), run, root_user, root_, name, {}); })->inode;
    f.files.insert(id);
    return id;
  }
  std::optional<InodeId> look_up(std::string_view name) {
    const auto found = f.run([&](Run& run) { return lookup(f.fs(), run, root_user, root_, name); });
    return found ? std::optional(found->inode) : std::nullopt;
  }
  InodeId root_, big_, small_;
  uint64_t free_ = 0;
};

TEST(Killed, RenameOverAFragmentedFile) {
  EXPECT_GT(interrupt_everywhere<RenameOverAFragmentedFile>(), 100U);
}

// A checkpoint with its write-back, of page rows and dirty pages of three files; then overwriting in a store
// so small that the blocks that it frees are used at once.
class CheckpointAndReuse : public Scenario {
 public:
  static DataFixtureOptions options() {
    DataFixtureOptions o = small_steps();
    o.blocks = o.blocks_max = 128;
    return o;
  }
  CheckpointAndReuse() : Scenario(options()) {}
  static constexpr uint64_t blocks = 24;
  void prepare() override {
    for (InodeId& id : ids_) {
      id = f.new_file();
      fragment(id, blocks, 1);
    }
    for (const InodeId id : ids_)
      for (uint64_t n = 0; n < blocks; n += 2)
        ASSERT_TRUE(f.write(id, n * page, block_of(n, 2), n % 4 == 0 ? Stable::unstable : Stable::file_sync));
  }
  void operate() override {
    f.start_write_back(WriteBackScope::everything);
    f.start_checkpoint();
    spawn(WriteRegisters{}, [this](Run& run, WriteRegisters& r) {
      return fs::write(f.fs(), run, root_user, ids_[0], 0, Bytes(bytes_), Stable::file_sync, r);
    });
  }
  void check(bool acknowledged) override {
    const unsigned first = version(ids_[0], 0, {1, 2, 3});
    EXPECT_TRUE(first == 3 || !acknowledged);
    if (first == 3) {
      expect_version(ids_[0], 0, blocks, 3);
    } else {
      check_old(ids_[0]);
    }
    check_old(ids_[1]);
    check_old(ids_[2]);
  }
  void send_again() override {
    for (const unsigned v : {3U, 4U, 5U, 6U})
      for (const InodeId id : ids_) ASSERT_TRUE(f.write(id, 0, blocks_of(0, blocks, v), Stable::file_sync));
  }
  void check_end() override {
    for (const InodeId id : ids_) expect_version(id, 0, blocks, 6);
  }

 private:
  void check_old(InodeId id) {
    for (uint64_t n = 0; n < blocks; ++n)
      if (n % 4 == 0)
        version(id, n, {1, 2});
      else
        expect_version(id, n, 1, n % 2 == 0 ? 2 : 1);
  }
  std::array<InodeId, 3> ids_;
  const ByteVector bytes_ = blocks_of(0, blocks, 3);
};

TEST(Killed, CheckpointAndReuse) {
  EXPECT_GT(interrupt_everywhere<CheckpointAndReuse>(), 50U);
}

}  // namespace
}  // namespace perdure::fs
