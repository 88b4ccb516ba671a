#include "fs/allocate.h"

#include <algorithm>

#include "base/mark.h"
#include "fs/access.h"
#include "fs/cut.h"
#include "fs/data.h"

namespace perdure::fs {

Outcome<void> allocate(FileSystem& fs, Run& run, const Principal& who, InodeId id, uint64_t offset,
                       uint64_t count, AllocateRegisters& registers) {
  InodeRow inode = TRY(fs.load(run, id));
  TRY(check_regular(inode));
  if (count == 0) return Status::invalid_argument;
  if (offset > file_bytes_max || count > file_bytes_max - offset) return Status::too_big;
  // How many of the blocks have something already is not known without looking at all of them.
  const uint64_t blocks = blocks_for(offset + count) - offset / block_bytes;
  const uint64_t missing = blocks - std::min(blocks, inode.blocks);
  if (missing > fs.data().allocator.available_max()) return Status::no_space;
  TRY(fs.data().admit_blocks(run, static_cast<int64_t>(missing), registers.write_backs));
  if (offset + count <= inode.size) return {};
  inode.size = offset + count;
  fs.touch_content(run, inode);
  clear_set_id(inode, who);
  fs.store(run, id, inode);
  return {};
}

namespace {

struct Deallocation {
  FileSystem& fs;
  Run& run;
  const InodeId id;
  const uint64_t offset, end;  // bytes; not empty, and not behind the file's end
  InodeRow& inode;
  // Blocks that become holes: whole ones, and the last one of the file.
  const uint64_t whole_first = blocks_for(offset);
  const uint64_t whole_end = end == inode.size ? blocks_for(end) : end / block_bytes;

  struct Edge {
    uint64_t block = 0, from = 0, to = 0;  // bytes from..to - 1 of the block
    PageRef old;
    Survey rows;
  };
  Outcome<std::vector<Edge>> edges();
};

// The partial blocks at both ends that are not holes already.
Outcome<std::vector<Deallocation::Edge>> Deallocation::edges() {
  std::vector<Edge> all;
  const uint64_t first = offset / block_bytes, last = end / block_bytes;
  if (first < whole_first)
    all.push_back({first, offset % block_bytes, first == last ? end % block_bytes : block_bytes});
  if (whole_end == last && end % block_bytes != 0 && last >= whole_first)
    all.push_back({last, 0, end % block_bytes});
  std::optional<Stop> stop;
  for (Edge& edge : all) {
    auto old = content_of(fs, run, id, inode, FileBlock(edge.block));
    auto rows = survey(fs, run, id, inode, edge.block, 1);
    if (const auto s = first_stop(old, rows); s && (!stop || s->is_fault())) stop = s;
    if (stop) continue;
    edge.old = *std::move(old);
    edge.rows = *std::move(rows);
  }
  if (stop) return *stop;
  std::erase_if(all, [](const Edge& edge) { return !edge.old; });
  return all;
}

}  // namespace

Outcome<void> deallocate(FileSystem& fs, Run& run, const Principal& who, InodeId id, uint64_t offset,
                         uint64_t count, DeallocateRegisters& registers) {
  InodeRow inode = TRY(fs.load(run, id));
  TRY(check_regular(inode));
  if (count == 0) return Status::invalid_argument;
  if (offset > file_bytes_max) return Status::too_big;
  const uint64_t end = std::min(offset + std::min(count, file_bytes_max - offset), inode.size);
  if (offset >= end) return {};
  TRY(fs.data().admit_change(run, id));
  Deallocation hole{fs, run, id, offset, end, inode};
  const uint64_t first = std::max(hole.whole_first, registers.next);
  auto edges = registers.started ? Outcome<std::vector<Deallocation::Edge>>() : hole.edges();
  auto rows = rows_in(fs, run, id, inode, first, std::max(first, hole.whole_end), fs.data().options.rows_max);
  if (const auto stop = first_stop(edges, rows)) return *stop;

  for (const auto& edge : *edges)
    zero_part(fs, run, id, inode, FileBlock(edge.block), edge.old, edge.rows[0], edge.from, edge.to);
  TRY(erase_content(fs, run, id, inode, *rows));
  fs.touch_content(run, inode);
  clear_set_id(inode, who);
  BlockCount(fs, run, id).store(id, inode);
  fs.data().pages_gone(run);
  if (rows->end < hole.whole_end) {
    PERDURE_MARK("DEALLOCATE goes on in another run");
    registers = {true, rows->end};
    fs.hooks().resume(run.transaction());
    return Stop::wait();
  }
  registers = {};
  return {};
}

}  // namespace perdure::fs
