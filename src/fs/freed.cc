#include "fs/freed.h"

#include <algorithm>

#include "base/mark.h"
#include "base/planted_bug.h"
#include "fs/data.h"
#include "fs/sharing.h"
#include "state/database.h"

namespace perdure::fs {

Outcome<void> FreedBlocks::put(FileSystem& fs, Run& run) {
  if (!maybe_shared_.empty()) TRY(unshare_blocks(fs, run, maybe_shared_, ranges_));
  maybe_shared_.clear();
  if (ranges_.empty()) return {};
  std::sort(ranges_.begin(), ranges_.end(),
            [](const BlockRange& a, const BlockRange& b) { return a.first < b.first; });
  FreedRow row;
  for (const BlockRange& range : ranges_) append_range(row.ranges, range.first, range.count);
  const uint64_t sequence = fs.new_change();
  fs.freed.put_new(run, {sequence}, std::move(row));
  run.on_commit([&fs, sequence, lsn = run.lsn()] { fs.data().freed_rows.added(sequence, lsn); });
  ranges_.clear();
  return {};
}

void FreedRows::restored(FileSystem& fs) {
  lsns_.clear();
  restored_end_ = fs.database().commit().next_lsn();
}

bool FreedRows::covered(FileSystem& fs, uint64_t sequence) const {
  if (planted("a freed block is used again at once")) return true;
  auto it = lsns_.find(sequence);
  const Lsn applied = fs.database().applied_everywhere();
  return it == lsns_.end() ? applied >= restored_end_ : it->second < applied;
}

bool free_pending(FileSystem& fs, Run& run) {
  constexpr uint64_t ranges_max = 1024;
  Data& data = fs.data();
  std::vector<BlockRange> ranges;
  std::vector<uint64_t> erased;
  bool finished = true;
  const FreedRow::Key last{UINT64_MAX};
  for (auto row = *fs.freed.first(run, {0}, last); row; row = *fs.freed.next(run, row.key, last)) {
    if (!data.freed_rows.covered(fs, row.key.sequence)) break;  // nor are those behind it
    const auto& freed = row.row->ranges;
    // Still being read for somebody who saw them in use.
    const auto read = std::ranges::find_if(freed, [&](const auto& r) { return data.reader.under_way(r); });
    if (read != freed.end() && !planted("a freed block is used while it is being read")) {
      PERDURE_MARK("a freed block is still being read");
      data.reader.when_read(*read, [&data] {
        if (data.hooks.want_freeing) data.hooks.want_freeing();
      });
      continue;
    }
    if (!erased.empty() && ranges.size() + freed.size() > ranges_max) {
      finished = false;
      break;
    }
    ranges.insert(ranges.end(), freed.begin(), freed.end());
    erased.push_back(row.key.sequence);
  }
  for (const uint64_t sequence : erased) fs.freed.erase(run, {sequence});
  data.allocator.mark_free(run, ranges);
  run.on_commit([&data, erased = std::move(erased)] {
    for (const uint64_t sequence : erased) data.freed_rows.erased(sequence);
    data.space_freed();
  });
  return finished;
}

}  // namespace perdure::fs
