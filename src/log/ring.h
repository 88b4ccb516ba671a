// The log ring: a file or device in which the state machine log's batches lie one behind the other, round and
// round. Its layout, and what makes a batch valid, is docs/formats/ring.md.
//
// Promises:
//  - A batch is durable when its write is done. No sector of the log is written twice in one lap.
//  - open() finds the last start number and makes the new one (plus one) durable before it returns.
//  - Reading ends cleanly at a torn batch, at a broken CRC chain, or at a decrease of the start number. A
//  batch that
//    is damaged before the durable point is an error that names its LSN.
//  - A failed write is never retried: the ring is poisoned, every later write fails with `stopped`.
// One thread: the loop of its Env.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/ids.h"
#include "env/env.h"
#include "log/record.h"

namespace perdure::log {

inline constexpr uint64_t batch_header_bytes = 64;
inline constexpr uint64_t sector_bytes = 4096;  // batches start and end on multiples
// What a batch with this many bytes of records takes in the ring. So a record of n bytes takes at most
// batch_bytes(n).
constexpr uint64_t batch_bytes(uint64_t payload_bytes) {
  return (batch_header_bytes + payload_bytes + sector_bytes - 1) / sector_bytes * sector_bytes;
}
// A batch takes no more records once it has batch_bytes_full (less in a small ring); its last one may be the
// largest.
inline constexpr uint64_t batch_bytes_full = 1U << 20U;
inline constexpr uint64_t batch_bytes_max = batch_bytes(batch_bytes_full + record_bytes_max);
// Of batches that are being written at the same time; one alone may be as large as it is.
inline constexpr uint64_t in_flight_bytes_max = batch_bytes_max;
inline constexpr uint64_t ring_bytes_min = 16U << 20U;  // for a vserver; tests use smaller ones
inline constexpr uint64_t capacity_max = uint64_t{1} << 48U;

struct RingState;

class LogRing {
 public:
  // Creates a ring in a file of `bytes` (a multiple of sector_bytes), zero-filled; on a device `bytes` is
  // ignored. The first batch is at LSN 0. Fails with `invalid` where a ring is already.
  static void create(env::Env& env, std::string path, uint64_t bytes, env::Done<void> done);
  // Opens and locks the ring, and takes the next start number.
  static void open(env::Env& env, std::string path, env::Done<std::unique_ptr<LogRing>> done);
  ~LogRing();
  // Of an opened ring that has not been read: from now on it is empty, whatever was in it, and it may be read
  // from any LSN. Takes further start numbers.
  void reset(env::Done<void> done);

  StartNumber start_number() const;
  uint64_t capacity() const;  // bytes of batches that fit

  // Hands every record from `from` on to `each`, in order. `from` is where a batch starts, or the log's end;
  // `since` is the start number of the process that found it so. Records before `applied` are skipped. The
  // batches' checksums are checked, the records' own are not. Reads ahead while `each` works. Completes with
  // the position at which the next batch will be written; fails with `corrupt` if a batch is damaged before
  // the durable point, if the log ends before `applied`, or if `since` is not before this start. Must be
  // called once, before the first write. The ring must live until it is done.
  //
  // `wanted`, if given, is asked for each batch: the log ends at the first one that is not wanted, as if the
  // disk had never got it (a pair's blade that comes back: mirror/). What lies there is a dead tail as soon
  // as something else has been written; until then the next start may read it again.
  struct BatchInfo {
    Lsn start, end;
    Epoch epoch;
  };
  using Wanted = std::function<bool(const BatchInfo&)>;
  using EachRecord = std::function<Result<void>(Bytes record, Lsn lsn)>;
  void read(Lsn from, Lsn applied, StartNumber since, EachRecord each, env::Done<Lsn> done,
            Wanted wanted = nullptr);
  // The epoch of the last batch in the ring that was read or written; 0 if there is none.
  Epoch last_epoch() const;

  // Reads again the batch at `lsn`, which is on stable storage. not_found if it has been overwritten. The
  // payload is valid until the end of `done`. The ring must live until then.
  struct ReadBatch {
    BatchInfo info;
    Bytes payload;
  };
  void read_batch(Lsn lsn, env::Done<ReadBatch> done);

  // Writes one batch at position(), which moves behind it, as one durable write (two where it wraps). `batch`
  // is batch_bytes(payload_bytes) long, at most room(), and its address a multiple of sector_bytes; it starts
  // with batch_header_bytes that this call fills in, as it does the padding, and lives until done. Several
  // may be under way, of together at most in_flight_bytes_max; they are done in their order, whatever the
  // order in which the disk writes them. Done gives the position behind the batch, before which all is
  // durable.
  void write(MutableBytes batch, uint32_t payload_bytes, Epoch epoch, env::Done<Lsn> done);
  Lsn position() const;
  uint64_t in_flight() const;  // bytes of the batches under way
  // Bytes that can be written before the tail must move.
  uint64_t room() const;
  // Everything before `tail` (a batch's start) is no longer needed.
  void trim(Lsn tail);
  // What is behind `lsn` is kept, whatever is trimmed, until this is called again. None: nothing.
  void hold(std::optional<Lsn> lsn);
  Lsn tail() const;
  Lsn trimmed() const;  // where the tail is when nothing is held

 private:
  explicit LogRing(std::unique_ptr<RingState> state);
  std::unique_ptr<RingState> state_;
};

// Reads the log of a stopped or running server without locking or changing it (`perdure log`): calls `each`
// for every record still in the ring, oldest first, and returns the end. Blocks.
Result<Lsn> read_log_file(const std::string& path, Lsn from, const LogRing::EachRecord& each);

}  // namespace perdure::log
