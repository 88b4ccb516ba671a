// GETATTR (RFC 8881 §18.7), SETATTR (§18.30), VERIFY (§18.31), NVERIFY (§18.15) and the attributes (§5).
#include "conformance/conformance.h"

namespace perdure::conformance {
namespace {

using A = Attribute;

class Attributes : public WithClients {
 public:
  void SetUp() override {
    WithClients::SetUp();
    file = alice.create_file("f");
    directory = alice.mkdir("d");
    user.connect();
  }
  std::vector<uint32_t> bits(Bytes value) {
    wire::XdrDecoder in(value);
    std::vector<uint32_t> words(in.get_count(8, 4));
    for (uint32_t& word : words) word = in.get_u32();
    return words;
  }
  Client::Opened file;
  ByteVector directory;
  Client user{*this, "user", 1000};
};

bool has(const std::vector<uint32_t>& words, A a) {
  const auto n = static_cast<uint32_t>(a);
  return n / 32 < words.size() && (words[n / 32] >> (n % 32) & 1U) != 0;
}

TEST_F(Attributes, TheRequiredOnesAreSupported) {
  const std::vector<uint32_t> words = bits(alice.attribute(file.handle, A::supported_attrs));
  for (const A a : {A::supported_attrs,
                    A::type,
                    A::fh_expire_type,
                    A::change,
                    A::size,
                    A::link_support,
                    A::symlink_support,
                    A::named_attr,
                    A::fsid,
                    A::unique_handles,
                    A::lease_time,
                    A::rdattr_error,
                    A::filehandle,
                    A::suppattr_exclcreat,
                    A::mode,
                    A::owner,
                    A::owner_group,
                    A::numlinks,
                    A::fileid,
                    A::time_access,
                    A::time_modify,
                    A::time_metadata,
                    A::space_used,
                    A::quota_avail_hard,
                    A::quota_avail_soft,
                    A::quota_used,
                    A::mounted_on_fileid,
                    A::maxname,
                    A::maxread,
                    A::maxwrite,
                    A::maxfilesize})
    EXPECT_TRUE(has(words, a)) << static_cast<uint32_t>(a);
}

// Asking for everything gives what is supported, and of it what can be read.
TEST_F(Attributes, WhatIsNotSupportedIsLeftOut) {
  const std::vector<uint32_t> supported = bits(alice.attribute(file.handle, A::supported_attrs));
  const uint32_t without_set_times = ~((1U << (48 - 32)) | (1U << (54 - 32)));
  const uint32_t without_set_masked = ~(1U << (74 - 64));
  for (const ByteVector& handle : {file.handle, directory}) {
    const Reply reply = alice.ok(alice.seq()
                                     .fh(handle)
                                     .op(OP_GETATTR)
                                     .u32(3)
                                     .u32(UINT32_MAX)
                                     .u32(without_set_times)
                                     .u32(without_set_masked));
    wire::XdrDecoder in = reply.in(OP_GETATTR);
    const std::vector<uint32_t> given = bits(in.rest());
    ASSERT_EQ(given.size(), supported.size());
    for (size_t i = 0; i < given.size(); ++i) EXPECT_EQ(given[i] & ~supported[i], 0U);
    EXPECT_EQ(given[0], supported[0]);
  }
  // Words beyond what is known, and none at all.
  alice.ok(alice.seq().fh(file.handle).op(OP_GETATTR).u32(5).u32(2).u32(0).u32(0).u32(0).u32(1U << 31U));
  const Reply none = alice.ok(alice.seq().fh(file.handle).getattr({}));
  EXPECT_EQ(none.in(OP_GETATTR).remaining(), 8U);
}

TEST_F(Attributes, WhatCanOnlyBeSetCannotBeAskedFor) {
  alice.expect(NFS4ERR_INVAL, alice.seq().fh(file.handle).getattr({A::time_access_set}));
  alice.expect(NFS4ERR_INVAL, alice.seq().fh(file.handle).getattr({A::time_modify_set}));
  alice.expect(NFS4ERR_INVAL, alice.seq().root().readdir(0, 0, 1000, 1000, {A::time_modify_set}));
}

TEST_F(Attributes, MinorVersionOneHasNoAttributesOfTwo) {
  Client old(*this, "old", 0, 1);
  old.connect();
  const std::vector<uint32_t> then = bits(old.attribute(file.handle, A::supported_attrs)),
                              now = bits(alice.attribute(file.handle, A::supported_attrs));
  for (const A a : {A::change_attr_type, A::mode_umask, A::xattr_support, A::open_arguments}) {
    EXPECT_FALSE(has(then, a)) << static_cast<uint32_t>(a);
    EXPECT_TRUE(has(now, a)) << static_cast<uint32_t>(a);
    EXPECT_TRUE(old.attribute(file.handle, a).empty()) << static_cast<uint32_t>(a);
  }
  EXPECT_EQ(alice.u32_attribute(file.handle, A::xattr_support), 1U);
  alice.expect(NFS4ERR_INVAL, alice.seq().fh(file.handle).setattr(Fattr().u32(A::xattr_support, 1)));
}

// RFC 9754 §3: five bitmaps.
TEST_F(Attributes, WhatOpenUnderstands) {
  const ByteVector value = alice.attribute(file.handle, A::open_arguments);
  wire::XdrDecoder in(value);
  std::vector<uint32_t> words;
  for (int i = 0; i < 5; ++i) {
    ASSERT_EQ(in.get_u32(), 1U);
    words.push_back(in.get_u32());
  }
  EXPECT_TRUE(in.ok() && in.remaining() == 0);
  EXPECT_EQ(words, (std::vector<uint32_t>{0xe, 0xf, 0x38, 0x37, 0xf}));
  alice.expect(NFS4ERR_INVAL, alice.seq().fh(file.handle).setattr(Fattr().u32(A::open_arguments, 1)));
}

TEST_F(Attributes, QuotaIsWhatIsLeft) {
  const auto value = [&](A a) { return alice.u64_attribute(file.handle, a); };
  const uint64_t used = value(A::quota_used);
  EXPECT_EQ(value(A::quota_avail_hard), value(A::space_avail));
  EXPECT_EQ(value(A::quota_avail_soft), value(A::quota_avail_hard));
  EXPECT_EQ(used + value(A::quota_avail_hard), value(A::space_total));
  alice.ok(alice.seq().fh(file.handle).write(file.stateid, 0, std::string(65536, 'x'), 2));
  EXPECT_GE(value(A::quota_used), used + 65536);
}

TEST_F(Attributes, ValuesOfANewFile) {
  EXPECT_EQ(alice.u32_attribute(file.handle, A::type), 1U);
  EXPECT_EQ(alice.u32_attribute(directory, A::type), 2U);
  EXPECT_EQ(alice.u64_attribute(file.handle, A::size), 0U);
  EXPECT_EQ(alice.u32_attribute(file.handle, A::mode), 0644U);
  EXPECT_EQ(alice.u32_attribute(file.handle, A::numlinks), 1U);
  EXPECT_EQ(alice.u32_attribute(directory, A::numlinks), 2U);
  EXPECT_EQ(as_text(alice.attribute(file.handle, A::owner)), "0");
  EXPECT_EQ(as_text(alice.attribute(file.handle, A::owner_group)), "0");
  EXPECT_EQ(as_text(alice.attribute(file.handle, A::filehandle)),
            std::string(reinterpret_cast<const char*>(file.handle.data()), file.handle.size()));
  EXPECT_EQ(alice.u32_attribute(file.handle, A::fh_expire_type), 0U);
  EXPECT_EQ(alice.u32_attribute(file.handle, A::maxname), 255U);
  EXPECT_EQ(alice.u64_attribute(file.handle, A::maxfilesize), uint64_t{INT64_MAX});
  EXPECT_EQ(alice.u32_attribute(file.handle, A::unique_handles), 1U);
  EXPECT_EQ(alice.u64_attribute(file.handle, A::fileid),
            alice.u64_attribute(file.handle, A::mounted_on_fileid));
  EXPECT_NE(alice.u64_attribute(file.handle, A::fileid), alice.u64_attribute(directory, A::fileid));
  EXPECT_EQ(alice.attribute(file.handle, A::fsid), alice.attribute(directory, A::fsid));
  EXPECT_EQ(alice.u32_attribute(file.handle, A::rdattr_error), 0U);
  EXPECT_GT(alice.u32_attribute(file.handle, A::lease_time), 0U);
  EXPECT_EQ(alice.attribute(file.handle, A::time_create), alice.attribute(file.handle, A::time_modify));
}

TEST_F(Attributes, TheChangeAttributeChangesWithEachChange) {
  std::set<uint64_t> seen;
  const auto changed = [&](Bytes handle) {
    return seen.insert(alice.u64_attribute(handle, A::change)).second;
  };
  EXPECT_TRUE(changed(file.handle));
  EXPECT_FALSE(changed(file.handle));
  alice.ok(alice.seq().fh(file.handle).setattr(mode(0600)));
  EXPECT_TRUE(changed(file.handle));
  alice.ok(alice.seq().fh(file.handle).write(file.stateid, 0, "x"));
  EXPECT_TRUE(changed(file.handle));
  alice.ok(alice.seq().fh(file.handle).write(file.stateid, 0, "y", 0));
  EXPECT_TRUE(changed(file.handle));
  alice.ok(alice.seq().fh(file.handle).savefh().root().link("g"));
  EXPECT_TRUE(changed(file.handle));
  EXPECT_TRUE(changed(directory));
  alice.ok(alice.seq().fh(directory).mkdir("x"));
  EXPECT_TRUE(changed(directory));
  alice.ok(alice.seq().fh(directory).remove("x"));
  EXPECT_TRUE(changed(directory));
  restart();
  alice.ok(alice.seq().fh(directory).mkdir("x"));
  EXPECT_TRUE(changed(directory));
}

TEST_F(Attributes, SetattrOfEachAttribute) {
  const Fattr all = Fattr()
                        .u32(A::mode, 04750)
                        .text(A::owner, "7")
                        .text(A::owner_group, "8")
                        .u64(A::size, 1234)
                        .client_time(A::time_access_set, 1000, 5)
                        .client_time(A::time_modify_set, -3, 999999999);
  const Reply reply = alice.ok(alice.seq().fh(file.handle).setattr(all, file.stateid));
  const std::vector<uint32_t> set = bits(reply.in(OP_SETATTR).rest());
  for (const A a : {A::mode, A::owner, A::owner_group, A::size, A::time_access_set, A::time_modify_set})
    EXPECT_TRUE(has(set, a));
  restart();
  EXPECT_EQ(alice.u32_attribute(file.handle, A::mode), 04750U);
  EXPECT_EQ(as_text(alice.attribute(file.handle, A::owner)), "7");
  EXPECT_EQ(as_text(alice.attribute(file.handle, A::owner_group)), "8");
  EXPECT_EQ(alice.u64_attribute(file.handle, A::size), 1234U);
  const ByteVector accessed = alice.attribute(file.handle, A::time_access);
  wire::XdrDecoder in(accessed);
  EXPECT_EQ(in.get_i64(), 1000);
  EXPECT_EQ(in.get_u32(), 5U);
  const ByteVector modified = alice.attribute(file.handle, A::time_modify);
  wire::XdrDecoder in_modified(modified);
  EXPECT_EQ(in_modified.get_i64(), -3);
  EXPECT_EQ(in_modified.get_u32(), 999999999U);
  alice.ok(alice.seq().fh(file.handle).setattr(Fattr().server_time(A::time_modify_set)));
  EXPECT_NE(alice.attribute(file.handle, A::time_modify), modified);
}

TEST_F(Attributes, SetattrOfNothing) {
  const uint64_t before = alice.u64_attribute(file.handle, A::change);
  alice.ok(alice.seq().fh(file.handle).setattr({}));
  EXPECT_EQ(alice.u64_attribute(file.handle, A::change), before);
}

TEST_F(Attributes, SetattrOfWhatCannotBeSet) {
  const auto refused = [&](Nfsstat4 status, const Fattr& attributes) {
    const Reply reply = alice.expect(status, alice.seq().fh(file.handle).setattr(attributes, file.stateid));
    EXPECT_EQ(reply.in(OP_SETATTR).get_u32(), 0U) << "nothing was set";
  };
  refused(NFS4ERR_INVAL, Fattr().u32(A::type, 1));
  refused(NFS4ERR_INVAL, Fattr().u64(A::change, 1));
  refused(NFS4ERR_INVAL, Fattr().u64(A::fileid, 1));
  refused(NFS4ERR_INVAL, Fattr().u32(A::numlinks, 1));
  refused(NFS4ERR_INVAL, Fattr().u32(A::lease_time, 1));
  refused(NFS4ERR_INVAL, Fattr().u32(A::rdattr_error, 1));
  refused(NFS4ERR_INVAL, mode(010000));
  refused(NFS4ERR_INVAL, Fattr().client_time(A::time_modify_set, 0, 1000000000));
  // RFC 8275 §5: only for creation.
  refused(NFS4ERR_INVAL, Fattr().mode_umask(0666, 022));
  refused(NFS4ERR_ATTRNOTSUPP, Fattr().u32(static_cast<A>(14), 1));   // archive
  refused(NFS4ERR_ATTRNOTSUPP, Fattr().u32(static_cast<A>(200), 1));  // nothing has this number
  refused(NFS4ERR_BADOWNER, Fattr().text(A::owner, "somebody@example.org"));
  refused(NFS4ERR_BADOWNER, Fattr().text(A::owner_group, "-1"));
  refused(NFS4ERR_BADOWNER, Fattr().text(A::owner, "4294967296"));
  refused(NFS4ERR_INVAL, Fattr().text(A::owner, ""));
  refused(NFS4ERR_BADXDR, Fattr().raw(A::mode, ByteVector(8)));
  refused(NFS4ERR_BADXDR, Fattr().raw(A::size, ByteVector(4)));
  refused(NFS4ERR_BADXDR, Fattr().u32(A::time_modify_set, 2));
  refused(NFS4ERR_FBIG, file_size(uint64_t{1} << 63U));
  // One that cannot be set keeps the others from being set.
  refused(NFS4ERR_BADOWNER, mode(0600).text(A::owner, "x"));
  EXPECT_EQ(alice.u32_attribute(file.handle, A::mode), 0644U);
}

TEST_F(Attributes, SetattrOfTheSizeNeedsARight) {
  alice.ok(alice.seq().fh(file.handle).write(file.stateid, 0, "0123456789"));
  alice.ok(alice.seq().fh(file.handle).setattr(file_size(5), file.stateid));
  EXPECT_EQ(alice.content(file.handle), "01234");
  alice.ok(alice.seq().fh(file.handle).setattr(file_size(8)));
  EXPECT_EQ(alice.content(file.handle), std::string("01234\0\0\0", 8));
  const Client::Opened reader = alice.open_file("f", 1, 0, "reader");
  alice.expect(NFS4ERR_OPENMODE, alice.seq().fh(file.handle).setattr(file_size(1), reader.stateid));
  alice.expect(NFS4ERR_BAD_STATEID,
               alice.seq().fh(file.handle).setattr(file_size(1), with_seqid(file.stateid, 99)));
  alice.expect(NFS4ERR_BAD_STATEID, alice.seq().fh(directory).setattr(file_size(1), file.stateid));
  bob.expect(NFS4ERR_BAD_STATEID, bob.seq().fh(file.handle).setattr(file_size(1), file.stateid));
  user.expect(NFS4ERR_ACCESS, user.seq().fh(file.handle).setattr(file_size(1)));
  // RFC 8881 §15.2: NFS4ERR_ISDIR is none of SETATTR's errors (in NFSv4.0 it was).
  alice.expect(NFS4ERR_INVAL, alice.seq().fh(directory).setattr(file_size(1)));
  alice.ok(alice.seq().fh(file.handle).close(file.stateid));
  bob.open_file("f", 1, 2, "denier");
  bob.expect(NFS4ERR_LOCKED, bob.seq().fh(file.handle).setattr(file_size(1)));
}

TEST_F(Attributes, WhoMaySetWhat) {
  const auto refused = [&](Nfsstat4 status, const Fattr& attributes) {
    user.expect(status, user.seq().fh(file.handle).setattr(attributes));
  };
  refused(NFS4ERR_PERM, mode(0777));
  refused(NFS4ERR_PERM, Fattr().text(A::owner, "1000"));
  refused(NFS4ERR_PERM, Fattr().text(A::owner_group, "1000"));
  refused(NFS4ERR_PERM, Fattr().client_time(A::time_modify_set, 1, 1));
  refused(NFS4ERR_ACCESS, Fattr().server_time(A::time_modify_set));
  alice.ok(alice.seq().fh(file.handle).setattr(mode(0666)));
  refused(NFS4_OK, Fattr().server_time(A::time_modify_set));
  refused(NFS4ERR_PERM, Fattr().client_time(A::time_modify_set, 1, 1));
  alice.ok(alice.seq().fh(file.handle).setattr(Fattr().text(A::owner, "1000")));
  refused(NFS4_OK, mode(0700));
  refused(NFS4_OK, Fattr().text(A::owner_group, "1000"));
  refused(NFS4ERR_PERM, Fattr().text(A::owner_group, "5"));
  refused(NFS4ERR_PERM, Fattr().text(A::owner, "1001"));
  refused(NFS4_OK, Fattr().client_time(A::time_modify_set, 1, 1));
}

TEST_F(Attributes, WritesAndNewOwnersClearSetId) {
  alice.ok(
      alice.seq().fh(file.handle).setattr(mode(06777).text(A::owner, "1000").text(A::owner_group, "1000")));
  alice.ok(alice.seq().fh(file.handle).setattr(mode(06777)));
  user.ok(user.seq().fh(file.handle).write(anonymous(), 0, "x"));
  EXPECT_EQ(alice.u32_attribute(file.handle, A::mode), 0777U);
}

TEST_F(Attributes, VerifyAndNverify) {
  const Fattr same = mode(0644).u64(A::size, 0), other = mode(0600).u64(A::size, 0);
  const auto on = [&] { return alice.seq().fh(file.handle); };
  alice.ok(on().verify(same).getfh());
  alice.expect(NFS4ERR_NOT_SAME, on().verify(other).getfh());
  alice.expect(NFS4ERR_SAME, on().nverify(same).getfh());
  alice.ok(on().nverify(other).getfh());
  alice.ok(on().verify(Fattr().u32(A::type, 1).text(A::owner, "0")));
  alice.ok(on().verify({}));
  alice.expect(NFS4ERR_SAME, on().nverify({}));
  const Fattr later = Fattr().u64(A::change, alice.u64_attribute(file.handle, A::change));
  alice.ok(on().verify(later));
  alice.ok(on().setattr(mode(0)));
  alice.expect(NFS4ERR_NOT_SAME, on().verify(later));
}

TEST_F(Attributes, VerifyOfWhatCannotBeCompared) {
  const Fattr refused[] = {Fattr().u32(A::rdattr_error, 0), Fattr().server_time(A::time_access_set),
                           Fattr().server_time(A::time_modify_set)};
  for (const Fattr& attributes : refused) {
    alice.expect(NFS4ERR_INVAL, alice.seq().fh(file.handle).verify(attributes));
    alice.expect(NFS4ERR_INVAL, alice.seq().fh(file.handle).nverify(attributes));
  }
  alice.expect(NFS4ERR_ATTRNOTSUPP, alice.seq().fh(file.handle).verify(Fattr().u32(static_cast<A>(14), 1)));
  alice.expect(NFS4ERR_ATTRNOTSUPP, alice.seq().fh(file.handle).nverify(Fattr().u32(static_cast<A>(150), 1)));
}

}  // namespace
}  // namespace perdure::conformance
