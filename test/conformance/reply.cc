#include "conformance/reply.h"

#include <gtest/gtest.h>

namespace perdure::conformance {

namespace {

constexpr size_t any = 1U << 24U;

void skip_bitmap(wire::XdrDecoder& in) {
  for (uint32_t n = in.get_count(8, 4); n > 0; --n) in.get_u32();
}

void skip_fattr(wire::XdrDecoder& in) {
  skip_bitmap(in);
  in.get_opaque(any);
}

void skip_array_u32(wire::XdrDecoder& in) {
  for (uint32_t n = in.get_count(UINT16_MAX, 4); n > 0; --n) in.get_u32();
}

void skip_delegation(wire::XdrDecoder& in) {
  constexpr uint32_t none = 0, read = 1, write = 2, none_ext = 3;
  const uint32_t kind = in.get_u32();
  if (kind == none_ext) {
    const uint32_t why = in.get_u32();
    if (why == 1 || why == 2) in.get_bool();
  } else if (kind == read || kind == write) {
    in.get_opaque_fixed(16);
    in.get_bool();
    if (kind == write) in.get_opaque_fixed(12);  // limit by size
    in.get_opaque_fixed(12);
    in.get_string(any);
  } else {
    EXPECT_EQ(kind, none);
  }
}

void skip_entries(wire::XdrDecoder& in) {
  in.get_u64();
  while (in.ok() && in.get_bool()) {
    in.get_u64();
    in.get_string(255);
    skip_fattr(in);
  }
  in.get_bool();
}

void skip_exchanged(wire::XdrDecoder& in) {
  in.get_u64(), in.get_u32(), in.get_u32();
  EXPECT_EQ(in.get_u32(), 0U);  // SP4_NONE
  in.get_u64();
  in.get_opaque(1024), in.get_opaque(1024);
  for (uint32_t n = in.get_count(1, 4); n > 0; --n) {
    in.get_string(any), in.get_string(any);
    in.get_u64(), in.get_u32();
  }
}

void skip_copied(wire::XdrDecoder& in) {
  const uint32_t callbacks = in.get_count(1, 16);
  if (callbacks != 0) in.get_opaque_fixed(16);
  in.get_opaque_fixed(8 + 4 + 8);
  in.get_bool();
  in.get_bool();
}

void skip_segments(wire::XdrDecoder& in) {
  in.get_bool();
  const uint32_t count = in.get_count(UINT32_MAX, 16);
  for (uint32_t i = 0; i < count && in.ok(); ++i) {
    const bool hole = in.get_u32() == 1;
    in.get_u64();
    if (hole)
      in.get_u64();
    else
      in.get_opaque(any);
  }
}

void skip_created_session(wire::XdrDecoder& in) {
  in.get_opaque_fixed(16);
  in.get_u32(), in.get_u32();
  for (int channel = 0; channel < 2; ++channel) {
    for (int field = 0; field < 6; ++field) in.get_u32();
    for (uint32_t n = in.get_count(1, 4); n > 0; --n) in.get_u32();
  }
}

void skip_success(wire::XdrDecoder& in, Opnum4 operation) {
  constexpr size_t stateid = 16, change_info = 20, session = 16;
  switch (operation) {
    case OP_ACCESS:
    case OP_COMMIT:
      in.get_opaque_fixed(8);
      break;
    case OP_CLOSE:
    case OP_LOCK:
    case OP_LOCKU:
    case OP_OPEN_CONFIRM:
    case OP_OPEN_DOWNGRADE:
      in.get_opaque_fixed(stateid);
      break;
    case OP_CREATE:
      in.get_opaque_fixed(change_info);
      skip_bitmap(in);
      break;
    case OP_GETATTR:
      skip_fattr(in);
      break;
    case OP_GETFH:
      in.get_opaque(128);
      break;
    case OP_LINK:
    case OP_REMOVE:
    case OP_REMOVEXATTR:
    case OP_SETXATTR:
      in.get_opaque_fixed(change_info);
      break;
    case OP_RENAME:
      in.get_opaque_fixed(2 * change_info);
      break;
    case OP_OPEN:
      in.get_opaque_fixed(stateid + change_info + 4);
      skip_bitmap(in);
      skip_delegation(in);
      break;
    case OP_READ:
      in.get_bool();
      in.get_opaque(any);
      break;
    case OP_READDIR:
      skip_entries(in);
      break;
    case OP_GETXATTR:
      in.get_opaque(any);
      break;
    case OP_LISTXATTRS:
      in.get_u64();
      for (uint32_t n = in.get_count(UINT16_MAX, 4); n > 0; --n) in.get_string(250);
      in.get_bool();
      break;
    case OP_READLINK:
      in.get_string(any);
      break;
    case OP_SETATTR:
      skip_bitmap(in);
      break;
    case OP_WRITE:
      in.get_opaque_fixed(16);
      break;
    case OP_SEEK:
      in.get_bool();
      in.get_u64();
      break;
    case OP_COPY:
      skip_copied(in);
      break;
    case OP_OFFLOAD_STATUS:
      in.get_u64();
      skip_array_u32(in);
      break;
    case OP_READ_PLUS:
      skip_segments(in);
      break;
    case OP_IO_ADVISE:
      skip_bitmap(in);
      break;
    case OP_SECINFO:
    case OP_SECINFO_NO_NAME:
    case OP_TEST_STATEID:
      skip_array_u32(in);
      break;
    case OP_EXCHANGE_ID:
      skip_exchanged(in);
      break;
    case OP_CREATE_SESSION:
      skip_created_session(in);
      break;
    case OP_BIND_CONN_TO_SESSION:
      in.get_opaque_fixed(session + 8);
      break;
    case OP_SEQUENCE:
      in.get_opaque_fixed(session + 20);
      break;
    case OP_SETCLIENTID:
      in.get_opaque_fixed(16);
      break;
    default:
      break;
  }
}

void skip_body(wire::XdrDecoder& in, Opnum4 operation, Nfsstat4 status) {
  if (status == NFS4_OK) return skip_success(in, operation);
  if (operation == OP_SETATTR) skip_bitmap(in);
  if (status == NFS4ERR_DENIED && (operation == OP_LOCK || operation == OP_LOCKT)) {
    in.get_opaque_fixed(28);
    in.get_opaque(1024);
  }
  if (status == NFS4ERR_CLID_INUSE && operation == OP_SETCLIENTID) {
    in.get_string(any);
    in.get_string(any);
  }
}

}  // namespace

Reply parse_reply(ByteVector bytes) {
  Reply reply;
  reply.bytes = std::move(bytes);
  wire::XdrDecoder in(reply.bytes);
  reply.status = static_cast<Nfsstat4>(in.get_u32());
  reply.tag = std::string(in.get_string(any));
  const uint32_t count = in.get_count(4096, 8);
  for (uint32_t i = 0; i < count && in.ok(); ++i) {
    Reply::Result result;
    result.operation = static_cast<Opnum4>(in.get_u32());
    result.status = static_cast<Nfsstat4>(in.get_u32());
    const size_t begin = in.position();
    skip_body(in, result.operation, result.status);
    const Bytes body = Bytes(reply.bytes).subspan(begin, in.position() - begin);
    result.body.assign(body.begin(), body.end());
    if (result.status != NFS4_OK && i + 1 != count)
      reply.problem = "an operation was executed after one that failed";
    reply.results.push_back(std::move(result));
  }
  if (!in.ok()) reply.problem = "it ends within a result";
  if (in.ok() && !in.finished()) reply.problem = "bytes are left behind the last result";
  if (!reply.results.empty() && reply.results.back().status != reply.status)
    reply.problem = "its status is not that of the last result";
  return reply;
}

wire::XdrDecoder Reply::in(Opnum4 operation) const {
  for (auto result = results.rbegin(); result != results.rend(); ++result)
    if (result->operation == operation) return wire::XdrDecoder(result->body);
  return wire::XdrDecoder({});
}

Stateid stateid_of(const Reply& reply, Opnum4 operation) {
  const Bytes bytes = reply.in(operation).get_opaque_fixed(16);
  EXPECT_EQ(bytes.size(), 16U);
  return {bytes.begin(), bytes.end()};
}

ByteVector handle_of(const Reply& reply) {
  const Bytes bytes = reply.in(OP_GETFH).get_opaque(128);
  EXPECT_FALSE(bytes.empty());
  return {bytes.begin(), bytes.end()};
}

ReadData data_of(const Reply& reply) {
  wire::XdrDecoder in = reply.in(OP_READ);
  ReadData read;
  read.eof = in.get_bool();
  read.data = std::string(in.get_string(any));
  EXPECT_TRUE(in.ok());
  return read;
}

ByteVector attribute_of(const Reply& reply) {
  wire::XdrDecoder in = reply.in(OP_GETATTR);
  skip_bitmap(in);
  const Bytes value = in.get_opaque(any);
  EXPECT_TRUE(in.ok());
  return {value.begin(), value.end()};
}

uint32_t as_u32(Bytes value) {
  EXPECT_EQ(value.size(), 4U);
  return wire::XdrDecoder(value).get_u32();
}

uint64_t as_u64(Bytes value) {
  EXPECT_EQ(value.size(), 8U);
  return wire::XdrDecoder(value).get_u64();
}

std::string as_text(Bytes value) {
  return std::string(wire::XdrDecoder(value).get_string(any));
}

Listing listing_of(const Reply& reply) {
  Listing listing;
  wire::XdrDecoder in = reply.in(OP_READDIR);
  listing.verifier = in.get_u64();
  while (in.ok() && in.get_bool()) {
    Listing::Entry entry;
    entry.cookie = in.get_u64();
    entry.name = std::string(in.get_string(any));
    skip_bitmap(in);
    const Bytes values = in.get_opaque(any);
    entry.values.assign(values.begin(), values.end());
    listing.entries.push_back(std::move(entry));
  }
  listing.eof = in.get_bool();
  EXPECT_TRUE(in.ok());
  return listing;
}

}  // namespace perdure::conformance
