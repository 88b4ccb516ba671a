// NFSv4.2's operations on ranges of files (RFC 7862 §15): ALLOCATE, DEALLOCATE, SEEK, READ_PLUS, IO_ADVISE,
// CLONE and COPY.
#include "conformance/conformance.h"

namespace perdure::conformance {
namespace {

using A = Attribute;

constexpr uint64_t block = 4096;
constexpr uint32_t data = 0, hole = 1, kept_stable = 2;

struct Sought {
  bool eof = false;
  uint64_t offset = 0;
  bool operator==(const Sought&) const = default;
};
struct PlusSegment {
  uint32_t kind = 0;
  uint64_t offset = 0, length = 0;
  std::string text;
  bool operator==(const PlusSegment&) const = default;
};

class Ranges : public WithClients {
 public:
  void SetUp() override {
    WithClients::SetUp();
    file = alice.create_file("f");
    other = alice.create_file("g");
  }
  void write(const Client::Opened& to, uint64_t offset, const std::string& text) {
    alice.ok(alice.seq().fh(to.handle).write(to.stateid, offset, text, kept_stable));
  }
  Ops range(Opnum4 op, uint64_t offset, uint64_t length) {
    return alice.seq().fh(file.handle).op(op).fixed(file.stateid).u64(offset).u64(length);
  }
  Ops seek_ops(uint64_t offset, uint32_t what) {
    return alice.seq().fh(file.handle).op(OP_SEEK).fixed(file.stateid).u64(offset).u32(what);
  }
  Sought seek(uint64_t offset, uint32_t what) {
    const Reply reply = alice.ok(seek_ops(offset, what));
    wire::XdrDecoder in = reply.in(OP_SEEK);
    Sought s;
    s.eof = in.get_bool();
    s.offset = in.get_u64();
    EXPECT_TRUE(in.ok());
    return s;
  }
  std::vector<PlusSegment> read_plus(uint64_t offset, uint32_t count, bool& eof) {
    const Reply reply =
        alice.ok(alice.seq().fh(file.handle).op(OP_READ_PLUS).fixed(file.stateid).u64(offset).u32(count));
    wire::XdrDecoder in = reply.in(OP_READ_PLUS);
    eof = in.get_bool();
    std::vector<PlusSegment> segments(in.get_u32());
    for (PlusSegment& s : segments) {
      s.kind = in.get_u32();
      s.offset = in.get_u64();
      if (s.kind == hole) {
        s.length = in.get_u64();
      } else {
        s.text = in.get_string(1U << 20U);
        s.length = s.text.size();
      }
    }
    EXPECT_TRUE(in.ok());
    return segments;
  }
  Ops clone_ops(uint64_t from, uint64_t to, uint64_t length) {
    return two_files(OP_CLONE).u64(from).u64(to).u64(length);
  }
  Ops copy_ops(uint64_t from, uint64_t to, uint64_t length) {
    return two_files(OP_COPY).u64(from).u64(to).u64(length).u32(1).u32(1).u32(0);
  }
  // From `file` to `other`.
  Ops two_files(Opnum4 op) {
    return alice.seq()
        .fh(file.handle)
        .savefh()
        .fh(other.handle)
        .op(op)
        .fixed(file.stateid)
        .fixed(other.stateid);
  }
  uint64_t copied(const Ops& ops) {
    const Reply reply = alice.ok(ops);
    wire::XdrDecoder in = reply.in(OP_COPY);
    EXPECT_EQ(in.get_u32(), 0U);  // no callback id: done
    const uint64_t count = in.get_u64();
    EXPECT_EQ(in.get_u32(), kept_stable);
    in.get_u64();
    EXPECT_TRUE(in.get_bool());
    EXPECT_TRUE(in.get_bool());
    EXPECT_TRUE(in.finished() || in.ok());
    return count;
  }
  Client::Opened file, other;
};

TEST_F(Ranges, SeekFindsDataAndHoles) {
  write(file, 3 * block, std::string(2 * block, 'a'));
  write(file, 9 * block + 5, "b");
  EXPECT_EQ(seek(0, hole), (Sought{false, 0}));
  EXPECT_EQ(seek(0, data), (Sought{false, 3 * block}));
  EXPECT_EQ(seek(3 * block + 7, data), (Sought{false, 3 * block + 7}));
  EXPECT_EQ(seek(3 * block + 7, hole), (Sought{false, 5 * block}));
  EXPECT_EQ(seek(5 * block, data), (Sought{false, 9 * block}));
  EXPECT_EQ(seek(9 * block, hole), (Sought{true, 9 * block + 6}));
  alice.expect(NFS4ERR_NXIO, seek_ops(9 * block + 6, data));
  alice.expect(NFS4ERR_NXIO, seek_ops(UINT64_MAX, hole));
  alice.expect(NFS4ERR_UNION_NOTSUPP, seek_ops(0, 2));
  alice.ok(alice.seq().fh(file.handle).setattr(file_size(20 * block), file.stateid));
  EXPECT_EQ(seek(10 * block, data), (Sought{true, 20 * block}));
}

TEST_F(Ranges, OnlyOfRegularFilesAndIn42) {
  const ByteVector directory = alice.mkdir("d");
  alice.expect(NFS4ERR_ISDIR, alice.seq().fh(directory).op(OP_SEEK).fixed(anonymous()).u64(0).u32(0));
  alice.expect(NFS4ERR_ISDIR, alice.seq().fh(directory).op(OP_DEALLOCATE).fixed(anonymous()).u64(0).u64(1));
  const Stateid reader = alice.open_file("f", 1, 0, "reader").stateid;
  alice.expect(NFS4ERR_OPENMODE, alice.seq().fh(file.handle).op(OP_DEALLOCATE).fixed(reader).u64(0).u64(1));
}

TEST_F(Ranges, DeallocateMakesZerosAndHoles) {
  write(file, 0, std::string(10 * block, 'x'));
  const uint64_t used = alice.u64_attribute(file.handle, A::space_used);
  const uint64_t change = alice.u64_attribute(file.handle, A::change);
  alice.ok(range(OP_DEALLOCATE, block + 100, 5 * block));
  EXPECT_EQ(alice.u64_attribute(file.handle, A::size), 10 * block);
  EXPECT_EQ(alice.u64_attribute(file.handle, A::space_used), used - 4 * block);
  EXPECT_NE(alice.u64_attribute(file.handle, A::change), change);
  const std::string expected =
      std::string(block + 100, 'x') + std::string(5 * block, '\0') + std::string(4 * block - 100, 'x');
  EXPECT_EQ(alice.content(file.handle), expected);
  EXPECT_EQ(seek(0, hole), (Sought{false, 2 * block}));
  EXPECT_EQ(seek(2 * block, data), (Sought{false, 6 * block}));
  restart();
  EXPECT_EQ(alice.content(file.handle), expected);
  // Up to the end and beyond, within a block, and behind the end.
  alice.ok(range(OP_DEALLOCATE, 9 * block + 10, UINT64_MAX >> 1U));
  alice.ok(range(OP_DEALLOCATE, 10, 20));
  alice.ok(range(OP_DEALLOCATE, 100 * block, block));
  EXPECT_EQ(alice.u64_attribute(file.handle, A::size), 10 * block);
  const std::string now = alice.content(file.handle);
  EXPECT_EQ(now.substr(0, 40), std::string(10, 'x') + std::string(20, '\0') + std::string(10, 'x'));
  EXPECT_EQ(now.substr(9 * block), std::string(10, 'x') + std::string(block - 10, '\0'));
  alice.expect(NFS4ERR_INVAL, range(OP_DEALLOCATE, 0, 0));
  alice.expect(NFS4ERR_FBIG, range(OP_DEALLOCATE, UINT64_MAX, 2));
}

TEST_F(Ranges, AllocateMakesTheFileLongEnough) {
  alice.ok(range(OP_ALLOCATE, block, 10 * block));
  EXPECT_EQ(alice.u64_attribute(file.handle, A::size), 11 * block);
  const uint64_t change = alice.u64_attribute(file.handle, A::change);
  alice.ok(range(OP_ALLOCATE, 0, block));
  EXPECT_EQ(alice.u64_attribute(file.handle, A::size), 11 * block);
  EXPECT_EQ(alice.u64_attribute(file.handle, A::change), change);
  alice.expect(NFS4ERR_INVAL, range(OP_ALLOCATE, 0, 0));
  alice.expect(NFS4ERR_FBIG, range(OP_ALLOCATE, UINT64_MAX - 1, 5));
  alice.expect(NFS4ERR_NOSPC, range(OP_ALLOCATE, 0, INT64_MAX));
  EXPECT_EQ(alice.u64_attribute(file.handle, A::size), 11 * block);
}

TEST_F(Ranges, ReadPlusTellsHoles) {
  write(file, 2 * block, "two");
  write(file, 5 * block, std::string(block, 'f'));
  bool eof = false;
  const std::vector<PlusSegment> all = read_plus(0, 100 * block, eof);
  EXPECT_TRUE(eof);
  std::string two = "two";
  two.resize(block);
  EXPECT_EQ(all, (std::vector<PlusSegment>{{hole, 0, 2 * block, ""},
                                           {data, 2 * block, block, two},
                                           {hole, 3 * block, 2 * block, ""},
                                           {data, 5 * block, block, std::string(block, 'f')}}));
  const std::vector<PlusSegment> part = read_plus(block + 1, block, eof);
  EXPECT_FALSE(eof);
  EXPECT_EQ(part, (std::vector<PlusSegment>{{hole, block + 1, block - 1, ""}, {data, 2 * block, 1, "t"}}));
  EXPECT_TRUE(read_plus(6 * block, 10, eof).empty());
  EXPECT_TRUE(eof);
}

TEST_F(Ranges, IoAdviseFollowsOneHint) {
  const Reply reply = alice.ok(
      alice.seq().fh(file.handle).op(OP_IO_ADVISE).fixed(file.stateid).u64(0).u64(0).u32(1).u32(0x7ff));
  wire::XdrDecoder in = reply.in(OP_IO_ADVISE);
  EXPECT_EQ(in.get_u32(), 1U);
  EXPECT_EQ(in.get_u32(), 1U << 4U);
}

TEST_F(Ranges, ACloneSharesBlocksUntilOneIsChanged) {
  EXPECT_EQ(alice.u32_attribute(file.handle, A::clone_blksize), block);
  std::string text(20 * block + 77, 'c');
  write(file, 0, text);
  write(other, 0, std::string(block, 'o'));
  alice.ok(clone_ops(0, 0, 0));
  EXPECT_EQ(alice.content(other.handle), text);
  write(file, 5 * block, "changed");
  EXPECT_EQ(alice.content(other.handle), text);
  restart();
  EXPECT_EQ(alice.content(other.handle), text);
  alice.ok(alice.seq().root().remove("f"));
  EXPECT_EQ(alice.content(other.handle), text);
}

TEST_F(Ranges, ClonesOfParts) {
  write(file, 0, std::string(4 * block, 'a'));
  write(other, 0, std::string(6 * block, 'b'));
  alice.ok(clone_ops(block, 2 * block, 2 * block));
  EXPECT_EQ(alice.content(other.handle),
            std::string(2 * block, 'b') + std::string(2 * block, 'a') + std::string(2 * block, 'b'));
  for (const auto& [from, to, length] : std::vector<std::array<uint64_t, 3>>{
           {1, 0, block}, {0, 1, block}, {0, 0, 1}, {0, 0, 5 * block}, {5 * block, 0, 0}})
    alice.expect(NFS4ERR_INVAL, clone_ops(from, to, length));
  alice.expect(NFS4ERR_FBIG, clone_ops(0, UINT64_MAX - block + 1, block));
  // The end of the source, in the middle of the target.
  write(file, 4 * block, "end");
  alice.expect(NFS4ERR_INVAL, clone_ops(4 * block, 0, 3));
  alice.ok(clone_ops(4 * block, 6 * block, 3));
  EXPECT_EQ(alice.u64_attribute(other.handle, A::size), 6 * block + 3);
}

TEST_F(Ranges, CopiesOfAnyRange) {
  std::string text;
  for (int i = 0; text.size() < 5 * block; ++i) text += std::to_string(i);
  write(file, 0, text);
  EXPECT_EQ(copied(copy_ops(100, 7, 3 * block)), 3 * block);
  EXPECT_EQ(alice.content(other.handle), std::string(7, '\0') + text.substr(100, 3 * block));
  EXPECT_EQ(copied(copy_ops(0, block, 0)), text.size());
  EXPECT_EQ(alice.content(other.handle).substr(block), text);
  write(other, 0, std::string(10 * block, 'z'));
  EXPECT_EQ(copied(copy_ops(block + 3, 2 * block + 3, 2 * block)), 2 * block);
  EXPECT_EQ(alice.content(other.handle), std::string(2 * block + 3, 'z') + text.substr(block + 3, 2 * block) +
                                             std::string(6 * block - 3, 'z'));
  alice.expect(NFS4ERR_INVAL, copy_ops(0, 0, text.size() + 1));
  alice.expect(NFS4ERR_INVAL, copy_ops(text.size() + 1, 0, 0));
  alice.expect(NFS4ERR_NOTSUPP,
               two_files(OP_COPY).u64(0).u64(0).u64(1).u32(1).u32(1).u32(1).u32(1).text("another.example"));
}

TEST_F(Ranges, WithinOneFile) {
  write(file, 0, std::string(2 * block, 'a') + std::string(2 * block, 'b'));
  const auto in_one = [&](Opnum4 op, uint64_t from, uint64_t to, uint64_t length) {
    Ops ops = alice.seq().fh(file.handle).savefh().op(op).fixed(file.stateid).fixed(file.stateid);
    ops.u64(from).u64(to).u64(length);
    return op == OP_COPY ? ops.u32(1).u32(1).u32(0) : ops;
  };
  alice.expect(NFS4ERR_INVAL, in_one(OP_CLONE, 0, block, 2 * block));
  alice.expect(NFS4ERR_INVAL, in_one(OP_COPY, 0, 1, 2));
  alice.ok(in_one(OP_CLONE, 0, 2 * block, block));
  EXPECT_EQ(alice.content(file.handle), std::string(3 * block, 'a') + std::string(block, 'b'));
  EXPECT_EQ(copied(in_one(OP_COPY, 3 * block, 10, 5)), 5U);
  EXPECT_EQ(alice.content(file.handle).substr(0, 20), "aaaaaaaaaabbbbbaaaaa");
}

TEST_F(Ranges, TheRightsOfBothFiles) {
  alice.expect(NFS4ERR_NOFILEHANDLE, alice.seq()
                                         .fh(other.handle)
                                         .op(OP_CLONE)
                                         .fixed(file.stateid)
                                         .fixed(other.stateid)
                                         .u64(0)
                                         .u64(0)
                                         .u64(0));
  const Stateid reader = alice.open_file("g", 1, 0, "reader").stateid;
  alice.expect(NFS4ERR_OPENMODE, alice.seq()
                                     .fh(file.handle)
                                     .savefh()
                                     .fh(other.handle)
                                     .op(OP_CLONE)
                                     .fixed(file.stateid)
                                     .fixed(reader)
                                     .u64(0)
                                     .u64(0)
                                     .u64(0));
}

}  // namespace
}  // namespace perdure::conformance
