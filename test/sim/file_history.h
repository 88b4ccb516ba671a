// FileHistory: what was done to one file and when, and whether what is read of it can be explained.
//
// Every WRITE has a number, and each of its words (4 bytes) tells the number and its own place; what was
// never written or was cut off is zero. So a read tells of each word which change it saw last. Changes are
// known from the moment they are asked for. A truncation writes zeros from the new size on, without end.
//
// Exact, for each word:
//   - a read sees a change that was asked for before the read was answered, and is not superseded: no *sure*
//     change was asked for after the one had taken effect, and was answered before the read was asked for;
//   - once a read has seen a change, no later read of the same life of the server sees one that had taken
//     effect before the first read began.
// A change takes effect before it is answered, and before a read of the same life that has seen it is. It is
// sure when it is stable: answered so, or a COMMIT of it was answered with its verifier. An unstable one is
// sure, too, for reads of the life in which it was both asked for and answered.
//
// An unstable write that has not been answered may be executed twice: once more after a crash, though
// write-back or another client's COMMIT has made it stable before. So what has been seen of it counts only in
// the life in which it was asked for, and when it fails the second time it may nevertheless be there.
//
// Approximate: an unstable write that was asked for in one life and answered in another, or before a clean
// restart, is taken for lost if need be, until COMMIT tells that it is not. Blocks and writes are not judged
// as a whole: two words of one write may have been lost and kept. Which of several truncations a zero comes
// from is not known. The size is exact while all is answered and sure, else within bounds.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "bench/nfs.h"

namespace perdure::sim {

class FileHistory {
 public:
  static constexpr uint64_t endless = UINT64_MAX / 2, word_bytes = 4;

  FileHistory();

  // Changes, by the number that they get. `moment`: of the world; all of them are different.
  uint32_t write_asked(uint64_t moment, uint64_t life, uint64_t offset, uint64_t length, bool unstable);
  void fill(uint32_t number, MutableBytes data) const;
  void write_answered(uint32_t number, uint64_t moment, uint64_t life, bool stable,
                      const bench::Verifier& verifier);
  uint32_t truncate_asked(uint64_t moment, uint64_t size);
  void truncate_answered(uint32_t number, uint64_t moment);
  // It failed, and has done nothing; unless it was asked for in an earlier life, which may have executed it.
  void failed(uint32_t number, uint64_t moment, uint64_t life);
  void commit_answered(uint64_t asked, uint64_t offset, uint64_t length, const bench::Verifier& verifier);

  struct Change {
    uint64_t begin = 0, end = 0;  // bytes
    uint64_t asked = 0, answered = UINT64_MAX;
    uint64_t asked_life = 0, life = 0;  // life: in which it was asked for and answered; 0: in none
    uint64_t seen_life = 0, seen = 0;   // a read of this life has seen it, and was answered then
    bool truncation = false, stable = false, failed = false, undone = false;
    bool asked_unstable = false;
    bench::Verifier verifier{};
  };
  const Change& change(uint32_t number) const { return changes_[number]; }
  // Answered, but not known to be stable.
  bool unstable(uint32_t number) const {
    const Change& c = changes_[number];
    return c.answered != UINT64_MAX && !c.stable && !c.failed;
  }

  // What is wrong with an answer, or nothing.
  struct Asked {
    uint64_t asked = 0, answered = 0, life = 0;
  };
  std::string judge_read(const Asked& read, uint64_t offset, uint64_t length, Bytes data, bool eof);
  std::string judge_size(const Asked& getattr, uint64_t size) const;
  // SPACE_USED. `quiet`: nothing is being done, and everything stable has been read just now.
  std::string judge_space(uint64_t used, bool quiet) const;

  // Where anything was ever written: begin and end, in order.
  std::vector<std::pair<uint64_t, uint64_t>> written() const;

 private:
  struct Entry {
    uint32_t change = 0;
    bool stable = false;
  };
  struct Seen {
    uint32_t number = 0;  // 0: zeros
    Asked read;
  };
  // Words with the same history.
  struct Interval {
    std::vector<Entry> entries;
    std::vector<Seen> seen;  // in the newest life that was seen
  };
  using Intervals = std::map<uint64_t, Interval>;  // by their first byte; they cover [0, endless)

  Intervals::iterator split(uint64_t at);
  template <class F>
  void each(uint64_t begin, uint64_t end, F&& f);
  uint32_t asked(Change change);
  uint64_t latest(const Change& change, uint64_t life) const;
  bool sure(const Entry& entry, const Asked& read) const;
  bool possible(const Interval& interval, const Entry& entry, const Asked& read) const;
  std::string judge_run(const Asked& read, uint64_t begin, uint64_t end, uint32_t number);
  std::string words(const Change& change) const;
  std::string words(const Interval& interval) const;

  std::vector<Change> changes_;
  Intervals intervals_;
};

}  // namespace perdure::sim
