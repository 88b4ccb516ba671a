// Env: the only door to the world. log, store's block side, state, fs, client, processor and nfs4 get the
// time, random numbers, timers and disks from here and from nowhere else, so that perdure-sim can run them
// from a seed.
//
// One Env per vserver thread (the "loop"). Everything in it is called on that thread, except where stated.
// Callbacks run on it too, one after another, never inside the call that asked for them.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "base/bytes.h"
#include "base/result.h"

namespace perdure::env {

using Duration = std::chrono::nanoseconds;

// Monotonic: for leases, timers and ages. Its zero means nothing.
struct MonotonicClock {
  using duration = Duration;
  using rep = duration::rep;
  using period = duration::period;
  static constexpr bool is_steady = true;
};
using Instant = std::chrono::time_point<MonotonicClock>;

// Nanoseconds since 1970-01-01 UTC: for file times. May jump.
struct WallClock {
  using duration = Duration;
  using rep = duration::rep;
  using period = duration::period;
  static constexpr bool is_steady = false;
};
using WallTime = std::chrono::time_point<WallClock>;

using Task = std::move_only_function<void()>;

// The end of an asynchronous call: called from the loop, exactly once, never inline.
template <class T>
using Done = std::move_only_function<void(Result<T>)>;

enum class TimerId : uint64_t {};

// One open file or block device. Offsets, lengths and memory of reads and writes are multiples of 4096
// (O_DIRECT). Several requests may be under way; they complete in any order. The buffers stay the caller's
// and must live until `done`. Destroying a File with requests under way is a bug.
class File {
 public:
  enum class Write : uint8_t {
    cached,   // in the device's cache at best: durable after a flush() that was called after its completion
    durable,  // on stable storage when done (O_DSYNC)
  };

  virtual ~File() = default;
  virtual void read(uint64_t offset, std::span<const MutableBytes> into, Done<void> done) = 0;
  virtual void write(uint64_t offset, std::span<const Bytes> from, Write mode, Done<void> done) = 0;
  // All writes that completed before this call are on stable storage. After a failure what was written since
  // the last good flush may be lost, and a later success does not change that.
  virtual void flush(Done<void> done) = 0;
  // Bytes. Fixed for a device.
  virtual uint64_t size() const = 0;
  // How the new part of a file comes to be. Both read as zeros.
  enum class Fill : uint8_t {
    reserved,  // space is taken; the first write of a place changes metadata, which its flush then has to
               // wait for
    zeroed,  // written with zeros, so that later writes change no metadata: for durable writes of low latency
  };
  // Makes the file `size` bytes long, on stable storage. Fails with no_space, leaving the old size.
  // Unsupported on a device.
  virtual void grow(uint64_t size, Fill fill, Done<void> done) = 0;
  // What grow() could still take from the file system beneath. 0 for a device.
  virtual uint64_t free_bytes() const { return UINT64_MAX - size(); }
  // The content of this range is no longer needed (reads give anything). Best effort.
  virtual void discard(uint64_t offset, uint64_t length) = 0;
};

class Env {
 public:
  virtual ~Env() = default;

  virtual Instant now() = 0;
  virtual WallTime wall_time() = 0;
  virtual uint64_t random() = 0;

  // Runs `task` later on the loop. May be called from any thread.
  virtual void post(Task task) = 0;
  virtual TimerId after(Duration delay, Task task) = 0;
  // The task of a timer that has not fired yet is dropped, without running.
  virtual void cancel(TimerId timer) = 0;
  // `task` runs at the end of every turn of the loop, after the turn's callbacks and before its I/O is
  // submitted: here work that many requests of one turn share is done once (a log batch, a gathering send).
  // In order of registration. For the life of the Env.
  virtual void at_turn_end(Task task) = 0;
  // Runs `work` on the low-priority thread, then `done` on the loop. In order of the calls.
  virtual void offload(Task work, Task done) = 0;

  // Opens (with `create`: creates) the file or block device at `path` for direct I/O and locks it against
  // every other process (flock on the very descriptor that writes). Fails with not_found or busy. Blocks: for
  // start-up only.
  virtual Result<std::unique_ptr<File>> open(const std::string& path, bool create) = 0;
};

}  // namespace perdure::env
