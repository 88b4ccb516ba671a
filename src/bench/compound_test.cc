// Call and Reply: the bytes on the wire.
#include <gtest/gtest.h>

#include "bench/call.h"
#include "bench/reply.h"

namespace perdure::bench {
namespace {

ByteVector words(std::initializer_list<uint32_t> values) {
  ByteVector bytes(values.size() * 4);
  size_t at = 0;
  for (const uint32_t v : values) wire::store_u32(bytes.data() + 4 * at++, v);
  return bytes;
}

TEST(Call, IsARecordWithCredentialsAndOperations) {
  Call call;
  call.begin(0x11223344, {.uid = 5, .gid = 6}, 1);
  call.putrootfh().lookup("abcde").getattr(attr::TYPE | attr::MODE);
  call.finish();
  wire::XdrDecoder d(call.bytes());
  EXPECT_EQ(d.get_u32(), 0x80000000U | (call.bytes().size() - 4));
  EXPECT_EQ(d.get_u32(), 0x11223344U);
  EXPECT_EQ(d.get_u32(), 0U);
  EXPECT_EQ(d.get_u32(), 2U);
  EXPECT_EQ(d.get_u32(), 100003U);
  EXPECT_EQ(d.get_u32(), 4U);
  EXPECT_EQ(d.get_u32(), 1U);
  EXPECT_EQ(d.get_u32(), 1U);  // AUTH_SYS
  wire::XdrDecoder credential(d.get_opaque(400));
  credential.get_u32();
  EXPECT_FALSE(credential.get_string(255).empty());
  EXPECT_EQ(credential.get_u32(), 5U);
  EXPECT_EQ(credential.get_u32(), 6U);
  EXPECT_EQ(credential.get_u32(), 0U);
  EXPECT_TRUE(credential.finished());
  EXPECT_EQ(d.get_u64(), 0U);  // verifier
  EXPECT_EQ(d.get_u32(), 0U);  // tag
  EXPECT_EQ(d.get_u32(), 1U);  // minor version
  EXPECT_EQ(d.get_u32(), 3U);
  EXPECT_EQ(d.get_u32(), 24U);
  EXPECT_EQ(d.get_u32(), 15U);
  EXPECT_EQ(d.get_string(100), "abcde");
  EXPECT_EQ(d.get_u32(), 9U);
  EXPECT_EQ(d.get_u32(), 2U);
  EXPECT_EQ(d.get_u32(), 2U);
  EXPECT_EQ(d.get_u32(), 2U);
  EXPECT_TRUE(d.finished());
}

TEST(Call, IsUsedAgainAndItsSequenceCanBePatched) {
  Call call;
  for (int i = 0; i < 2; ++i) {
    call.begin(1, {}, 2);
    call.sequence(SessionId{}, 41, 3, 7, true).putrootfh();
    call.finish();
  }
  const ByteVector before(call.bytes().begin(), call.bytes().end());
  call.patch_sequence(42);
  size_t different = 0;
  for (size_t i = 0; i < before.size(); ++i) different += before[i] != call.bytes()[i] ? 1 : 0;
  EXPECT_EQ(different, 1U);
  EXPECT_EQ(call.operations(), 2U);
}

TEST(Call, LeavesRoomForWrittenData) {
  Call call;
  call.begin(1, {}, 1);
  const MutableBytes data = call.write(Stateid{}, 4096, StableHow::FILE_SYNC4, 16);
  ASSERT_EQ(data.size(), 16U);
  std::ranges::fill(data, std::byte{0xab});
  call.finish();
  EXPECT_TRUE(std::ranges::all_of(call.bytes().last(16), [](std::byte b) { return b == std::byte{0xab}; }));
}

TEST(Reply, WalksThroughItsResults) {
  const ByteVector bytes = words({0,  0, 3,  // OK, no tag, three results
                                  22, 0,     // PUTFH
                                  9,  0, 2,  0x1a, 0x8,        24,
                                  1,  0, 77, 0,    4096,       3,  // GETATTR: type, change, size, numlinks
                                  25, 0, 1,  5,    0x61626364, 0x65000000});  // READ: eof, 5 bytes
  Reply r(bytes);
  Attributes a;
  Bytes data;
  bool eof = false;
  EXPECT_TRUE(r.putfh());
  EXPECT_TRUE(r.getattr(a));
  EXPECT_EQ(a.type, FileType::NF4REG);
  EXPECT_EQ(a.change, 77U);
  EXPECT_EQ(a.size, 4096U);
  EXPECT_EQ(a.numlinks, 3U);
  EXPECT_TRUE(r.read(data, eof));
  EXPECT_EQ(text_of(data), "abcde");
  EXPECT_TRUE(eof);
  EXPECT_FALSE(r.failed());
  EXPECT_FALSE(r.putfh());  // there is no fourth
  EXPECT_EQ(r.error(), NfsStatus::malformed);
}

TEST(Reply, EndsAtTheFirstError) {
  const ByteVector bytes = words({2, 0, 2, 22, 0, 15, 2});
  Reply r(bytes);
  FileHandle fh;
  EXPECT_FALSE(r.putfh() && r.plain(Op::LOOKUP) && r.getfh(fh));
  EXPECT_EQ(r.error(), NfsStatus::NFS4ERR_NOENT);
  EXPECT_EQ(r.error_op(), Op::LOOKUP);
}

TEST(Reply, AsAWholeRefused) {
  const ByteVector bytes = words({10021, 0, 0});
  Reply r(bytes);
  EXPECT_TRUE(r.failed());
  EXPECT_FALSE(r.putfh());
  EXPECT_EQ(status_name(r.error()), "MINOR_VERS_MISMATCH");
}

TEST(Reply, EveryTruncationIsMalformedAndNoneReadsTooFar) {
  const ByteVector whole = words({0, 0, 2, 22, 0, 9, 0, 2, 0x1a, 0x8, 24, 1, 0, 77, 0, 4096, 3});
  for (size_t length = 0; length < whole.size(); ++length) {
    // A copy of exactly this length, so that the sanitizer sees a read behind it.
    const ByteVector part(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(length));
    Reply r(part);
    Attributes a;
    EXPECT_FALSE(r.putfh() && r.getattr(a)) << length;
    EXPECT_EQ(r.error(), NfsStatus::malformed) << length;
  }
}

TEST(Reply, ResultsOfAnotherOperationAreMalformed) {
  const ByteVector bytes = words({0, 0, 1, 24, 0});
  Reply r(bytes);
  EXPECT_FALSE(r.putfh());
  EXPECT_EQ(r.error(), NfsStatus::malformed);
}

TEST(Reply, DirectoryEntries) {
  const ByteVector bytes = words({0, 0, 1, 26, 0,          0, 0,                // READDIR, verifier
                                  1, 0, 3, 1,  0x61000000, 1, 2, 4, 2,          // "a", a directory
                                  1, 0, 9, 2,  0x62630000, 1, 2, 4, 1, 0, 1});  // "bc", a file; end
  Reply r(bytes);
  Verifier verifier;
  ASSERT_TRUE(r.readdir(verifier));
  Reply::Entry e;
  bool eof = false;
  ASSERT_TRUE(r.next_entry(e, eof));
  EXPECT_EQ(e.name, "a");
  EXPECT_EQ(e.cookie, 3U);
  EXPECT_EQ(e.attributes.type, FileType::NF4DIR);
  ASSERT_TRUE(r.next_entry(e, eof));
  EXPECT_EQ(e.name, "bc");
  EXPECT_FALSE(r.next_entry(e, eof));
  EXPECT_TRUE(eof);
  EXPECT_FALSE(r.failed());
}

TEST(Call, ExtendedAttributes) {
  Call call;
  call.begin(1, {}, 2);
  call.setxattr(XattrHow::CREATE, "abc", bytes_of("value")).getxattr("d").listxattrs(7, 500).removexattr("e");
  call.finish();
  const ByteVector expected = words({73, 1, 3, 0x61626300, 5, 0x76616c75, 0x65000000,  // SETXATTR
                                     72, 1, 0x64000000,                                // GETXATTR
                                     74, 0, 7, 500,                                    // LISTXATTRS
                                     75, 1, 0x65000000});                              // REMOVEXATTR
  ASSERT_GT(call.bytes().size(), expected.size());
  const Bytes operations = call.bytes().last(expected.size());
  EXPECT_EQ(ByteVector(operations.begin(), operations.end()), expected);
}

TEST(Reply, ExtendedAttributes) {
  const ByteVector bytes = words({0,  0, 4,                       // OK, no tag, four results
                                  73, 0, 1, 0,          8, 0, 9,  // SETXATTR
                                  72, 0, 2, 0x61620000,           // GETXATTR
                                  74, 0, 0, 5,          2, 1, 0x61000000, 1, 0x62000000, 1,  // LISTXATTRS
                                  75, 0, 1, 0,          9, 0, 10});                          // REMOVEXATTR
  Reply r(bytes);
  ChangeInfo set, removed;
  Bytes value;
  uint64_t cookie = 0;
  std::vector<std::string> names;
  bool eof = false;
  ASSERT_TRUE(r.setxattr(set) && r.getxattr(value) && r.listxattrs(cookie, names, eof));
  ASSERT_TRUE(r.removexattr(removed));
  EXPECT_EQ(set.after, 9U);
  EXPECT_EQ(text_of(value), "ab");
  EXPECT_EQ(cookie, 5U);
  EXPECT_EQ(names, (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(eof);
  EXPECT_EQ(removed.before, 9U);
  EXPECT_EQ(removed.after, 10U);
}

TEST(RpcReply, AcceptedDeniedAndNone) {
  const ByteVector accepted = words({9, 1, 0, 0, 0, 0, 5, 6});
  const auto reply = parse_rpc_reply(accepted);
  ASSERT_TRUE(reply && reply->results);
  EXPECT_EQ(reply->xid, 9U);
  EXPECT_EQ(reply->results->size(), 8U);
  const auto denied = parse_rpc_reply(words({9, 1, 1, 1, 1}));
  ASSERT_TRUE(denied);
  EXPECT_FALSE(denied->results);
  const auto refused = parse_rpc_reply(words({9, 1, 0, 0, 0, 4}));
  ASSERT_TRUE(refused);
  EXPECT_FALSE(refused->results);
  EXPECT_FALSE(parse_rpc_reply(words({9, 0, 0})));
  EXPECT_FALSE(parse_rpc_reply(words({9, 1})));
}

}  // namespace
}  // namespace perdure::bench
