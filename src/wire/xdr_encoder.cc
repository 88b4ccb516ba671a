#include "wire/xdr_encoder.h"

#include <algorithm>

namespace perdure::wire {

void XdrEncoder::put_raw(Bytes bytes) {
  while (!bytes.empty()) {
    if (cursor_ == limit_) open_new_page();
    const size_t n = std::min(bytes.size(), static_cast<size_t>(limit_ - cursor_));
    std::memcpy(cursor_, bytes.data(), n);
    cursor_ += n;
    bytes = bytes.subspan(n);
  }
}

void XdrEncoder::put_padding(size_t n) {
  static constexpr std::byte zeros[3] = {};
  put_raw({zeros, padded(n) - n});
}

void XdrEncoder::append_pages(std::span<const PageRef> pages, size_t first_offset, size_t length) {
  CHECK(first_offset < block_bytes);
  CHECK(length <= pages.size() * block_bytes - std::min(pages.size() * block_bytes, first_offset));
  close_piece();
  closed_.reserve(closed_.size() + (first_offset + length + block_bytes - 1) / block_bytes + 1);
  for (size_t offset = first_offset, left = length; left > 0; offset = 0, pages = pages.subspan(1)) {
    const Bytes data = pages.front().bytes().subspan(offset, std::min(left, block_bytes - offset));
    closed_.push_back({pages.front(), data.data(), static_cast<uint32_t>(data.size()), false});
    closed_bytes_ += data.size();
    left -= data.size();
  }
  put_padding(length);
}

void XdrEncoder::patch_u32(size_t position, uint32_t value) {
  CHECK(position + 4 <= size());
  std::byte bytes[4];
  store_u32(bytes, value);
  // Byte by byte, because put_raw() may have split the value over two pages.
  size_t done = 0;
  size_t start = 0;
  const auto patch = [&](std::byte* data, size_t length, bool owned) {
    for (; done < 4 && position + done < start + length; ++done) {
      CHECK(owned);
      data[position + done - start] = bytes[done];
    }
    start += length;
  };
  for (Piece& piece : closed_) {
    patch(const_cast<std::byte*>(piece.data), piece.length, piece.owned);
    if (done == 4) return;
  }
  patch(open_, static_cast<size_t>(cursor_ - open_), true);
}

void XdrEncoder::truncate(size_t size) {
  CHECK(size <= this->size());
  while (size < closed_bytes_) {
    Piece& last = closed_.back();
    const size_t start = closed_bytes_ - last.length;
    if (!last.owned && size > start) {
      last.length = static_cast<uint32_t>(size - start);
      closed_bytes_ = size;
      break;
    }
    if (last.owned) reopen(last);
    closed_bytes_ = start;
    closed_.pop_back();
  }
  cursor_ = open_ + (size - closed_bytes_);
}

void XdrEncoder::put_record_mark() {
  CHECK(size() < 1U << 31);
  const uint32_t mark = static_cast<uint32_t>(size()) | 1U << 31;
  if (open_page_ == PageRef()) open_new_page();
  if (closed_.empty()) {
    open_ -= mark_bytes;
    store_u32(open_, mark);
    return;
  }
  Piece& first = closed_.front();
  CHECK(first.owned);
  first.data -= mark_bytes;
  first.length += static_cast<uint32_t>(mark_bytes);
  closed_bytes_ += mark_bytes;
  store_u32(const_cast<std::byte*>(first.data), mark);
}

ByteVector XdrEncoder::flatten(size_t from) const {
  CHECK(from <= size());
  ByteVector all;
  all.reserve(size() - from);
  for_each_piece(from, [&](Bytes piece) {
    all.insert(all.end(), piece.begin(), piece.end());
    return true;
  });
  return all;
}

void XdrEncoder::open_new_page() {
  const bool first = open_page_ == PageRef();
  if (cursor_ != open_) close_piece();
  open_page_ = make_page();
  const MutableBytes memory = open_page_.mutable_bytes();
  open_ = cursor_ = memory.data() + (first ? mark_bytes : 0);
  limit_ = memory.data() + memory.size();
}

// The piece in front of appended pages is closed; the open one goes on behind it in the same page. An empty
// piece is kept only if it is the first: it has the room for the record mark.
void XdrEncoder::close_piece() {
  if (open_page_ == PageRef()) open_new_page();
  if (cursor_ == open_ && !closed_.empty()) return;
  const auto length = static_cast<uint32_t>(cursor_ - open_);
  closed_.push_back({open_page_, open_, length, true});
  closed_bytes_ += length;
  open_ = cursor_;
}

// All behind the start of `piece` in its page is taken back, so it is written there again.
void XdrEncoder::reopen(Piece& piece) {
  open_page_ = std::move(piece.page);
  open_ = cursor_ = const_cast<std::byte*>(piece.data);
  const Bytes memory = open_page_.bytes();
  limit_ = const_cast<std::byte*>(memory.data()) + memory.size();
}

void XdrEncoder::swap(XdrEncoder& other) noexcept {
  std::swap(open_page_, other.open_page_);
  std::swap(open_, other.open_);
  std::swap(cursor_, other.cursor_);
  std::swap(limit_, other.limit_);
  std::swap(closed_bytes_, other.closed_bytes_);
  closed_.swap(other.closed_);
}

}  // namespace perdure::wire
