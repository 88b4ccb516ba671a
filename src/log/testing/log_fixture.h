// What the log's tests share: a ring on a TestEnv's disk, with group commit, that can crash and be opened
// again.
#pragma once

#include <gtest/gtest.h>

#include "env/testing/test_env.h"
#include "log/group_commit.h"
#include "log/record.h"
#include "log/ring.h"
#include "log/ring_format.h"

namespace perdure::log {

struct ReadRecord {
  Lsn lsn;
  ByteVector bytes;
  friend bool operator==(const ReadRecord&, const ReadRecord&) = default;
};
using ReadRecords = std::vector<ReadRecord>;

class LogFixture : public testing::Test {
 protected:
  explicit LogFixture(uint64_t seed = 1) : env_(seed) {}

  Result<void> create(uint64_t bytes) {
    std::optional<Result<void>> result;
    LogRing::create(env_, path, bytes, [&](Result<void> r) { result = std::move(r); });
    env_.run_until_idle();
    return std::move(result).value();
  }

  // Opens the ring without reading it.
  Result<void> open_only() {
    std::optional<Result<void>> result;
    LogRing::open(env_, path, [&](Result<std::unique_ptr<LogRing>> r) {
      if (r) {
        ring_ = std::move(*r);
        result.emplace();
      } else {
        result = std::move(r).error();
      }
    });
    env_.run_until_idle();
    return std::move(result).value();
  }

  // Opens the ring, reads it into read_, and connects group commit. The position is the log's end.
  Result<Lsn> open(Lsn from = Lsn(0), Lsn applied = Lsn(0), StartNumber since = StartNumber(0)) {
    read_.clear();
    TRY(open_only());
    std::optional<Result<Lsn>> result;
    ring_->read(
        from, applied, since,
        [this](Bytes record, Lsn lsn) -> Result<void> {
          read_.push_back({lsn, ByteVector(record.begin(), record.end())});
          return {};
        },
        [&](Result<Lsn> r) { result = std::move(r); });
    env_.run_until_idle();
    if (result.value()) {
      commit_ =
          std::make_unique<GroupCommit>(env_, ring_.get(), Epoch(1), [this](const Error&) { ++failures_; });
      env_.at_turn_end([this] { commit_->flush(); });
    }
    return std::move(result).value();
  }

  void close() {
    env_.run_until_idle();
    crash(SectorFate::drop);  // of nothing: it removes the turn-end hook
  }
  void crash(env::SectorFate fate) {
    crash([fate](const std::string&, uint64_t) { return fate; });
  }
  void crash(const env::TestEnv::Fate& fate) {
    env_.crash(fate);
    commit_.reset();
    ring_.reset();
  }

  // A record whose only row has this content, for next_lsn(). It belongs to the fixture until the next call.
  Bytes record_of(Bytes row) {
    builder_.begin(TransactionId(++transactions_), 0, 0);
    builder_.begin_step({});
    builder_.put(1, {}, row);
    return builder_.finish(commit_->next_lsn(), commit_->epoch());
  }
  static constexpr size_t record_overhead = 56 + 32 + 8;

  ReadRecord append(Bytes row) {
    const Bytes record = record_of(row);
    const Lsn lsn = commit_->append(record);
    return {lsn, ByteVector(record.begin(), record.end())};
  }
  // A record of exactly this many bytes.
  ReadRecord append(size_t bytes, char fill) {
    CHECK(bytes >= record_overhead);
    return append(ByteVector(bytes - record_overhead, static_cast<std::byte>(fill)));
  }
  // A batch of its own, durable.
  ReadRecord append_batch(size_t sectors, char fill) {
    ReadRecord record = append(sectors * sector_bytes - batch_header_bytes, fill);
    env_.run_until_idle();
    return record;
  }

  uint64_t offset_of(Lsn lsn) const { return area_begin + lsn.value % capacity_; }
  void flip(uint64_t offset) {
    const std::byte b = env_.content(path)[offset] ^ std::byte{1};
    env_.overwrite(path, offset, {&b, 1});
  }

  using SectorFate = env::SectorFate;
  static constexpr const char* path = "log";
  env::TestEnv env_;
  std::unique_ptr<LogRing> ring_;
  std::unique_ptr<GroupCommit> commit_;
  RecordBuilder builder_;
  ReadRecords read_;
  uint64_t transactions_ = 0;
  uint64_t capacity_ = 0;
  int failures_ = 0;
};

}  // namespace perdure::log
