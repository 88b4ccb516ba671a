// Extended attributes: GETXATTR, SETXATTR, LISTXATTRS and REMOVEXATTR (RFC 8276).
#include "conformance/conformance.h"

namespace perdure::conformance {
namespace {

using A = Attribute;

struct Change {
  bool atomic = false;
  uint64_t before = 0, after = 0;
};
Change change_of(const Reply& reply, Opnum4 operation) {
  wire::XdrDecoder in = reply.in(operation);
  Change change;
  change.atomic = in.get_bool();
  change.before = in.get_u64();
  change.after = in.get_u64();
  EXPECT_TRUE(in.finished());
  return change;
}

struct XattrNames {
  uint64_t cookie = 0;
  std::vector<std::string> names;
  bool eof = false;
};
XattrNames names_of(const Reply& reply) {
  wire::XdrDecoder in = reply.in(OP_LISTXATTRS);
  XattrNames listed;
  listed.cookie = in.get_u64();
  for (uint32_t n = in.get_count(UINT16_MAX, 4); n > 0; --n) listed.names.emplace_back(in.get_string(250));
  listed.eof = in.get_bool();
  EXPECT_TRUE(in.finished());
  return listed;
}

class Xattr : public WithClients {
 public:
  void SetUp() override {
    WithClients::SetUp();
    file = alice.create_file("f").handle;
    directory = alice.mkdir("d");
  }
  void set(Bytes handle, std::string_view name, std::string_view value) {
    alice.ok(alice.seq().fh(handle).setxattr(set_either, name, value));
  }
  std::string get(Bytes handle, std::string_view name) {
    return as_text(alice.ok(alice.seq().fh(handle).getxattr(name)).results.back().body);
  }
  XattrNames list(Bytes handle, uint64_t cookie, uint32_t maxcount) {
    const Reply reply = alice.ok(alice.seq().fh(handle).listxattrs(cookie, maxcount));
    EXPECT_LE(reply.results.back().body.size(), maxcount);
    return names_of(reply);
  }
  // The names from here on, each LISTXATTRS with so much room.
  std::vector<std::string> names(Bytes handle, uint32_t maxcount, uint64_t cookie = 0) {
    std::vector<std::string> all;
    for (int i = 0; i < 2000; ++i) {
      const XattrNames part = list(handle, cookie, maxcount);
      all.insert(all.end(), part.names.begin(), part.names.end());
      if (part.eof) return all;
      EXPECT_FALSE(part.names.empty());
      if (part.names.empty()) return all;
      cookie = part.cookie;
    }
    ADD_FAILURE() << "it has no end";
    return all;
  }
  ByteVector file, directory;
};

TEST_F(Xattr, OfFilesAndDirectories) {
  for (const ByteVector& handle : {file, directory, handle_of(alice.ok(alice.seq().root().getfh()))}) {
    alice.expect(NFS4ERR_NOXATTR, alice.seq().fh(handle).getxattr("a"));
    alice.expect(NFS4ERR_NOXATTR, alice.seq().fh(handle).removexattr("a"));
    EXPECT_TRUE(names(handle, 1000).empty());
    set(handle, "a", "value");
    set(handle, "b", "");
    EXPECT_EQ(get(handle, "a"), "value");
    EXPECT_EQ(get(handle, "b"), "");
    alice.expect(NFS4ERR_NOXATTR, alice.seq().fh(handle).getxattr("A"));
    EXPECT_EQ(std::multiset<std::string>({"a", "b"}), [&] {
      const std::vector<std::string> all = names(handle, 1000);
      return std::multiset<std::string>(all.begin(), all.end());
    }());
    alice.ok(alice.seq().fh(handle).removexattr("a"));
    alice.expect(NFS4ERR_NOXATTR, alice.seq().fh(handle).removexattr("a"));
    EXPECT_EQ(names(handle, 1000), std::vector<std::string>{"b"});
    alice.ok(alice.seq().fh(handle).removexattr("b"));
  }
}

TEST_F(Xattr, Options) {
  alice.expect(NFS4ERR_NOXATTR, alice.seq().fh(file).setxattr(set_replace, "a", "1"));
  alice.ok(alice.seq().fh(file).setxattr(set_create, "a", "1"));
  alice.expect(NFS4ERR_EXIST, alice.seq().fh(file).setxattr(set_create, "a", "2"));
  EXPECT_EQ(get(file, "a"), "1");
  alice.ok(alice.seq().fh(file).setxattr(set_replace, "a", "3"));
  EXPECT_EQ(get(file, "a"), "3");
  alice.ok(alice.seq().fh(file).setxattr(set_either, "a", "4").setxattr(set_either, "b", "5"));
  alice.expect(NFS4ERR_BADXDR, alice.seq().fh(file).op(OP_SETXATTR).u32(3).text("a").text("6"));
  EXPECT_EQ(get(file, "a"), "4");
}

TEST_F(Xattr, TheChangeIsTheObjects) {
  for (const ByteVector& handle : {file, directory}) {
    const uint64_t first = alice.u64_attribute(handle, A::change);
    const ByteVector modified = alice.attribute(handle, A::time_modify);
    const ByteVector metadata = alice.attribute(handle, A::time_metadata);
    pass(std::chrono::seconds(1));
    const Change set =
        change_of(alice.ok(alice.seq().fh(handle).setxattr(set_either, "a", "1")), OP_SETXATTR);
    EXPECT_TRUE(set.atomic);
    EXPECT_EQ(set.before, first);
    EXPECT_GT(set.after, first);
    EXPECT_EQ(alice.u64_attribute(handle, A::change), set.after);
    const Change removed = change_of(alice.ok(alice.seq().fh(handle).removexattr("a")), OP_REMOVEXATTR);
    EXPECT_EQ(removed.before, set.after);
    EXPECT_EQ(alice.u64_attribute(handle, A::change), removed.after);
    EXPECT_EQ(alice.attribute(handle, A::time_modify), modified);
    EXPECT_NE(alice.attribute(handle, A::time_metadata), metadata);
    alice.expect(NFS4ERR_NOXATTR, alice.seq().fh(handle).removexattr("a"));
    EXPECT_EQ(alice.u64_attribute(handle, A::change), removed.after);
  }
}

TEST_F(Xattr, AttributesOfAFileThatIsBeingWritten) {
  const Client::Opened f = alice.create_file("g");
  alice.ok(alice.seq().fh(f.handle).write(f.stateid, 0, std::string(10000, 'u'), 0));
  set(f.handle, "a", "1");
  alice.ok(alice.seq().fh(f.handle).write(f.stateid, 5000, std::string(10000, 'v'), 0));
  set(f.handle, "a", "2");
  EXPECT_EQ(alice.u64_attribute(f.handle, A::size), 15000U);
  EXPECT_EQ(alice.content(f.handle), std::string(5000, 'u') + std::string(10000, 'v'));
  EXPECT_EQ(get(f.handle, "a"), "2");
}

TEST_F(Xattr, NoNames) {
  const std::string long_name(250, 'n'), too_long(251, 'n');
  const std::pair<std::string, Nfsstat4> bad[] = {{"", NFS4ERR_INVAL},
                                                  {too_long, NFS4ERR_NAMETOOLONG},
                                                  {std::string(70000, 'n'), NFS4ERR_NAMETOOLONG},
                                                  {std::string("a\0b", 3), NFS4ERR_BADCHAR}};
  for (const auto& [name, status] : bad) {
    alice.expect(status, alice.seq().fh(file).getxattr(name));
    alice.expect(status, alice.seq().fh(file).setxattr(set_either, name, "x"));
    alice.expect(status, alice.seq().fh(file).removexattr(name));
  }
  for (const std::string& name : {long_name, std::string("a/b"), std::string("."), std::string("\xff\xfe")}) {
    set(file, name, name);
    EXPECT_EQ(get(file, name), name);
  }
  EXPECT_EQ(names(file, 10000).size(), 4U);
}

TEST_F(Xattr, TooMuch) {
  const std::string largest(65536, 'v');
  set(file, "a", largest);
  EXPECT_EQ(get(file, "a"), largest);
  alice.expect(NFS4ERR_XATTR2BIG, alice.seq().fh(file).setxattr(set_either, "a", largest + "v"));
  alice.expect(NFS4ERR_XATTR2BIG, alice.seq().fh(file).setxattr(set_create, "b", std::string(900'000, 'v')));
  set(file, "b", largest);
  set(file, "c", largest);
  alice.expect(NFS4ERR_NOSPC, alice.seq().fh(file).setxattr(set_either, "d", largest));
  EXPECT_EQ(names(file, 1000).size(), 3U);
  alice.ok(alice.seq().fh(file).removexattr("b"));
  set(file, "d", largest);
  restart();
  for (const char* name : {"a", "c", "d"}) EXPECT_EQ(get(file, name), largest);
}

TEST_F(Xattr, NotEveryTypeHasThem) {
  alice.ok(alice.seq().root().symlink("s", "f"));
  alice.ok(alice.seq().root().create(7, "p"));
  alice.ok(alice.seq().root().device(3, "b", 1, 2));
  for (const char* name : {"s", "p", "b"}) {
    const ByteVector handle = alice.handle({name});
    alice.expect(NFS4ERR_PERM, alice.seq().fh(handle).setxattr(set_either, "a", "1"));
    alice.expect(NFS4ERR_PERM, alice.seq().fh(handle).removexattr("a"));
    alice.expect(NFS4ERR_NOXATTR, alice.seq().fh(handle).getxattr("a"));
    EXPECT_TRUE(names(handle, 1000).empty());
    const Reply access = alice.ok(alice.seq().fh(handle).access(0x1c0));
    EXPECT_EQ(access.in(OP_ACCESS).get_u64(), 0U);
  }
}

TEST_F(Xattr, Permissions) {
  Client user(*this, "user", 1000);
  user.connect();
  set(file, "a", "1");
  using Allowed = uint64_t;  // supported << 32 | allowed
  constexpr uint64_t all = uint64_t{0x1c0} << 32U;
  const auto access = [&](Bytes handle) -> Allowed {
    return user.ok(user.seq().fh(handle).access(0x1c0)).in(OP_ACCESS).get_u64();
  };
  EXPECT_EQ(access(file), all | 0x140);
  EXPECT_EQ(as_text(user.ok(user.seq().fh(file).getxattr("a")).results.back().body), "1");
  user.ok(user.seq().fh(file).listxattrs(0, 1000));
  user.expect(NFS4ERR_ACCESS, user.seq().fh(file).setxattr(set_either, "a", "2"));
  user.expect(NFS4ERR_ACCESS, user.seq().fh(file).removexattr("a"));
  alice.ok(alice.seq().fh(file).setattr(mode(0602)));
  EXPECT_EQ(access(file), all | 0x80);
  user.expect(NFS4ERR_ACCESS, user.seq().fh(file).getxattr("a"));
  user.expect(NFS4ERR_ACCESS, user.seq().fh(file).getxattr("b"));
  user.expect(NFS4ERR_ACCESS, user.seq().fh(file).listxattrs(0, 1000));
  user.ok(user.seq().fh(file).setxattr(set_either, "a", "2"));
  user.ok(user.seq().fh(file).removexattr("a"));
  // In a sticky directory everybody writes, but the directory is its owner's.
  const ByteVector sticky = alice.mkdir("sticky", 01777);
  EXPECT_EQ(access(sticky), all | 0x140);
  user.expect(NFS4ERR_PERM, user.seq().fh(sticky).setxattr(set_either, "a", "1"));
  set(sticky, "a", "1");
  user.expect(NFS4ERR_PERM, user.seq().fh(sticky).removexattr("a"));
  user.ok(user.seq().fh(sticky).getxattr("a"));
  // In 4.1 nobody knows the bits.
  Client old(*this, "old", 0, 1);
  old.connect();
  EXPECT_EQ(old.ok(old.seq().fh(file).access(0x1ff)).in(OP_ACCESS).get_u32(), 0x2dU);
}

TEST_F(Xattr, OfWhatWasRemoved) {
  set(directory, "a", "1");
  alice.ok(alice.seq().root().remove("d"));
  alice.expect(NFS4ERR_STALE, alice.seq().fh(directory).getxattr("a"));
  alice.expect(NFS4ERR_STALE, alice.seq().root().mkdir("e").savefh().root().remove("e").restorefh().setxattr(
                                  set_either, "a", "1"));
  alice.expect(NFS4ERR_STALE,
               alice.seq().root().mkdir("e").savefh().root().remove("e").restorefh().listxattrs(0, 1000));
  // While it is open it has them, name or not.
  set(file, "a", "1");
  alice.ok(alice.seq().root().remove("f"));
  EXPECT_EQ(get(file, "a"), "1");
  set(file, "b", "2");
  restart();
  EXPECT_EQ(get(file, "a") + get(file, "b"), "12");
}

TEST_F(Xattr, GoWithARename) {
  set(file, "a", "1");
  const ByteVector other = alice.create_file("g").handle;
  set(other, "b", "2");
  alice.ok(alice.seq().root().savefh().fh(directory).rename("f", "moved"));
  EXPECT_EQ(get(file, "a"), "1");
  alice.ok(alice.seq().fh(directory).savefh().root().rename("moved", "g"));
  EXPECT_EQ(get(alice.handle({"g"}), "a"), "1");
  EXPECT_EQ(names(alice.handle({"g"}), 1000), std::vector<std::string>{"a"});
}

TEST_F(Xattr, ARestartKeepsThem) {
  std::map<std::string, std::string> values;
  for (int i = 0; i < 20; ++i)
    values["n" + std::to_string(i)] = std::string(static_cast<size_t>(i) * 100, 'v');
  for (const auto& [name, value] : values) set(directory, name, value);
  const uint64_t change = alice.u64_attribute(directory, A::change);
  for (int i = 0; i < 3; ++i) {
    if (i == 2) {  // from the store alone
      server.stop();
      server.store_options.needs_io_percent = 100;
      server.start();
    } else {
      restart();
    }
    EXPECT_EQ(alice.u64_attribute(directory, A::change), change);
    EXPECT_EQ(names(directory, 200).size(), values.size());
    for (const auto& [name, value] : values) EXPECT_EQ(get(directory, name), value);
  }
  alice.ok(alice.seq().root().remove("d"));
}

// -------------------------------------------------------------------------------------------- listings

TEST_F(Xattr, EachNameOnceWhateverTheRoom) {
  for (int i = 0; i < 40; ++i) set(file, "n" + std::to_string(i), "v");
  const std::vector<std::string> at_once = names(file, 100'000);
  EXPECT_EQ(std::set<std::string>(at_once.begin(), at_once.end()).size(), 40U);
  for (const uint32_t maxcount : {24U, 25U, 60U, 333U}) EXPECT_EQ(names(file, maxcount), at_once);
}

TEST_F(Xattr, RoomForAListing) {
  // Cookie, number of names, and whether that was all.
  for (const uint32_t maxcount : {0U, 15U})
    alice.expect(NFS4ERR_TOOSMALL, alice.seq().fh(file).listxattrs(0, maxcount));
  EXPECT_TRUE(list(file, 0, 16).eof);
  set(file, std::string(250, 'n'), "v");
  set(file, "a", "v");
  for (const uint32_t maxcount : {16U, 23U})
    alice.expect(NFS4ERR_TOOSMALL, alice.seq().fh(file).listxattrs(0, maxcount));
  EXPECT_EQ(names(file, 16 + 4 + 252).size(), 2U);
  EXPECT_EQ(list(file, 0, UINT32_MAX).names.size(), 2U);
}

TEST_F(Xattr, CookiesStayValid) {
  for (int i = 0; i < 30; ++i) set(file, "n" + std::to_string(i), "v");
  const std::vector<std::string> all = names(file, 100'000);
  const XattrNames first = list(file, 0, 100);
  ASSERT_FALSE(first.eof);
  const size_t n = first.names.size();
  restart();
  std::vector<std::string> rest(all.begin() + static_cast<ptrdiff_t>(n), all.end());
  EXPECT_EQ(names(file, 64, first.cookie), rest);
  // The one of the cookie goes, one before it and one behind.
  for (const size_t gone : {n - 1, size_t{0}, n}) alice.ok(alice.seq().fh(file).removexattr(all[gone]));
  rest.erase(rest.begin());
  EXPECT_EQ(names(file, 64, first.cookie), rest);
  for (const std::string& name : rest) alice.ok(alice.seq().fh(file).removexattr(name));
  EXPECT_TRUE(names(file, 64, first.cookie).empty());
  alice.expect(NFS4ERR_BAD_COOKIE, alice.seq().fh(file).listxattrs(1, 1000));
  alice.expect(NFS4ERR_BAD_COOKIE, alice.seq().fh(file).listxattrs(255, 1000));
  EXPECT_TRUE(names(file, 64, UINT64_MAX).empty());
}

TEST_F(Xattr, NewNamesDoNotDisturbAListing) {
  for (int i = 0; i < 20; ++i) set(file, "n" + std::to_string(i), "v");
  const std::vector<std::string> before = names(file, 100'000);
  std::multiset<std::string> seen;
  uint64_t cookie = 0;
  for (int i = 0; i < 200; ++i) {
    const XattrNames part = list(file, cookie, 50);
    seen.insert(part.names.begin(), part.names.end());
    if (part.eof) break;
    cookie = part.cookie;
    if (i < 30) set(file, "new" + std::to_string(i), "v");
  }
  for (const std::string& name : before) EXPECT_EQ(seen.count(name), 1U) << name;
  for (const std::string& name : seen) EXPECT_EQ(seen.count(name), 1U) << name;
}

// ------------------------------------------------------------------------------------- room for the reply

class XattrRoom : public Xattr {
 public:
  // A third client's, with replies of so many bytes.
  void connect(uint32_t response_max) {
    const Exchanged exchanged = exchanged_of(call(exchange_id(7, "small")));
    const ChannelAttributes fore{.response_max = response_max, .cached_max = response_max};
    session = created_of(call(create_session(exchanged.client, exchanged.seqid, 0, fore))).id;
  }
  Ops seq(bool cache_this = false) { return Ops().sequence(session, ++seqid, 0, 0, cache_this); }
  ByteVector session;
  uint32_t seqid = 0;
};

TEST_F(XattrRoom, WhatDoesNotFitChangesNothing) {
  set(file, "large", std::string(2000, 'v'));
  connect(1000);
  expect(NFS4ERR_REP_TOO_BIG, seq().fh(file).getxattr("large"));
  expect(NFS4ERR_REP_TOO_BIG_TO_CACHE, seq(true).fh(file).getxattr("large"));
  // Handles until there is room for nothing more.
  Ops ops = seq().fh(file);
  for (int i = 0; i < 60; ++i) ops.getfh();
  const Reply full = expect(NFS4ERR_REP_TOO_BIG, ops);
  const auto fitting = full.results.size() - 3;  // but for SEQUENCE, PUTFH and the one that does not fit
  for (const bool removes : {false, true}) {
    Ops change = seq().fh(file);
    for (size_t i = 0; i < fitting; ++i) change.getfh();
    if (removes)
      change.removexattr("large");
    else
      change.setxattr(set_create, "new", "1");
    const Reply reply = call(change);
    if (reply.status == NFS4_OK) ADD_FAILURE() << "the reply was not full";
    EXPECT_EQ(reply.status, NFS4ERR_REP_TOO_BIG);
  }
  EXPECT_EQ(names(file, 1000), std::vector<std::string>{"large"});
  for (int i = 0; i < 200; ++i) set(file, "n" + std::to_string(i), "v");
  const XattrNames part = names_of(call(seq().fh(file).listxattrs(0, 100'000)));
  EXPECT_FALSE(part.eof);
  EXPECT_GT(part.names.size(), 50U);
}

}  // namespace
}  // namespace perdure::conformance
