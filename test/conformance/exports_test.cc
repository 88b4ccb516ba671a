// Several exports, and the directories that lead to them (RFC 8881 §7).
#include <algorithm>

#include "conformance/conformance.h"

namespace perdure::conformance {
namespace {

using nfs4::Export;
using nfs4::Squash;

bool is_from(const wire::Address& peer, uint8_t last) {
  return peer.ip[3] == last;
}

Export make_export(const std::string& path, const std::string& volume) {
  Export e;
  e.path = path;
  e.volume = volume;
  e.squash = Squash::none;
  return e;
}

class ExportsTest : public Conformance {
 public:
  void SetUp() override {
    server.options.nfs.exports = {make_export("/home", "home"), make_export("/srv/data", "data"),
                                  make_export("/srv/data/deep/scratch", "scratch")};
    Conformance::SetUp();
    alice.connect();
  }
  void apply(const std::vector<Export>& exports) {
    bool applied = false;
    server.options.nfs.exports = exports;
    server.env.post([&] {
      server.vserver().set_exports(exports, [&](const Result<void>& r) {
        EXPECT_TRUE(r);
        applied = true;
      });
    });
    EXPECT_TRUE(server.pump_until([&] { return applied; }));
  }
  std::vector<std::string> list(Bytes directory) {
    const Reply reply = alice.ok(alice.seq().fh(directory).readdir(0, 0, 8192, 32768, {Attribute::fileid}));
    std::vector<std::string> names;
    for (const Listing::Entry& entry : listing_of(reply).entries) names.push_back(entry.name);
    std::ranges::sort(names);
    return names;
  }
  ByteVector root() { return handle_of(alice.ok(alice.seq().root().getfh())); }
  ByteVector fsid(Bytes handle) { return alice.attribute(handle, Attribute::fsid); }
  Client alice{*this, "alice"};
};

TEST_F(ExportsTest, AreFoundUnderTheirPaths) {
  const ByteVector home = alice.handle({"home"}), srv = alice.handle({"srv"}),
                   data = alice.handle({"srv", "data"}),
                   scratch = alice.handle({"srv", "data", "deep", "scratch"});
  EXPECT_EQ(list(root()), (std::vector<std::string>{"home", "srv"}));
  EXPECT_EQ(list(srv), std::vector<std::string>{"data"});
  EXPECT_EQ(list(data), std::vector<std::string>{"deep"});
  EXPECT_EQ(list(home), std::vector<std::string>{});
  EXPECT_EQ(fsid(root()), fsid(srv));
  EXPECT_NE(fsid(root()), fsid(home));
  EXPECT_NE(fsid(home), fsid(data));
  EXPECT_NE(fsid(data), fsid(scratch));
  // The way back.
  for (const auto& [below, above] : {std::pair(home, root()), {srv, root()}, {data, srv}}) {
    const Reply reply = alice.ok(alice.seq().fh(below).lookupp().getfh());
    EXPECT_EQ(handle_of(reply), above);
  }
  alice.expect(NFS4ERR_NOENT, alice.seq().root().lookupp());
  // Each is a world of its own.
  alice.ok(alice.seq().fh(home).mkdir("d"));
  alice.ok(alice.seq().fh(data).mkdir("d"));
  alice.expect(NFS4ERR_XDEV, alice.seq().fh(home).savefh().fh(data).rename("d", "e"));
  const Reply file = alice.ok(alice.seq().fh(home).open({.name = "f", .how = How::guarded}).getfh());
  alice.expect(NFS4ERR_XDEV, alice.seq().fh(handle_of(file)).savefh().fh(data).link("f"));
  restart();
  EXPECT_EQ(alice.handle({"srv", "data", "deep", "scratch"}), scratch);
  EXPECT_EQ(list(home), (std::vector<std::string>{"d", "f"}));
}

TEST_F(ExportsTest, ARootStandsWhereItsDirectoryIs) {
  const ByteVector home = alice.handle({"home"});
  const Reply reply = alice.ok(alice.seq().root().readdir(
      0, 0, 8192, 32768, {Attribute::fileid, Attribute::filehandle, Attribute::mounted_on_fileid}));
  const Listing listing = listing_of(reply);
  const auto entry = std::ranges::find(listing.entries, "home", &Listing::Entry::name);
  ASSERT_NE(entry, listing.entries.end());
  wire::XdrDecoder in(entry->values);
  const Bytes handle = in.get_opaque(128);
  EXPECT_TRUE(std::ranges::equal(handle, home));
  const uint64_t fileid = in.get_u64(), mounted_on = in.get_u64();
  EXPECT_EQ(fileid, alice.u64_attribute(home, Attribute::fileid));
  EXPECT_EQ(mounted_on, alice.u64_attribute(home, Attribute::mounted_on_fileid));
  EXPECT_NE(fileid, mounted_on);
}

TEST_F(ExportsTest, TheWayToThemCannotBeChanged) {
  const ByteVector srv = alice.handle({"srv"}), deep = alice.handle({"srv", "data", "deep"});
  alice.expect(NFS4ERR_ROFS, alice.seq().root().mkdir("d"));
  alice.expect(NFS4ERR_ROFS, alice.seq().fh(srv).remove("data"));
  alice.expect(NFS4ERR_ROFS, alice.seq().root().setattr(mode(0777)));
  alice.expect(NFS4ERR_ROFS, alice.seq().root().open({.name = "f", .how = How::guarded}));
  alice.expect(NFS4ERR_FILE_OPEN, alice.seq().fh(deep).remove("scratch"));
  alice.ok(alice.seq().fh(deep).mkdir("d"));
  alice.expect(NFS4ERR_FILE_OPEN, alice.seq().fh(deep).savefh().rename("scratch", "e"));
  alice.expect(NFS4ERR_FILE_OPEN, alice.seq().fh(deep).savefh().rename("d", "scratch"));
}

TEST_F(ExportsTest, ComeAndGoWhileClientsWork) {
  const ByteVector home = alice.handle({"home"}), data = alice.handle({"srv", "data"});
  const Reply opened = alice.ok(alice.seq().fh(home).open({.name = "f", .how = How::guarded}).getfh());
  const ByteVector file = handle_of(opened);
  const Stateid stateid = stateid_of(opened, OP_OPEN);
  apply({make_export("/new/place", "new"), make_export("/srv/data", "data")});
  EXPECT_EQ(list(root()), (std::vector<std::string>{"new", "srv"}));
  alice.expect(NFS4ERR_NOENT, alice.seq().root().lookup("home"));
  alice.expect(NFS4ERR_STALE, alice.seq().fh(file).write(stateid, 0, "x"));
  EXPECT_EQ(list(data), std::vector<std::string>{"deep"});
  const ByteVector place = alice.handle({"new", "place"});
  alice.ok(alice.seq().fh(place).mkdir("d"));
  restart();
  // What is back is as it was, opens included; also at another place.
  apply({make_export("/elsewhere", "home"), make_export("/srv/data", "data")});
  EXPECT_EQ(list(root()), (std::vector<std::string>{"elsewhere", "srv"}));
  EXPECT_EQ(alice.handle({"elsewhere"}), home);
  alice.ok(alice.seq().fh(file).write(stateid, 0, "x"));
  // One of them may be the root, with the others below.
  apply({make_export("/", "home"), make_export("/srv/data", "data")});
  EXPECT_EQ(root(), home);
  EXPECT_EQ(list(root()), (std::vector<std::string>{"f", "srv"}));
  EXPECT_EQ(alice.handle({"srv", "data"}), data);
  alice.ok(alice.seq().root().mkdir("d"));
}

TEST_F(ExportsTest, RulesAreThoseOfTheFirstThatAdmits) {
  Export one = make_export("/home", "home"), others = make_export("/home", "home"),
         data = make_export("/data", "data");
  one.admits = [](const wire::Address& peer) { return is_from(peer, 1); };
  others.read_only = true;
  others.squash = Squash::all;
  others.anonymous_uid = 4711;
  data.admits = one.admits;
  apply({one, others, data});
  server.peer.ip[3] = 1;
  const ByteVector home = alice.handle({"home"}), secret = alice.handle({"data"});
  alice.ok(alice.seq().fh(home).mkdir("d", mode(0700)).getfh());
  alice.ok(alice.seq().fh(secret).mkdir("d"));
  EXPECT_EQ(as_text(alice.attribute(alice.handle({"home", "d"}), Attribute::owner)), "0");
  server.peer.ip[3] = 2;
  alice.expect(NFS4ERR_ROFS, alice.seq().fh(home).mkdir("e"));
  alice.expect(NFS4ERR_ACCESS, alice.seq().fh(home).lookup("d").lookup("x"));
  alice.expect(NFS4ERR_ACCESS, alice.seq().fh(secret));
  alice.expect(NFS4ERR_ACCESS, alice.seq().root().lookup("data"));
  EXPECT_EQ(list(root()), (std::vector<std::string>{"data", "home"}));
  // The same within one COMPOUND, where the handles are of different exports.
  one.read_only = true;
  data.squash = Squash::all;
  data.anonymous_uid = 4712;
  apply({one, others, data});
  server.peer.ip[3] = 1;
  alice.expect(NFS4ERR_ROFS, alice.seq().fh(home).mkdir("e"));
  alice.expect(NFS4ERR_ACCESS, alice.seq().fh(home).lookup("d").fh(secret).mkdir("e"));
}

// A file system that is somewhere else (RFC 8881 §11.4).
TEST_F(ExportsTest, MayBeSomewhereElse) {
  const ByteVector data = alice.handle({"srv", "data"}), srv = alice.handle({"srv"});
  alice.ok(alice.seq().fh(data).mkdir("d"));
  std::vector<Export> exports = server.options.nfs.exports;
  exports[1].locations = {{"192.0.2.7", "/"}, {"files.example.org", "/a/b"}};
  apply(exports);
  for (int restarts = 0; restarts < 2; ++restarts) {
    // LOOKUP leads there, and nothing more is done.
    alice.ok(alice.seq().fh(srv).lookup("data"));
    alice.ok(alice.seq().fh(data));
    alice.expect(NFS4ERR_MOVED, alice.seq().fh(srv).lookup("data").getfh());
    alice.expect(NFS4ERR_MOVED, alice.seq().fh(data).getattr({Attribute::type, Attribute::rdattr_error}));
    alice.expect(NFS4ERR_MOVED, alice.seq().fh(data).lookup("d"));
    alice.expect(NFS4ERR_MOVED, alice.seq().fh(data).lookupp());
    alice.expect(NFS4ERR_MOVED, alice.seq().fh(data).mkdir("e"));
    const Reply reply = alice.ok(alice.seq().fh(srv).lookup("data").getattr(
        {Attribute::type, Attribute::fsid, Attribute::fs_locations}));
    wire::XdrDecoder in = reply.in(OP_GETATTR);
    EXPECT_EQ(in.get_u32(), 1U);
    EXPECT_EQ(in.get_u32(), 1U << 8U | 1U << 24U) << "fsid and fs_locations alone";
    in.get_u32(), in.get_u64(), in.get_u64();
    const auto path = [&in] {
      std::string text;
      for (uint32_t n = in.get_u32(); n > 0; --n) text += "/" + std::string(in.get_string(256));
      return text;
    };
    EXPECT_EQ(path(), "/srv/data");
    EXPECT_EQ(in.get_u32(), 2U);
    EXPECT_EQ(in.get_u32(), 1U);
    EXPECT_EQ(in.get_string(256), "192.0.2.7");
    EXPECT_EQ(path(), "");
    EXPECT_EQ(in.get_u32(), 1U);
    EXPECT_EQ(in.get_string(256), "files.example.org");
    EXPECT_EQ(path(), "/a/b");
    restart();
    server.options.nfs.exports = exports;
  }
  apply({make_export("/home", "home"), make_export("/srv/data", "data")});
  EXPECT_EQ(list(data), (std::vector<std::string>{"d", "deep"})) << "it is here again";
  EXPECT_EQ(alice.attribute(alice.handle({"home"}), Attribute::fs_locations).size(), 4U + 8 + 4);
}

// READDIR of the directory above (§11.4.2).
TEST_F(ExportsTest, WhatIsSomewhereElseIsListed) {
  std::vector<Export> exports = server.options.nfs.exports;
  exports[1].locations = {{"192.0.2.7", "/"}};
  apply(exports);
  const ByteVector srv = alice.handle({"srv"});
  alice.expect(NFS4ERR_MOVED, alice.seq().fh(srv).readdir(0, 0, 8192, 32768, {Attribute::fileid}));
  const Reply reply = alice.ok(alice.seq().fh(srv).readdir(
      0, 0, 8192, 32768, {Attribute::rdattr_error, Attribute::fileid, Attribute::mounted_on_fileid}));
  const Listing listing = listing_of(reply);
  ASSERT_EQ(listing.entries.size(), 1U);
  wire::XdrDecoder in(listing.entries[0].values);
  EXPECT_EQ(static_cast<Nfsstat4>(in.get_u32()), NFS4ERR_MOVED);
  in.get_u64();  // mounted_on_fileid; nothing else
  EXPECT_TRUE(in.finished());
}

}  // namespace
}  // namespace perdure::conformance
