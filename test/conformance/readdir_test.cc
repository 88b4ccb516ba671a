// READDIR (RFC 8881 §18.23).
#include "conformance/conformance.h"

namespace perdure::conformance {
namespace {

using A = Attribute;

class Readdir : public WithClients {
 public:
  void SetUp() override {
    WithClients::SetUp();
    directory = alice.mkdir("d");
  }
  void fill(int entries) {
    for (int i = 0; i < entries; ++i) alice.ok(alice.seq().fh(directory).mkdir("n" + std::to_string(i)));
  }
  Listing list(uint64_t cookie, uint64_t verifier, uint32_t maxcount) {
    const Reply reply =
        alice.ok(alice.seq().fh(directory).readdir(cookie, verifier, maxcount, maxcount, {A::fileid}));
    EXPECT_LE(reply.results.back().body.size(), maxcount);
    return listing_of(reply);
  }
  // The names from here on, each READDIR with so much room.
  std::vector<std::string> names(uint32_t maxcount, uint64_t cookie = 0, uint64_t verifier = 0) {
    std::vector<std::string> all;
    for (int i = 0; i < 1000; ++i) {
      const Listing listing = list(cookie, verifier, maxcount);
      for (const Listing::Entry& entry : listing.entries) all.push_back(entry.name);
      if (listing.eof) return all;
      EXPECT_FALSE(listing.entries.empty());
      if (listing.entries.empty()) return all;
      cookie = listing.entries.back().cookie;
      verifier = listing.verifier;
    }
    ADD_FAILURE() << "it has no end";
    return all;
  }
  ByteVector directory;
};

TEST_F(Readdir, AnEmptyDirectory) {
  const Listing listing = list(0, 0, 1000);
  EXPECT_TRUE(listing.entries.empty());
  EXPECT_TRUE(listing.eof);
  alice.expect(NFS4ERR_TOOSMALL, alice.seq().fh(directory).readdir(0, 0, 0, 0));
  alice.expect(NFS4ERR_TOOSMALL, alice.seq().fh(directory).readdir(0, 0, 0, 15));
  alice.ok(alice.seq().fh(directory).readdir(0, 0, 0, 16));
}

TEST_F(Readdir, EachNameOnceWhateverTheRoom) {
  fill(40);
  const std::vector<std::string> at_once = names(100000);
  EXPECT_EQ(at_once.size(), 40U);
  EXPECT_EQ(std::set<std::string>(at_once.begin(), at_once.end()).size(), 40U);
  for (const uint32_t maxcount : {100U, 150U, 333U, 1000U}) EXPECT_EQ(names(maxcount), at_once);
}

// A directory that is not in memory: a run begins again for a window of entries, not for each of them.
TEST_F(Readdir, FromTheStore) {
  fill(1200);
  for (const bool entries_alone : {true, false}) {
    server.stop();
    server.store_options.needs_io_percent = 100;
    server.start();
    const uint64_t faults = server.vserver().processor().figures().faults;
    const std::initializer_list<A> in_entry{A::rdattr_error, A::type, A::fileid, A::filehandle};
    const std::initializer_list<A> in_inode{A::rdattr_error, A::type, A::fileid, A::mode};
    const Listing listing = listing_of(alice.ok(
        alice.seq().fh(directory).readdir(0, 0, 900'000, 900'000, entries_alone ? in_entry : in_inode)));
    EXPECT_EQ(listing.entries.size(), 1200U);
    EXPECT_LE(server.vserver().processor().figures().faults - faults, entries_alone ? 10U : 20U);
  }
}

TEST_F(Readdir, CookiesStayValid) {
  fill(30);
  const std::vector<std::string> all = names(100000);
  const Listing first = list(0, 0, 400);
  ASSERT_FALSE(first.eof);
  const size_t n = first.entries.size();
  const uint64_t cookie = first.entries.back().cookie;
  restart();
  std::vector<std::string> rest(all.begin() + static_cast<ptrdiff_t>(n), all.end());
  EXPECT_EQ(names(500, cookie, first.verifier), rest);
  // The entry of the cookie goes, and others before and behind it.
  alice.ok(alice.seq().fh(directory).remove(all[n - 1]));
  alice.ok(alice.seq().fh(directory).remove(all[0]));
  alice.ok(alice.seq().fh(directory).remove(all[n]));
  rest.erase(rest.begin());
  EXPECT_EQ(names(500, cookie, first.verifier), rest);
  for (const std::string& name : rest) alice.ok(alice.seq().fh(directory).remove(name));
  const Listing end = list(cookie, first.verifier, 500);
  EXPECT_TRUE(end.entries.empty());
  EXPECT_TRUE(end.eof);
}

TEST_F(Readdir, NeitherDotNorDotDot) {
  fill(3);
  for (const std::string& name : names(1000)) EXPECT_TRUE(name != "." && name != "..");
  for (const Listing::Entry& entry : list(0, 0, 1000).entries) EXPECT_GT(entry.cookie, 2U);
}

TEST_F(Readdir, BadCookiesAndVerifiers) {
  fill(3);
  alice.expect(NFS4ERR_BAD_COOKIE, alice.seq().fh(directory).readdir(1, 0, 1000, 1000));
  alice.expect(NFS4ERR_BAD_COOKIE, alice.seq().fh(directory).readdir(2, 0, 1000, 1000));
  const Listing listing = list(0, 0, 1000);
  alice.expect(NFS4ERR_NOT_SAME, alice.seq().fh(directory).readdir(listing.entries[0].cookie,
                                                                   listing.verifier + 1, 1000, 1000));
}

TEST_F(Readdir, NotRoomForOneEntry) {
  alice.ok(alice.seq().fh(directory).mkdir(std::string(255, 'x')));
  alice.expect(NFS4ERR_TOOSMALL, alice.seq().fh(directory).readdir(0, 0, 200, 200));
  alice.expect(NFS4ERR_TOOSMALL, alice.seq().fh(directory).readdir(0, 0, 0, 16));
  EXPECT_EQ(names(400).size(), 1U);
  // dircount is a hint: whatever it is, there is an entry.
  EXPECT_EQ(listing_of(alice.ok(alice.seq().fh(directory).readdir(0, 0, 0, 4096))).entries.size(), 1U);
}

TEST_F(Readdir, AttributesOfEntries) {
  const ByteVector e = handle_of(alice.ok(alice.seq().fh(directory).mkdir("e", mode(0711)).getfh()));
  const Listing listing = listing_of(alice.ok(
      alice.seq().fh(directory).readdir(0, 0, 1000, 1000, {A::type, A::filehandle, A::fileid, A::mode})));
  ASSERT_EQ(listing.entries.size(), 1U);
  wire::XdrDecoder in(listing.entries[0].values);
  EXPECT_EQ(in.get_u32(), 2U);
  const Bytes handle = in.get_opaque(128);
  EXPECT_EQ(ByteVector(handle.begin(), handle.end()), e);
  EXPECT_EQ(in.get_u64(), alice.u64_attribute(e, A::fileid));
  EXPECT_EQ(in.get_u32(), 0711U);
  EXPECT_TRUE(in.finished());
  const Listing none = listing_of(alice.ok(alice.seq().fh(directory).readdir(0, 0, 1000, 1000)));
  EXPECT_TRUE(none.entries[0].values.empty());
}

TEST_F(Readdir, Errors) {
  const Client::Opened f = alice.create_file("f");
  alice.expect(NFS4ERR_NOTDIR, alice.seq().fh(f.handle).readdir(0, 0, 1000, 1000));
  alice.ok(alice.seq().root().symlink("s", "d"));
  const Nfsstat4 on_link = alice.call(alice.seq().root().lookup("s").readdir(0, 0, 1000, 1000)).status;
  EXPECT_TRUE(on_link == NFS4ERR_NOTDIR || on_link == NFS4ERR_SYMLINK) << nfs4::name(on_link);
  alice.ok(alice.seq().fh(directory).setattr(mode(0711)));
  Client user(*this, "user", 1000);
  user.connect();
  user.expect(NFS4ERR_ACCESS, user.seq().fh(directory).readdir(0, 0, 1000, 1000));
}

TEST_F(Readdir, NewNamesDoNotDisturbAListing) {
  fill(20);
  const std::vector<std::string> before = names(100000);
  std::vector<std::string> seen;
  uint64_t cookie = 0;
  for (int i = 0;; ++i) {
    const Listing listing = list(cookie, 0, 150);
    for (const Listing::Entry& entry : listing.entries) seen.push_back(entry.name);
    if (listing.eof || i > 200) break;
    cookie = listing.entries.back().cookie;
    if (i < 30) alice.ok(alice.seq().fh(directory).mkdir("new" + std::to_string(i)));
  }
  std::multiset<std::string> counted(seen.begin(), seen.end());
  for (const std::string& name : before) EXPECT_EQ(counted.count(name), 1U) << name;
  for (const std::string& name : seen) EXPECT_EQ(counted.count(name), 1U) << name;
}

}  // namespace
}  // namespace perdure::conformance
