// XdrEncoder: builds one message (a reply, or a call on the back channel) as a list of pieces that sendmsg()
// gathers. What is put is written into pages of the thread's pool; file data is not copied: append_pages()
// keeps references.
//
// Invariants: the pieces in order are the message. size() = closed_bytes_ + (cursor_ - open_). Bytes in
// [cursor_, limit_) belong to this encoder and to nobody else. Four bytes before the first piece are kept
// free for the record mark, so a small message is one piece, mark included, and costs no allocation.
//
// Positions are counted in bytes of the message, so they hold as well for an encoder that was filled from
// another's flatten(): a machine that is restored from the log goes on with its reply.
//
// One loop thread, as for pages. Moving leaves an empty encoder that can be used again.
#pragma once

#include <absl/container/inlined_vector.h>

#include <string_view>

#include "base/bytes.h"
#include "base/page.h"
#include "wire/xdr_decoder.h"

namespace perdure::wire {

class XdrEncoder {
 public:
  XdrEncoder() = default;
  XdrEncoder(XdrEncoder&& other) noexcept { swap(other); }
  XdrEncoder& operator=(XdrEncoder&& other) noexcept {
    XdrEncoder taken(std::move(other));
    swap(taken);
    return *this;
  }

  void put_u32(uint32_t value) { store_u32(extend(4), value); }
  void put_u64(uint64_t value) { store_u64(extend(8), value); }
  void put_i32(int32_t value) { put_u32(static_cast<uint32_t>(value)); }
  void put_i64(int64_t value) { put_u64(static_cast<uint64_t>(value)); }
  void put_bool(bool value) { put_u32(value ? 1 : 0); }
  // opaque x[n]: the bytes and their padding.
  void put_opaque_fixed(Bytes bytes) {
    put_raw(bytes);
    put_padding(bytes.size());
  }
  // opaque x<>: length, bytes, padding.
  void put_opaque(Bytes bytes) {
    CHECK(bytes.size() <= UINT32_MAX);
    put_u32(static_cast<uint32_t>(bytes.size()));
    put_opaque_fixed(bytes);
  }
  void put_string(std::string_view text) { put_opaque(bytes_of(text)); }
  // Bytes that are XDR already (a cached reply).
  void put_raw(Bytes bytes);
  // Zeros up to the next multiple of four, behind opaque data of `n` bytes.
  void put_padding(size_t n);

  // The content of an opaque: `length` bytes of `pages`, the first of them at `first_offset` of the first
  // page, and its padding. The caller has put the length. The pages are immutable from now on.
  void append_pages(std::span<const PageRef> pages, size_t first_offset, size_t length);

  // Writes over a value that was put at `position` (the size() before it was put). Never inside appended
  // pages.
  void patch_u32(size_t position, uint32_t value);

  // Bytes of the message so far, pages included. As a savepoint: truncate(size) takes back all that was put
  // since, and drops the pages.
  size_t size() const { return closed_bytes_ + static_cast<size_t>(cursor_ - open_); }
  void truncate(size_t size);
  void clear() { *this = XdrEncoder(); }

  // Puts the record mark (RFC 5531 §11) in front: the message as one last fragment. Once, when the message is
  // complete: positions move by four.
  void put_record_mark();

  // Calls `add(Bytes)` for each piece of the message from byte `from` on, until it returns false. Adjacent
  // memory is one piece.
  template <class Add>
  void for_each_piece(size_t from, Add&& add) const;
  // A copy of the message from byte `from` on.
  ByteVector flatten(size_t from = 0) const;

 private:
  struct Piece {
    PageRef page;
    const std::byte* data;
    uint32_t length;
    bool owned;  // written by this encoder, unlike appended pages
  };
  static constexpr size_t mark_bytes = 4;

  std::byte* extend(size_t n) {
    if (static_cast<size_t>(limit_ - cursor_) < n) [[unlikely]]
      open_new_page();
    std::byte* to = cursor_;
    cursor_ += n;
    return to;
  }
  void open_new_page();
  void close_piece();
  void reopen(Piece& piece);
  void swap(XdrEncoder& other) noexcept;

  PageRef open_page_;  // holds the open piece [open_, cursor_), the last one of the message
  std::byte* open_ = nullptr;
  std::byte* cursor_ = nullptr;
  std::byte* limit_ = nullptr;
  size_t closed_bytes_ = 0;
  absl::InlinedVector<Piece, 3> closed_;
};

// A message to be sent as a reply.
using Reply = XdrEncoder;

template <class Add>
void XdrEncoder::for_each_piece(size_t from, Add&& add) const {
  Bytes joined;
  const auto next = [&](Bytes piece) {
    if (from >= piece.size()) {
      from -= piece.size();
      return true;
    }
    piece = piece.subspan(from);
    from = 0;
    if (joined.data() + joined.size() == piece.data()) {
      joined = {joined.data(), joined.size() + piece.size()};
      return true;
    }
    const bool more = joined.empty() || add(joined);
    joined = piece;
    return more;
  };
  for (const Piece& piece : closed_) {
    if (!next({piece.data, piece.length})) return;
  }
  if (next({open_, cursor_}) && !joined.empty()) add(joined);
}

}  // namespace perdure::wire
