#include "log/log_file.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "log/testing/log_fixture.h"

namespace perdure::log {
namespace {

class LogFileTest : public LogFixture {
 protected:
  void create_and_open(uint64_t capacity) {
    capacity_ = capacity;
    ASSERT_TRUE(create(capacity + area_begin));
    ASSERT_TRUE(open());
  }
  // Reads the disk as it is now, beside the ring that is open.
  Result<Lsn> look(Lsn from = Lsn(0)) {
    seen_.clear();
    const ByteVector disk = env_.content(path);
    return look(disk, from, [&disk](uint64_t offset, MutableBytes into) -> Result<void> {
      std::ranges::copy(Bytes(disk).subspan(offset, into.size()), into.begin());
      return {};
    });
  }
  Result<Lsn> look(const ByteVector& disk, Lsn from, const ReadAt& read_at) {
    return read_log(read_at, disk.size(), path, from, [this](Bytes record, Lsn lsn) -> Result<void> {
      seen_.push_back({lsn, ByteVector(record.begin(), record.end())});
      return {};
    });
  }
  ReadRecords seen_;
};

TEST_F(LogFileTest, ReadsARunningServersLog) {
  create_and_open(64 << 10);
  EXPECT_EQ(look(), Lsn(0));
  EXPECT_TRUE(seen_.empty());
  ReadRecords all;
  for (int i = 0; i < 5; ++i) all.push_back(append_batch(2, static_cast<char>('a' + i)));
  EXPECT_EQ(look(), ring_->position());
  EXPECT_EQ(seen_, all);
  EXPECT_EQ(look(all[3].lsn), ring_->position());
  EXPECT_EQ(seen_, ReadRecords(all.begin() + 3, all.end()));
}

TEST_F(LogFileTest, FindsTheOldestBatchThatTheRingStillHolds) {
  create_and_open(64 << 10);
  std::deque<ReadRecord> all;
  for (int i = 0; i < 100; ++i) {
    if (ring_->room() < 3 * sector_bytes) ring_->trim(ring_->position());
    all.push_back(append_batch(1 + static_cast<size_t>(i) % 3, static_cast<char>(i)));
    ASSERT_EQ(look(), ring_->position());
    // Everything that has not been overwritten, whether trimmed or not.
    while (all.front().lsn.value - batch_header_bytes + capacity_ < ring_->position().value) all.pop_front();
    ASSERT_EQ(seen_, ReadRecords(all.begin(), all.end())) << "batch " << i;
  }
}

TEST_F(LogFileTest, EndsBeforeALostBatchWhateverLiesBehind) {
  create_and_open(64 << 10);
  ReadRecords all{append_batch(1, 'a')};
  for (const size_t kept : {0U, 1U, 2U}) {
    env_.hold_io(true);
    const Lsn begin = ring_->position();
    for (size_t i = 0; i < 4; ++i) {
      const ReadRecord record = append(sector_bytes - batch_header_bytes, 'x');
      if (i < kept) all.push_back(record);
      commit_->flush();
    }
    const uint64_t lost = offset_of(begin) + kept * sector_bytes;
    crash([&](const std::string&, uint64_t at) { return at == lost ? SectorFate::drop : SectorFate::keep; });
    env_.hold_io(false);
    EXPECT_EQ(look(), begin + Lsn(kept * sector_bytes));
    EXPECT_EQ(seen_, all);
    ASSERT_TRUE(open());
    all.push_back(append_batch(1, 'b'));
    EXPECT_EQ(look(), ring_->position());
    EXPECT_EQ(seen_, all);
  }
}

TEST_F(LogFileTest, GoesOnOverStartsAndEndsBeforeATornBatch) {
  create_and_open(64 << 10);
  ReadRecords all{append_batch(1, 'a')};
  const Lsn end = ring_->position();
  crash(SectorFate::drop);
  ASSERT_TRUE(open(end));  // reads nothing
  all.push_back(append_batch(1, 'b'));
  append(3 * sector_bytes - batch_header_bytes, 't');
  const Lsn torn = ring_->position();
  commit_->flush();
  crash([&](const std::string&, uint64_t at) {
    return at == offset_of(torn) + sector_bytes ? SectorFate::drop : SectorFate::keep;
  });
  EXPECT_EQ(look(), torn);
  EXPECT_EQ(seen_, all);
  ASSERT_TRUE(open());
  all.push_back(append_batch(1, 'c'));
  EXPECT_EQ(look(), ring_->position());
  EXPECT_EQ(seen_, all);
}

TEST_F(LogFileTest, ADeadTailBehindTheEndIsNotListed) {
  create_and_open(64 << 10);
  ReadRecords all{append_batch(1, 'a')};
  const ByteVector fork = env_.content(path);
  append_batch(1, 'b');
  append_batch(1, 'c');
  append_batch(1, 'd');
  const ByteVector first = env_.content(path);
  crash(SectorFate::drop);
  env_.overwrite(path, 0, fork);
  ASSERT_TRUE(open());
  all.push_back(append_batch(1, 'B'));
  const uint64_t c_at = offset_of(Lsn(2 * sector_bytes));
  env_.overwrite(path, c_at, Bytes(first).subspan(c_at, 2 * sector_bytes));
  EXPECT_EQ(look(), Lsn(2 * sector_bytes));
  EXPECT_EQ(seen_, all);
}

TEST_F(LogFileTest, ACopyOfABatchInsideARecordIsNotListed) {
  create_and_open(64 << 10);
  append_batch(2, 'a');
  append_batch(1, 'b');
  const ByteVector disk = env_.content(path);
  for (int i = 0; i < 13; ++i) append_batch(1, 'x');
  ring_->trim(Lsn(16 * sector_bytes));
  // One lap later, a record that holds the second batch's bytes exactly where that was.
  const Bytes old = Bytes(disk).subspan(area_begin + 2 * sector_bytes, sector_bytes);
  ByteVector row(2 * sector_bytes - batch_header_bytes - record_overhead);
  row.insert(row.end(), old.begin(), old.end());
  const ReadRecord record = append(row);
  env_.run_until_idle();
  EXPECT_EQ(look(), ring_->position());
  ASSERT_EQ(seen_.size(), 14U);
  EXPECT_EQ(seen_.back(), record);
  EXPECT_EQ(seen_.front().lsn, Lsn(3 * sector_bytes + batch_header_bytes));
}

TEST_F(LogFileTest, DamageInTheMiddleIsNamed) {
  create_and_open(64 << 10);
  append_batch(1, 'a');
  append_batch(2, 'b');
  append_batch(1, 'c');
  flip(offset_of(Lsn(2 * sector_bytes)));
  const Result<Lsn> end = look();
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().kind, ErrorKind::corrupt);
  EXPECT_NE(end.error().message.find("LSN 4096 "), std::string::npos) << end.error().message;
  EXPECT_EQ(seen_.size(), 1U);
  env_.overwrite(path, 0, ByteVector(area_begin));
  EXPECT_EQ(look().error().kind, ErrorKind::corrupt);
}

TEST_F(LogFileTest, BatchesThatAreOverwrittenMeanwhileAreLeftOut) {
  create_and_open(64 << 10);
  for (int i = 0; i < 16; ++i) append_batch(1, static_cast<char>('a' + i));
  ByteVector disk = env_.content(path);
  ring_->trim(Lsn(16 * sector_bytes));
  append_batch(3, 'n');
  const ByteVector later = env_.content(path);
  int reads = 0;
  // Two superblocks, the scan in one chunk, the newest batch: then the server goes on.
  EXPECT_EQ(look(disk, Lsn(0),
                 [&](uint64_t offset, MutableBytes into) -> Result<void> {
                   const ByteVector& now = ++reads <= 4 ? disk : later;
                   std::ranges::copy(Bytes(now).subspan(offset, into.size()), into.begin());
                   return {};
                 }),
            Lsn(16 * sector_bytes));
  // The sectors behind the new batch's first still look like old batches... and belong to it.
  ASSERT_EQ(seen_.size(), 13U);
  EXPECT_EQ(seen_.front().lsn, Lsn(3 * sector_bytes + batch_header_bytes));
}

TEST_F(LogFileTest, ReadsARealFile) {
  create_and_open(64 << 10);
  const ReadRecords all{append_batch(2, 'a'), append_batch(1, 'b')};
  const ByteVector disk = env_.content(path);
  const std::string file = testing::TempDir() + "/perdure_log_file_test." + std::to_string(::getpid());
  std::ofstream(file, std::ios::binary)
      .write(reinterpret_cast<const char*>(disk.data()), static_cast<std::streamsize>(disk.size()));
  const Result<Lsn> end = read_log_file(file, Lsn(0), [this](Bytes record, Lsn lsn) -> Result<void> {
    seen_.push_back({lsn, ByteVector(record.begin(), record.end())});
    return {};
  });
  std::filesystem::remove(file);
  ASSERT_TRUE(end) << end.error().message;
  EXPECT_EQ(*end, ring_->position());
  EXPECT_EQ(seen_, all);
  EXPECT_EQ(read_log_file(file, Lsn(0), {}).error().kind, ErrorKind::not_found);
}

}  // namespace
}  // namespace perdure::log
