// A KvStore in memory with the crash semantics of the real one: for tests and for the simulator.
//
// MemoryKvImage is the medium. It outlives the store (and, in the simulator, the blade): a store that is
// opened on it finds what the last one left. Calls that were executed but not yet durable are a queue of
// parts, as in a write-ahead log: crash() keeps a random prefix of it; without crash() (the process died, the
// machine did not) all of it is there.
//
// Not injected: rows that are not those that were written. The real store has checksums of its own, and says
// so (store/rocksdb_kv_store.cc).
//
// Adverse on purpose: reads overtake each other and the applies, a read sees the rows of some moment between
// its call and its completion, and a part that fails may be in the image all the same. Destroying the store
// drops its calls under way: their `done` never runs. Thread: the loop of its Env. What happens depends on
// Env::random() alone.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "store/kv_store.h"

namespace perdure::store::testing {

struct BytesLess {
  using is_transparent = void;
  bool operator()(Bytes a, Bytes b) const {
    return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end());
  }
};
using KvMap = std::map<ByteVector, ByteVector, BytesLess>;

class MemoryKvImage {
 public:
  // The machine lost its power: keeps the first random % (n + 1) of the n parts that are not durable. No
  // store may be open on the image.
  void crash(uint64_t random);

  const KvMap& durable_rows() const { return durable_; }
  // What a store that is opened on it now says.
  Applied applied() const;
  size_t volatile_parts() const { return parts_.size(); }

 private:
  friend class MemoryKvStore;
  struct Part {
    std::vector<Change> changes;
    std::optional<Applied> applied;
  };
  static void redo(const Part& part, KvMap& rows, Applied& applied);
  void make_durable(size_t parts);

  KvMap durable_;
  Applied durable_applied_{};
  std::deque<Part> parts_;  // executed, in order, not yet durable
  bool open_ = false;
};

struct MemoryKvOptions {
  // How often try_get says needs_io: 0 never, 100 always (then every row faults).
  unsigned needs_io_percent = 0;
  // Each half of a call (until its effect, until its completion) takes a random time up to this; 0: one turn
  // of the loop.
  env::Duration delay_max{0};
  // Asked for each read (get, scan) and each part of an apply: whether it fails, and (of
  // a part) how. Null: none does.
  std::function<std::optional<ErrorKind>()> fails{};
};

class MemoryKvStore final : public KvStore {
 public:
  MemoryKvStore(env::Env& env, std::shared_ptr<MemoryKvImage> image, const MemoryKvOptions& options = {});
  ~MemoryKvStore() override;
  MemoryKvStore(const MemoryKvStore&) = delete;
  MemoryKvStore& operator=(const MemoryKvStore&) = delete;

  // Lets `calls` more get and scan calls succeed, then one fail with `kind`.
  void fail_read_after(uint64_t calls, ErrorKind kind = ErrorKind::io);
  // Lets `calls` more parts succeed, then one fail with `kind`; that poisons the store.
  void fail_apply_after(uint64_t calls, ErrorKind kind = ErrorKind::io);
  bool poisoned() const { return poisoned_; }

  Hit try_get(Bytes key, ByteVector& value) override;
  void get(ByteVector key, env::Done<std::optional<ByteVector>> done) override;
  void scan(ByteVector from, ByteVector last, size_t rows_max, env::Done<KeyValues> done) override;
  Result<KeyValues> scan_now(const ByteVector& from, const ByteVector& last, size_t rows_max) override;
  void apply(std::vector<Change> sorted, std::optional<Applied> applied, env::Done<void> done) override;
  Applied applied() const override { return applied_; }
  Figures figures() override;

 private:
  struct Failure {
    uint64_t calls = 0;
    ErrorKind kind{};
  };
  struct ApplyCall {
    MemoryKvImage::Part part;
    env::Done<void> done;
  };

  void later(env::Task task);
  // Reads with `work` at one random moment and completes with its result at a later one.
  template <class T, class Work>
  void read(Work work, env::Done<T> done);
  void execute_apply();
  void finish_apply(Result<void> result);
  // The error of an injected failure whose turn it is.
  static Error injected_error(ErrorKind kind);
  static std::optional<Error> due(std::optional<Failure>& failure);

  env::Env& env_;
  const std::shared_ptr<MemoryKvImage> image_;
  const MemoryKvOptions options_;
  KvMap rows_;  // as they are visible now
  Applied applied_;
  std::deque<ApplyCall> applies_;  // in the order of the calls; the first is under way
  std::optional<Failure> read_failure_, apply_failure_;
  bool poisoned_ = false;
  // Tasks on the loop hold a weak reference: after the destructor they do nothing.
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>();
};

}  // namespace perdure::store::testing
