// CREATE (RFC 8881 §18.4), READLINK (§18.24), LINK (§18.9), REMOVE (§18.25), RENAME (§18.26).
#include "conformance/conformance.h"

namespace perdure::conformance {
namespace {

using A = Attribute;

constexpr uint32_t directory_type = 2, block_type = 3, character_type = 4, socket_type = 6, fifo_type = 7;

struct ChangeInfo {
  bool atomic = false;
  uint64_t before = 0, after = 0;
};
ChangeInfo change_of(wire::XdrDecoder in) {
  ChangeInfo change;
  change.atomic = in.get_bool();
  change.before = in.get_u64();
  change.after = in.get_u64();
  EXPECT_TRUE(in.ok());
  return change;
}

class Create : public WithClients {};

TEST_F(Create, EachType) {
  const struct {
    uint32_t type;
    Ops ops;
  } cases[] = {
      {directory_type, alice.seq().root().mkdir("2").getfh()},
      {block_type, alice.seq().root().device(block_type, "3", 8, 17).getfh()},
      {character_type, alice.seq().root().device(character_type, "4", 1, 3).getfh()},
      {5, alice.seq().root().symlink("5", "to/where").getfh()},
      {socket_type, alice.seq().root().create(socket_type, "6", mode(0600)).getfh()},
      {fifo_type, alice.seq().root().create(fifo_type, "7", mode(0644)).getfh()},
  };
  std::map<uint32_t, ByteVector> handles;
  for (const auto& c : cases) handles[c.type] = handle_of(alice.ok(c.ops));
  restart();
  for (const auto& [type, handle] : handles) {
    EXPECT_EQ(alice.u32_attribute(handle, A::type), type);
    EXPECT_EQ(alice.handle({std::to_string(type)}), handle);
  }
  const ByteVector device = alice.attribute(handles[block_type], A::rawdev);
  EXPECT_EQ(wire::XdrDecoder(device).get_u64(), (uint64_t{8} << 32U) + 17);
  EXPECT_EQ(as_text(alice.ok(alice.seq().fh(handles[5]).readlink()).results.back().body), "to/where");
  EXPECT_EQ(alice.u64_attribute(handles[5], A::size), 8U);
  EXPECT_EQ(alice.u32_attribute(handles[fifo_type], A::mode), 0644U);
}

TEST_F(Create, TheNewObjectIsCurrentAndTheChangeIsTold) {
  const uint64_t before = alice.u64_attribute(alice.handle({}), A::change);
  const Reply reply = alice.ok(alice.seq().root().mkdir("d").mkdir("e").getfh());
  EXPECT_EQ(alice.handle({"d", "e"}), handle_of(reply));
  const ChangeInfo change = change_of(wire::XdrDecoder(reply.results[2].body));
  EXPECT_TRUE(change.atomic);
  EXPECT_EQ(change.before, before);
  EXPECT_EQ(change.after, alice.u64_attribute(alice.handle({}), A::change));
}

TEST_F(Create, Attributes) {
  const Reply reply = alice.ok(alice.seq().root().mkdir("d", mode(01770).text(A::owner, "3")).getfh());
  const ByteVector d = handle_of(reply);
  EXPECT_EQ(alice.u32_attribute(d, A::mode), 01770U);
  EXPECT_EQ(as_text(alice.attribute(d, A::owner)), "3");
  const ByteVector masked =
      handle_of(alice.ok(alice.seq().root().mkdir("m", Fattr().mode_umask(0777, 027)).getfh()));
  EXPECT_EQ(alice.u32_attribute(masked, A::mode), 0750U);
  alice.expect(NFS4ERR_INVAL, alice.seq().root().mkdir("x", mode(0777).mode_umask(0777, 027)));
  alice.expect(NFS4ERR_INVAL, alice.seq().root().mkdir("x", file_size(1)));
  alice.expect(NFS4ERR_INVAL, alice.seq().root().mkdir("x", Fattr().u64(A::fileid, 1)));
  alice.expect(NFS4ERR_ATTRNOTSUPP, alice.seq().root().mkdir("x", Fattr().u32(static_cast<A>(14), 1)));
  alice.expect(NFS4ERR_BADOWNER, alice.seq().root().mkdir("x", Fattr().text(A::owner, "x")));
  alice.expect(NFS4ERR_NOENT, alice.seq().root().lookup("x"));
}

TEST_F(Create, Errors) {
  const Client::Opened f = alice.create_file("f");
  alice.mkdir("d");
  alice.ok(alice.seq().root().symlink("s", "d"));
  for (const char* name : {"f", "d", "s"}) alice.expect(NFS4ERR_EXIST, alice.seq().root().mkdir(name));
  alice.expect(NFS4ERR_NOTDIR, alice.seq().fh(f.handle).mkdir("x"));
  const Nfsstat4 on_link = alice.call(alice.seq().root().lookup("s").mkdir("x")).status;
  EXPECT_TRUE(on_link == NFS4ERR_NOTDIR || on_link == NFS4ERR_SYMLINK) << nfs4::name(on_link);
  for (const uint32_t type : {0U, 1U, 8U, 9U, 77U})
    alice.expect(NFS4ERR_BADTYPE, alice.seq().root().create(type, "x"));
  alice.expect(NFS4ERR_INVAL, alice.seq().root().symlink("x", ""));
  alice.expect(NFS4ERR_NAMETOOLONG, alice.seq().root().symlink("x", std::string(5000, 'a')));
  Client user(*this, "user", 1000);
  user.connect();
  user.expect(NFS4ERR_ACCESS, user.seq().root().mkdir("x"));
  alice.mkdir("open", 0777);
  user.ok(user.seq().root().lookup("open").mkdir("x"));
  user.expect(NFS4ERR_PERM, user.seq().root().lookup("open").device(block_type, "b", 1, 1));
  user.ok(user.seq().root().lookup("open").create(fifo_type, "p"));
}

TEST_F(Create, Readlink) {
  const Client::Opened f = alice.create_file("f");
  alice.expect(NFS4ERR_WRONG_TYPE, alice.seq().fh(f.handle).readlink());
  alice.expect(NFS4ERR_WRONG_TYPE, alice.seq().root().readlink());
  const std::string target = "\xff/.." + std::string(1000, 'x');
  alice.ok(alice.seq().root().symlink("s", target));
  EXPECT_EQ(as_text(alice.ok(alice.seq().root().lookup("s").readlink()).results.back().body), target);
}

class Link : public WithClients {};

TEST_F(Link, GivesAnotherName) {
  const Client::Opened f = alice.create_file("f");
  const ByteVector d = alice.mkdir("d");
  const Reply reply = alice.ok(alice.seq().fh(f.handle).savefh().fh(d).link("g").getfh());
  EXPECT_EQ(handle_of(reply), d) << "the current file handle stays";
  EXPECT_EQ(change_of(reply.in(OP_LINK)).after, alice.u64_attribute(d, A::change));
  EXPECT_EQ(alice.handle({"d", "g"}), f.handle);
  EXPECT_EQ(alice.u32_attribute(f.handle, A::numlinks), 2U);
  alice.ok(alice.seq().root().remove("f"));
  EXPECT_EQ(alice.u32_attribute(f.handle, A::numlinks), 1U);
  alice.ok(alice.seq().root().symlink("s", "x"));
  alice.ok(alice.seq().root().lookup("s").savefh().root().link("t"));
}

TEST_F(Link, Errors) {
  const Client::Opened f = alice.create_file("f");
  const ByteVector d = alice.mkdir("d");
  alice.expect(NFS4ERR_ISDIR, alice.seq().fh(d).savefh().root().link("x"));
  alice.expect(NFS4ERR_EXIST, alice.seq().fh(f.handle).savefh().root().link("d"));
  alice.expect(NFS4ERR_EXIST, alice.seq().fh(f.handle).savefh().root().link("f"));
  alice.expect(NFS4ERR_NOTDIR, alice.seq().fh(f.handle).savefh().link("x"));
  alice.ok(alice.seq().root().remove("f"));
  const Nfsstat4 gone = alice.call(alice.seq().fh(f.handle).savefh().root().link("x")).status;
  EXPECT_TRUE(gone == NFS4ERR_NOENT || gone == NFS4ERR_STALE) << nfs4::name(gone);
  Client user(*this, "user", 1000);
  user.connect();
  const Client::Opened g = alice.create_file("g");
  user.expect(NFS4ERR_ACCESS, user.seq().fh(g.handle).savefh().root().link("x"));
}

class Remove : public WithClients {};

TEST_F(Remove, EachType) {
  alice.ok(alice.seq().root().mkdir("d"));
  alice.ok(alice.seq().root().symlink("s", "nowhere"));
  alice.ok(alice.seq().root().create(fifo_type, "p"));
  alice.ok(alice.seq().root().device(character_type, "c", 1, 3));
  alice.ok(alice.seq().root().open({.name = "f", .how = How::guarded}).close(current_stateid()));
  for (const char* name : {"d", "s", "p", "c", "f"}) alice.ok(alice.seq().root().remove(name));
  EXPECT_TRUE(listing_of(alice.ok(alice.seq().root().readdir(0, 0, 1000, 1000))).entries.empty());
}

TEST_F(Remove, NamesGoAndHandlesBecomeStale) {
  for (const char* name : {"d", "s", "p"}) {
    const Ops make = name[0] == 'd'   ? alice.seq().root().mkdir(name).getfh()
                     : name[0] == 's' ? alice.seq().root().symlink(name, "t").getfh()
                                      : alice.seq().root().create(fifo_type, name).getfh();
    const ByteVector handle = handle_of(alice.ok(make));
    const Reply removed = alice.ok(alice.seq().root().remove(name));
    EXPECT_TRUE(change_of(removed.in(OP_REMOVE)).atomic);
    alice.expect(NFS4ERR_NOENT, alice.seq().root().lookup(name));
    alice.expect(NFS4ERR_NOENT, alice.seq().root().remove(name));
    alice.expect(NFS4ERR_STALE, alice.seq().fh(handle));
  }
}

TEST_F(Remove, Errors) {
  const ByteVector d = alice.mkdir("d");
  const Client::Opened f = alice.create_file("f");
  alice.ok(alice.seq().fh(d).mkdir("e"));
  alice.expect(NFS4ERR_NOTEMPTY, alice.seq().root().remove("d"));
  alice.expect(NFS4ERR_NOTDIR, alice.seq().fh(f.handle).remove("x"));
  alice.expect(NFS4ERR_NOENT, alice.seq().root().remove("x"));
  Client user(*this, "user", 1000);
  user.connect();
  user.expect(NFS4ERR_ACCESS, user.seq().root().remove("f"));
  alice.ok(alice.seq().fh(d).remove("e"));
  alice.ok(alice.seq().root().remove("d"));
}

TEST_F(Remove, StickyDirectories) {
  const ByteVector d = alice.mkdir("d", 01777);
  Client one(*this, "one", 1000), two(*this, "two", 2000);
  one.connect();
  two.connect();
  one.ok(one.seq().fh(d).mkdir("x"));
  one.ok(one.seq().fh(d).mkdir("y"));
  two.expect(NFS4ERR_ACCESS, two.seq().fh(d).remove("x"));
  two.expect(NFS4ERR_ACCESS, two.seq().fh(d).savefh().rename("x", "z"));
  two.ok(two.seq().fh(d).mkdir("mine"));
  two.expect(NFS4ERR_ACCESS, two.seq().fh(d).savefh().rename("mine", "x"));
  one.ok(one.seq().fh(d).remove("x"));
  alice.ok(alice.seq().fh(d).remove("y"));
}

TEST_F(Remove, OpenFilesLiveUntilTheirLastClose) {
  const Client::Opened f = alice.create_file("f");
  alice.ok(alice.seq().fh(f.handle).write(f.stateid, 0, "content"));
  alice.ok(alice.seq().root().remove("f"));
  alice.expect(NFS4ERR_NOENT, alice.seq().root().lookup("f"));
  restart();
  EXPECT_EQ(data_of(alice.ok(alice.seq().fh(f.handle).read(f.stateid, 0, 100))).data, "content");
  EXPECT_EQ(alice.u32_attribute(f.handle, A::numlinks), 0U);
  alice.ok(alice.seq().fh(f.handle).close(f.stateid));
  alice.expect(NFS4ERR_STALE, alice.seq().fh(f.handle));
}

class Rename : public WithClients {
 public:
  // Renames within the root.
  Nfsstat4 rename(std::string_view from, std::string_view to) {
    return alice.call(alice.seq().root().savefh().rename(from, to)).status;
  }
};

TEST_F(Rename, WithinAndBetweenDirectories) {
  const ByteVector a = alice.mkdir("a"), b = alice.mkdir("b");
  const ByteVector x = handle_of(alice.ok(alice.seq().fh(a).mkdir("x").getfh()));
  Reply reply = alice.ok(alice.seq().fh(a).savefh().rename("x", "y"));
  EXPECT_EQ(alice.handle({"a", "y"}), x);
  reply = alice.ok(alice.seq().fh(a).savefh().fh(b).rename("y", "z").getfh());
  EXPECT_EQ(handle_of(reply), b);
  wire::XdrDecoder in = reply.in(OP_RENAME);
  in.get_bool(), in.get_u64();
  EXPECT_EQ(in.get_u64(), alice.u64_attribute(a, A::change));
  in.get_bool(), in.get_u64();
  EXPECT_EQ(in.get_u64(), alice.u64_attribute(b, A::change));
  EXPECT_EQ(alice.handle({"b", "z"}), x);
  EXPECT_EQ(handle_of(alice.ok(alice.seq().fh(x).lookupp().getfh())), b);
  EXPECT_EQ(alice.u32_attribute(a, A::numlinks), 2U);
  EXPECT_EQ(alice.u32_attribute(b, A::numlinks), 3U);
}

// What a rename over something gives (RFC 8881 §18.26.3): 0 is success.
TEST_F(Rename, EachTypeOverEachOther) {
  enum Kind : uint8_t { file, empty, full, link, fifo };
  const auto make = [&](Kind kind, const std::string& name) {
    switch (kind) {
      case file: {
        const Client::Opened f = alice.create_file(name);
        alice.ok(alice.seq().fh(f.handle).close(f.stateid));
        break;
      }
      case empty:
        alice.mkdir(name);
        break;
      case full:
        alice.ok(alice.seq().root().mkdir(name).mkdir("in"));
        break;
      case link:
        alice.ok(alice.seq().root().symlink(name, "t"));
        break;
      case fifo:
        alice.ok(alice.seq().root().create(fifo_type, name));
        break;
    }
  };
  const auto is_directory = [](Kind kind) { return kind == empty || kind == full; };
  int n = 0;
  for (const Kind from : {file, empty, full, link, fifo}) {
    for (const Kind to : {file, empty, full, link, fifo}) {
      SCOPED_TRACE(std::to_string(from) + " over " + std::to_string(to));
      const std::string a = "a" + std::to_string(n), b = "b" + std::to_string(n++);
      make(from, a);
      make(to, b);
      const ByteVector source = alice.handle({a}), target = alice.handle({b});
      const bool allowed = is_directory(from) == is_directory(to) && to != full;
      EXPECT_EQ(rename(a, b), allowed ? NFS4_OK : NFS4ERR_EXIST);
      EXPECT_EQ(alice.handle({b}), allowed ? source : target);
      if (allowed) alice.expect(NFS4ERR_NOENT, alice.seq().root().lookup(a));
      if (allowed) alice.expect(NFS4ERR_STALE, alice.seq().fh(target));
    }
  }
}

TEST_F(Rename, OverItself) {
  const Client::Opened f = alice.create_file("f");
  alice.ok(alice.seq().fh(f.handle).savefh().root().link("g"));
  const uint64_t before = alice.u64_attribute(alice.handle({}), A::change);
  EXPECT_EQ(rename("f", "f"), NFS4_OK);
  EXPECT_EQ(rename("f", "g"), NFS4_OK);
  EXPECT_EQ(alice.handle({"f"}), f.handle);
  EXPECT_EQ(alice.handle({"g"}), f.handle);
  EXPECT_EQ(alice.u64_attribute(alice.handle({}), A::change), before);
}

TEST_F(Rename, Errors) {
  const ByteVector d = alice.mkdir("d");
  const Client::Opened f = alice.create_file("f");
  const ByteVector e = handle_of(alice.ok(alice.seq().fh(d).mkdir("e").getfh()));
  EXPECT_EQ(rename("nothing", "x"), NFS4ERR_NOENT);
  alice.expect(NFS4ERR_INVAL, alice.seq().root().savefh().fh(e).rename("d", "x"));
  alice.expect(NFS4ERR_INVAL, alice.seq().root().savefh().fh(d).rename("d", "x"));
  alice.expect(NFS4ERR_NOTDIR, alice.seq().fh(f.handle).savefh().root().rename("x", "y"));
  alice.expect(NFS4ERR_NOTDIR, alice.seq().root().savefh().fh(f.handle).rename("f", "y"));
  Client user(*this, "user", 1000);
  user.connect();
  user.expect(NFS4ERR_ACCESS, user.seq().root().savefh().rename("f", "g"));
  alice.ok(alice.seq().root().lookup("d").lookup("e"));
}

TEST_F(Rename, OverAnOpenFile) {
  const Client::Opened f = alice.create_file("f"), g = alice.create_file("g");
  alice.ok(alice.seq().fh(g.handle).write(g.stateid, 0, "old"));
  EXPECT_EQ(rename("f", "g"), NFS4_OK);
  EXPECT_EQ(data_of(alice.ok(alice.seq().fh(g.handle).read(g.stateid, 0, 100))).data, "old");
  alice.ok(alice.seq().fh(f.handle).write(f.stateid, 0, "new"));
  alice.ok(alice.seq().fh(g.handle).close(g.stateid));
  alice.expect(NFS4ERR_STALE, alice.seq().fh(g.handle));
  EXPECT_EQ(alice.content(alice.handle({"g"})), "new");
}

}  // namespace
}  // namespace perdure::conformance
