#include "client/lock_rows.h"

#include <algorithm>

#include "client/client_state.h"

namespace perdure::client {

namespace {

struct Chunk {
  uint64_t start = 0;
  std::vector<LockRange> ranges;
};

LockRow row_of(std::span<const LockRange> ranges) {
  CHECK(!ranges.empty() && ranges.size() <= LockRow::ranges_max);
  LockRow row;
  row.bounds.reserve(2 * ranges.size());
  for (size_t i = 0; i < ranges.size(); ++i) {
    row.bounds.push_back(ranges[i].first);
    row.bounds.push_back(ranges[i].last);
    row.write |= ranges[i].write ? uint32_t{1} << i : 0;
  }
  return row;
}

// The rows that can hold locks that overlap or touch `range`, in ascending order.
Outcome<std::vector<Chunk>> chunks_around(ClientState& cs, Run& run, StateKey key, ByteRange range) {
  std::vector<Chunk> chunks;
  const uint64_t top = range.last == UINT64_MAX ? UINT64_MAX : range.last + 1;
  LockRow::Key from{key.inode, key.number, ~top};
  const LockRow::Key last{key.inode, key.number, UINT64_MAX};
  for (auto found = TRY(cs.locks.first(run, from, last)); found;
       found = TRY(cs.locks.next(run, from, last))) {
    from = found.key;
    chunks.push_back({~found.key.not_start, ranges_of(*found.row)});
    if (chunks.back().ranges.front().first < range.first) break;
  }
  std::reverse(chunks.begin(), chunks.end());
  return chunks;
}

// `old` with `range` changed as set_range says. Finds where the new lock lands, for the split.
std::vector<LockRange> overlay(const std::vector<LockRange>& old, ByteRange range, std::optional<bool> write,
                               size_t& landed) {
  std::vector<LockRange> left, right;
  LockRange middle{range.first, range.last, write.value_or(false)};
  for (const LockRange& r : old) {
    const bool same = write && r.write == *write;
    const bool below = r.last<range.first, above = r.first> range.last;
    if (same && (!below || r.last + 1 == range.first) && (!above || range.last + 1 == r.first)) {
      middle.first = std::min(middle.first, r.first);
      middle.last = std::max(middle.last, r.last);
      continue;
    }
    if (r.first < range.first) left.push_back({r.first, std::min(r.last, range.first - 1), r.write});
    if (r.last > range.last) right.push_back({std::max(r.first, range.last + 1), r.last, r.write});
  }
  landed = left.size();
  if (write) left.push_back(middle);
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

// What the index must lose and gain. Both lists are in order.
std::vector<ClientState::LockChange> difference(const std::vector<LockRange>& old,
                                                const std::vector<LockRange>& now, uint32_t number) {
  std::vector<ClientState::LockChange> changes;
  const auto add = [&](const LockRange& r, bool added) {
    changes.push_back({{r.first, r.last, number}, r.write, added});
  };
  // All that differs is in one stretch.
  size_t head = 0, tail = 0;
  while (head < std::min(old.size(), now.size()) && old[head] == now[head]) ++head;
  while (tail < std::min(old.size(), now.size()) - head &&
         old[old.size() - 1 - tail] == now[now.size() - 1 - tail])
    ++tail;
  for (size_t i = head; i < old.size() - tail; ++i) add(old[i], false);
  for (size_t i = head; i < now.size() - tail; ++i) add(now[i], true);
  return changes;
}

// Divides the locks among rows. When one row overflows at its end, it stays full: who locks upwards or
// downwards leaves no half-empty rows behind.
std::vector<Chunk> divide(const std::vector<LockRange>& ranges, uint64_t start, size_t landed) {
  constexpr size_t max = LockRow::ranges_max;
  const size_t n = ranges.size(), pieces = (n + max - 1) / max;
  std::vector<Chunk> chunks(pieces);
  auto from = ranges.begin();
  for (size_t i = 0; i < pieces; ++i) {
    size_t take = n * (i + 1) / pieces - n * i / pieces;
    if (n == max + 1 && landed == max) take = i == 0 ? max : 1;
    if (n == max + 1 && landed == 0) take = i == 0 ? 1 : max;
    chunks[i].start = i == 0 ? start : from->first;
    chunks[i].ranges.assign(from, from + static_cast<ptrdiff_t>(take));
    from += static_cast<ptrdiff_t>(take);
  }
  return chunks;
}

}  // namespace

std::vector<LockRange> ranges_of(const LockRow& row) {
  std::vector<LockRange> ranges;
  ranges.reserve(row.bounds.size() / 2);
  for (size_t i = 0; 2 * i + 1 < row.bounds.size(); ++i)
    ranges.push_back({row.bounds[2 * i], row.bounds[2 * i + 1], (row.write >> i & 1U) != 0});
  return ranges;
}

Outcome<void> set_range(ClientState& cs, Run& run, StateKey key, LockStateRow& state, ByteRange range,
                        std::optional<bool> write) {
  const std::vector<Chunk> chunks = TRY(chunks_around(cs, run, key, range));
  std::vector<LockRange> old;
  for (const Chunk& chunk : chunks) old.insert(old.end(), chunk.ranges.begin(), chunk.ranges.end());
  size_t landed = 0;
  const std::vector<LockRange> now = overlay(old, range, write, landed);
  if (now == old) return {};
  // Locks below the lowest row: it then begins at zero.
  const bool below = chunks.empty() || (!now.empty() && now.front().first < chunks.front().start);
  const std::vector<Chunk> divided = divide(now, below ? 0 : chunks.front().start, landed);

  const ClientTwin* client = cs.client_twin(state.client);
  const uint64_t held = client != nullptr ? client->locks : 0;
  const size_t rows = state.rows - chunks.size() + divided.size();
  if (now.size() > old.size() && held + now.size() - old.size() > cs.options().locks_per_client_max)
    return Status::resource;
  if (rows > state.rows && rows > cs.options().lock_rows_per_owner_max) return Status::resource;

  auto kept = divided.begin();  // both are in ascending order
  for (const Chunk& chunk : chunks) {
    while (kept != divided.end() && kept->start < chunk.start) ++kept;
    if (kept == divided.end() || kept->start != chunk.start)
      cs.locks.erase(run, {key.inode, key.number, ~chunk.start});
  }
  for (const Chunk& chunk : divided)
    cs.locks.put(run, {key.inode, key.number, ~chunk.start}, row_of(chunk.ranges));
  state.rows = static_cast<uint32_t>(rows);
  cs.change_locks(run, key.inode, state.client, difference(old, now, key.number));
  return {};
}

}  // namespace perdure::client
