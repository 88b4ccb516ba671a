#include "sim/file_history.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/check.h"
#include "sim/world.h"

namespace perdure::sim {

namespace {

constexpr unsigned place_bits = 12;

// A word of the change `number` at `offset`: never zero.
uint32_t word_of(uint32_t number, uint64_t offset) {
  const auto place =
      static_cast<uint32_t>(offset / FileHistory::word_bytes) * 0x9e3779b1U >> (32 - place_bits);
  return number << place_bits | place;
}

}  // namespace

// Number 0 is the empty file.
FileHistory::FileHistory() {
  changes_.push_back({.end = endless, .answered = 0, .truncation = true, .stable = true});
  intervals_[0].entries.push_back({0, true});
}

// ------------------------------------------------------------------------------------------------ changes

FileHistory::Intervals::iterator FileHistory::split(uint64_t at) {
  auto it = std::prev(intervals_.upper_bound(at));
  return it->first == at ? it : intervals_.emplace(at, it->second).first;
}

template <class F>
void FileHistory::each(uint64_t begin, uint64_t end, F&& f) {
  if (begin >= end) return;
  auto it = split(begin);
  if (end < endless) split(end);
  for (; it != intervals_.end() && it->first < end; ++it) f(it->second);
}

uint32_t FileHistory::asked(Change change) {
  const auto number = static_cast<uint32_t>(changes_.size());
  CHECK(number < 1U << (32 - place_bits));
  each(change.begin, change.end, [&](Interval& i) { i.entries.push_back({number, false}); });
  changes_.push_back(std::move(change));
  return number;
}

uint32_t FileHistory::write_asked(uint64_t moment, uint64_t life, uint64_t offset, uint64_t length,
                                  bool unstable) {
  CHECK(offset % word_bytes == 0 && length % word_bytes == 0);
  return asked({.begin = offset,
                .end = offset + length,
                .asked = moment,
                .asked_life = life,
                .asked_unstable = unstable});
}

void FileHistory::fill(uint32_t number, MutableBytes data) const {
  const uint64_t offset = changes_[number].begin;
  for (size_t i = 0; i < data.size(); i += word_bytes) {
    const uint32_t word = word_of(number, offset + i);
    std::memcpy(data.data() + i, &word, word_bytes);
  }
}

void FileHistory::write_answered(uint32_t number, uint64_t moment, uint64_t life, bool stable,
                                 const bench::Verifier& verifier) {
  Change& c = changes_[number];
  c.answered = moment;
  c.life = c.asked_life == life ? life : 0;
  c.stable = stable;
  c.verifier = verifier;
}

uint32_t FileHistory::truncate_asked(uint64_t moment, uint64_t size) {
  CHECK(size % word_bytes == 0);
  return asked({.begin = size, .end = endless, .asked = moment, .truncation = true});
}

void FileHistory::truncate_answered(uint32_t number, uint64_t moment) {
  changes_[number].answered = moment;
  changes_[number].stable = true;
}

void FileHistory::failed(uint32_t number, uint64_t moment, uint64_t life) {
  Change& c = changes_[number];
  c.answered = moment;
  c.failed = true;
  if (c.asked_life != life) return;
  c.undone = true;
  each(c.begin, c.end,
       [&](Interval& i) { std::erase_if(i.entries, [&](const Entry& e) { return e.change == number; }); });
}

void FileHistory::commit_answered(uint64_t asked, uint64_t offset, uint64_t length,
                                  const bench::Verifier& verifier) {
  const auto tells_of = [&](const Change& c) {
    return c.answered < asked && !c.failed && c.verifier == verifier;
  };
  const uint64_t end = length == 0 ? endless : offset + length;
  each(offset, end, [&](Interval& i) {
    for (Entry& e : i.entries) e.stable |= tells_of(changes_[e.change]);
  });
  for (Change& c : changes_)
    if (c.begin >= offset && c.end <= end && tells_of(c)) c.stable = true;
}

// ------------------------------------------------------------------------------------------------- reads

uint64_t FileHistory::latest(const Change& change, uint64_t life) const {
  const bool seen = change.seen_life == life && life != 0;
  if (!seen || (change.asked_unstable && change.asked_life != life)) return change.answered;
  return std::min(change.answered, change.seen);
}

bool FileHistory::sure(const Entry& entry, const Asked& read) const {
  const Change& c = changes_[entry.change];
  return c.answered < read.asked && (entry.stable || c.stable || (c.life != 0 && c.life == read.life));
}

bool FileHistory::possible(const Interval& interval, const Entry& entry, const Asked& read) const {
  const Change& c = changes_[entry.change];
  if (c.asked > read.answered) return false;
  const uint64_t effective = latest(c, read.life);
  for (const Entry& other : interval.entries)
    if (other.change != entry.change && effective < changes_[other.change].asked && sure(other, read))
      return false;
  const uint32_t number = c.truncation ? 0 : entry.change;
  for (const Seen& seen : interval.seen)
    if (seen.read.life == read.life && seen.read.answered < read.asked && seen.number != number &&
        effective < seen.read.asked)
      return false;
  return true;
}

std::string FileHistory::words(const Change& c) const {
  return fmt::format("{} ({} [{}, {}) asked {} answered {} life {}{})", &c - changes_.data(),
                     c.truncation ? "zeros" : "write", c.begin, c.end, c.asked, c.answered, c.life,
                     c.stable ? ", stable" : "");
}

// The latest of an interval.
std::string FileHistory::words(const Interval& interval) const {
  constexpr size_t most = 10;
  std::string all;
  for (size_t i = interval.entries.size() - std::min(interval.entries.size(), most);
       i < interval.entries.size(); ++i)
    all += fmt::format("; {}{}", words(changes_[interval.entries[i].change]),
                       interval.entries[i].stable ? " committed" : "");
  for (size_t i = interval.seen.size() - std::min(interval.seen.size(), most); i < interval.seen.size(); ++i)
    all += fmt::format("; seen {} by {} to {}, life {}", interval.seen[i].number, interval.seen[i].read.asked,
                       interval.seen[i].read.answered, interval.seen[i].read.life);
  return all;
}

// The words of [begin, end) were those of the change `number`.
std::string FileHistory::judge_run(const Asked& read, uint64_t begin, uint64_t end, uint32_t number) {
  auto it = split(begin);
  if (end < endless) split(end);
  for (; it != intervals_.end() && it->first < end; ++it) {
    Interval& interval = it->second;
    bool explained = false;
    for (const Entry& entry : interval.entries) {
      const Change& c = changes_[entry.change];
      if ((c.truncation ? 0 : entry.change) != number) continue;
      explained |= possible(interval, entry, read);
    }
    if (!explained)
      return fmt::format("a read (asked {}, answered {}, life {}) sees change {} at [{}, {}){}", read.asked,
                         read.answered, read.life, number, it->first, end, words(interval));
    if (!interval.seen.empty() && interval.seen.back().read.life != read.life) interval.seen.clear();
    interval.seen.push_back({number, read});
  }
  Change& c = changes_[number];
  if (number != 0 && (c.seen_life != read.life || read.answered < c.seen)) {
    c.seen_life = read.life;
    c.seen = read.answered;
  }
  return {};
}

std::string FileHistory::judge_read(const Asked& read, uint64_t offset, uint64_t length, Bytes data,
                                    bool eof) {
  if (data.size() > length) return "a read of more than was asked for";
  if (data.size() % word_bytes != 0) return "a read ends within a word";
  uint64_t run_begin = offset;
  uint32_t run = 0;
  for (size_t i = 0; i < data.size(); i += word_bytes) {
    uint32_t word = 0;
    std::memcpy(&word, data.data() + i, word_bytes);
    const uint32_t number = word >> place_bits;
    if (word != 0 &&
        (number >= changes_.size() || changes_[number].truncation || word != word_of(number, offset + i)))
      return fmt::format("a read sees {:08x} at {}, which nobody wrote there", word, offset + i);
    if (i != 0 && number == run) continue;
    if (i != 0)
      if (std::string wrong = judge_run(read, run_begin, offset + i, run); !wrong.empty()) return wrong;
    run_begin = offset + i;
    run = number;
  }
  if (!data.empty())
    if (std::string wrong = judge_run(read, run_begin, offset + data.size(), run); !wrong.empty())
      return wrong;
  // Behind the end of the file nothing has taken effect.
  if (data.size() == length || !eof) return {};
  return judge_run(read, offset + data.size(), offset + length, 0);
}

// --------------------------------------------------------------------------------------- size and space

// A write makes the file at least so large, a truncation exactly.
std::string FileHistory::judge_size(const Asked& getattr, uint64_t size) const {
  const auto size_of = [](const Change& c) { return c.truncation ? c.begin : c.end; };
  uint64_t least = 0, most = UINT64_MAX;
  bool known = false;
  for (const Change& c : changes_) {
    if (c.undone || c.asked > getattr.answered) continue;
    known |= size_of(c) == size;
    if (!sure({static_cast<uint32_t>(&c - changes_.data()), false}, getattr)) continue;
    uint64_t low = size_of(c), high = c.truncation ? c.begin : UINT64_MAX;
    for (const Change& later : changes_) {
      if (&later == &c || later.undone || later.asked > getattr.answered || later.answered < c.asked)
        continue;
      if (later.truncation) low = std::min(low, later.begin);
      if (high != UINT64_MAX) high = std::max(high, size_of(later));
    }
    least = std::max(least, low);
    most = std::min(most, high);
  }
  if (known && size >= least && size <= most) return {};
  return fmt::format("a size of {} (asked {}, answered {}, life {}), but it lies in [{}, {}]{}", size,
                     getattr.asked, getattr.answered, getattr.life, least, most,
                     known ? "" : " and no change leads to it");
}

std::string FileHistory::judge_space(uint64_t used, bool quiet) const {
  std::set<uint64_t> touched, full;
  for (auto it = intervals_.begin(); it != intervals_.end(); ++it) {
    const bool written = std::ranges::any_of(it->second.entries,
                                             [&](const Entry& e) { return !changes_[e.change].truncation; });
    if (!written) continue;
    const bool holds = quiet && !it->second.seen.empty() && it->second.seen.back().number != 0;
    for (uint64_t b = it->first / block; b < (std::next(it)->first + block - 1) / block; ++b) {
      touched.insert(b);
      if (holds) full.insert(b);
    }
  }
  if (used % block == 0 && used <= touched.size() * block && used >= full.size() * block) return {};
  return fmt::format("{} bytes are used, where {} blocks were written and at least {} have content", used,
                     touched.size(), full.size());
}

std::vector<std::pair<uint64_t, uint64_t>> FileHistory::written() const {
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  for (auto it = intervals_.begin(); it != intervals_.end(); ++it) {
    const bool written = std::ranges::any_of(it->second.entries,
                                             [&](const Entry& e) { return !changes_[e.change].truncation; });
    if (!written) continue;
    const uint64_t end = std::next(it)->first;
    if (!ranges.empty() && ranges.back().second == it->first)
      ranges.back().second = end;
    else
      ranges.emplace_back(it->first, end);
  }
  return ranges;
}

}  // namespace perdure::sim
