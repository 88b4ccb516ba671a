#include "fs/read_ahead.h"

#include <algorithm>

#include "fs/extents.h"

namespace perdure::fs {

void ReadAhead::after_read(FileSystem& fs, Run& run, InodeId id, const InodeRow& inode, uint64_t offset,
                           uint64_t end) {
  if (inode.extent_end == 0 || window_max_ == 0) return;
  ++calls_;
  Stream* stream = nullptr;
  Stream* oldest = &streams_[0];
  for (Stream& s : streams_) {
    if (s.used != 0 && s.inode == id && offset <= std::max(s.next, s.ahead) &&
        end + s.window + window_min > s.next) {
      stream = &s;
      break;
    }
    if (s.used < oldest->used) oldest = &s;
  }
  if (stream == nullptr) {
    *oldest = {id, end, end, 0, calls_};
    return;
  }
  stream->used = calls_;
  if (end <= stream->next) return;
  stream->next = end;
  stream->ahead = std::max(stream->ahead, end);
  stream->window = std::clamp(2 * stream->window, std::min(window_min, window_max_), window_max_);
  const uint64_t goal = std::min(end + std::min(stream->window, inode.size), inode.size);
  if (stream->ahead >= goal || stream->ahead - end > stream->window / 2) return;
  if (reader_.blocks_under_way() > blocks_under_way_max) return;
  stream->ahead = fetch(fs, run, id, inode, stream->ahead, goal);
}

void ReadAhead::will_read(FileSystem& fs, Run& run, InodeId id, const InodeRow& inode, uint64_t offset,
                          uint64_t end) {
  end = std::min({end, inode.size, offset + std::min(window_max_, inode.size)});
  if (offset < end && reader_.blocks_under_way() <= blocks_under_way_max)
    fetch(fs, run, id, inode, offset, end);
}

// Returns how far it came. Where it meets an extent row that is not in memory, it fetches that for the next
// time.
uint64_t ReadAhead::fetch(FileSystem& fs, Run& run, InodeId id, const InodeRow& inode, uint64_t from,
                          uint64_t end) {
  uint64_t reached = from;
  std::vector<WantedBlock> wanted;
  ExtentCursor extents(fs, run, id, inode, from / block_bytes, blocks_for(end));
  ExtentPart part;
  for (;;) {
    const Outcome<bool> more = extents.next(part);
    if (!more) {
      for (state::Fetch& row : run.take_misses()) row([](const Result<void>&) {});
      break;
    }
    reached = *more ? part.end() * block_bytes : end;
    if (!*more) break;
    if (part.cut_off) continue;
    for (uint64_t i = 0; i < part.count(); ++i)
      wanted.push_back({BlockNo(part.block.value + i), part.crcs[i]});
  }
  reader_.read_ahead(wanted, run.tick());
  return std::min(reached, end);
}

}  // namespace perdure::fs
