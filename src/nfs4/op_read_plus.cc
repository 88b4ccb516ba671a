// READ_PLUS: RFC 7862 §15.10. What READ reads, with holes told by their length.
#include "fs/read.h"

#include "nfs4/io_access.h"
#include "nfs4/operations.h"
#include "nfs4/results.h"
#include "nfs4/service.h"

namespace perdure::nfs4 {

namespace {

constexpr uint32_t content_data = 0, content_hole = 1;  // data_content4

// A read_plus_content: bytes [from, end) of what was read.
struct Segment {
  bool hole = false;
  uint64_t from = 0, end = 0;
};

// Page by page: neighbours of a kind are one.
Segment next_segment(const fs::ReadResult& read, uint64_t from) {
  const auto page_of = [&read](uint64_t at) { return (read.first_offset + at) / block_bytes; };
  const auto is_hole = [&read](uint64_t page) {
    return read.pages[page].bytes().data() == zero_page().bytes().data();
  };
  Segment segment{is_hole(page_of(from)), from, from};
  while (segment.end < read.length && is_hole(page_of(segment.end)) == segment.hole)
    segment.end =
        std::min<uint64_t>((page_of(segment.end) + 1) * block_bytes - read.first_offset, read.length);
  return segment;
}

}  // namespace

Outcome<Nfsstat4> op_read_plus(Compound& c, Run& run) {
  const client::Stateid stateid = get_stateid(c.args);
  const uint64_t offset = c.args.get_u64();
  const uint32_t wanted = c.args.get_u32();
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  const fs::InodeRow inode = TRY(io_access(c, run, stateid, false));
  constexpr size_t eof_and_count = 8, hole_bytes = 20, data_bytes = 16, padding = 3;
  if (c.reply_room() < eof_and_count + hole_bytes + padding) return Nfsstat4::NFS4ERR_REP_TOO_BIG;
  const uint64_t count = std::min<uint64_t>(wanted, c.service().options().io_bytes_max);
  const fs::ReadResult read = TRY(fs::read(c.fs(), run, c.registers.current.inode, inode, offset, count));

  const size_t eof_at = c.reply.size();
  c.reply.put_bool(read.eof);
  const size_t count_at = c.reply.size();
  c.reply.put_u32(0);
  uint32_t segments = 0;
  uint64_t at = 0;
  while (at < read.length) {
    Segment segment = next_segment(read, at);
    const size_t room = c.reply_room();
    if (room < hole_bytes + padding) break;
    if (!segment.hole) segment.end = std::min<uint64_t>(segment.end, at + room - data_bytes - padding);
    const uint64_t length = segment.end - segment.from;
    c.reply.put_u32(segment.hole ? content_hole : content_data);
    c.reply.put_u64(offset + segment.from);
    if (segment.hole) {
      c.reply.put_u64(length);
    } else {
      const uint64_t begin = read.first_offset + segment.from;
      c.reply.put_u32(static_cast<uint32_t>(length));
      c.reply.append_pages(std::span(read.pages).subspan(begin / block_bytes), begin % block_bytes, length);
    }
    ++segments;
    at = segment.end;
  }
  if (at < read.length) c.reply.patch_u32(eof_at, 0);
  c.reply.patch_u32(count_at, segments);
  return Nfsstat4::NFS4_OK;
}

}  // namespace perdure::nfs4
