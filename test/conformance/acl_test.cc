// Access control lists: RFC 8881 §6. The attributes acl, dacl, aclsupport and mode_set_masked, inheritance,
// and what a list means for each operation.
#include "conformance/conformance.h"

namespace perdure::conformance {
namespace {

using A = Attribute;

constexpr uint32_t allow = 0, deny = 1;
constexpr uint32_t read = 0x1, write = 0x2, append = 0x4, execute = 0x20, delete_child = 0x40,
                   read_attributes = 0x80, write_attributes = 0x100, remove_it = 0x10000, read_acl = 0x20000,
                   write_acl = 0x40000, write_owner = 0x80000;
constexpr uint32_t to_files = 1, to_directories = 2, no_further = 4, inherit_only = 8, a_group = 0x40,
                   inherited = 0x80;

struct Ace {
  uint32_t type = allow, flags = 0, mask = 0;
  std::string who;
  bool operator==(const Ace&) const = default;
};
using Aces = std::vector<Ace>;

void PrintTo(const Ace& ace, std::ostream* out) {
  *out << ace.type << ':' << std::hex << ace.flags << ':' << ace.who << ':' << ace.mask;
}

ByteVector encoded(const Aces& aces, std::optional<uint32_t> list_flags = {}) {
  wire::XdrEncoder out;
  if (list_flags) out.put_u32(*list_flags);
  out.put_u32(static_cast<uint32_t>(aces.size()));
  for (const Ace& ace : aces) {
    out.put_u32(ace.type), out.put_u32(ace.flags), out.put_u32(ace.mask);
    out.put_string(ace.who);
  }
  return out.flatten();
}

Fattr acl(const Aces& aces) {
  return Fattr().raw(A::acl, encoded(aces));
}
Fattr dacl(uint32_t flags, const Aces& aces) {
  return Fattr().raw(A::dacl, encoded(aces, flags));
}
Fattr set_masked(uint32_t value, uint32_t mask) {
  wire::XdrEncoder out;
  out.put_u32(value);
  out.put_u32(mask);
  return Fattr().raw(A::mode_set_masked, out.flatten());
}

class Acls : public WithClients {
 public:
  void SetUp() override {
    WithClients::SetUp();
    for (Client* client : {&owner, &named, &other}) client->connect();
    directory = alice.mkdir("d", 0755);
    alice.ok(alice.seq().fh(directory).setattr(Fattr().text(A::owner, "1000").text(A::owner_group, "1000")));
  }
  Aces aces_of(Bytes handle, Client& by) {
    const ByteVector value = by.attribute(handle, A::acl);
    wire::XdrDecoder in(value);
    Aces aces = get_aces(in);
    EXPECT_TRUE(in.finished());
    return aces;
  }
  Aces aces_of(Bytes handle) { return aces_of(handle, alice); }
  std::pair<uint32_t, Aces> dacl_of(Bytes handle) {
    const ByteVector value = alice.attribute(handle, A::dacl);
    wire::XdrDecoder in(value);
    const uint32_t flags = in.get_u32();
    return {flags, get_aces(in)};
  }
  static Aces get_aces(wire::XdrDecoder& in) {
    Aces aces(in.get_count(1000, 16));
    for (Ace& ace : aces) {
      ace.type = in.get_u32(), ace.flags = in.get_u32(), ace.mask = in.get_u32();
      ace.who = std::string(in.get_string(100));
    }
    return aces;
  }
  // A file of user 1000's in the directory.
  ByteVector file(const std::string& name, const Fattr& attributes = mode(0644)) {
    const Reply reply =
        owner.ok(owner.seq()
                     .fh(directory)
                     .open({.name = name, .how = How::unchecked, .owner = name, .attributes = attributes})
                     .getfh());
    owner.ok(owner.seq().fh(handle_of(reply)).close(stateid_of(reply, OP_OPEN)));
    return handle_of(reply);
  }
  void give(Bytes handle, const Aces& aces) { alice.ok(alice.seq().fh(handle).setattr(acl(aces))); }
  // These, and what the owner needs.
  void give_and_owner(Bytes handle, Aces aces) {
    aces.push_back({allow, 0, 0x1601ff, "OWNER@"});
    give(handle, aces);
  }
  uint32_t mode_of(Bytes handle) { return alice.u32_attribute(handle, A::mode); }
  static bool supports(Bytes value, A a) {
    wire::XdrDecoder in(value);
    std::vector<uint32_t> words(in.get_count(8, 4));
    for (uint32_t& word : words) word = in.get_u32();
    const auto n = static_cast<uint32_t>(a);
    return n / 32 < words.size() && (words[n / 32] >> (n % 32) & 1U) != 0;
  }

  Client owner{*this, "owner", 1000}, named{*this, "named", 1001}, other{*this, "other", 1002};
  ByteVector directory;
};

TEST_F(Acls, WhatIsSupported) {
  const ByteVector supported = alice.attribute(directory, A::supported_attrs);
  for (const A a : {A::acl, A::aclsupport, A::dacl, A::mode_set_masked}) EXPECT_TRUE(supports(supported, a));
  EXPECT_FALSE(supports(supported, static_cast<A>(59))) << "sacl";
  EXPECT_EQ(alice.u32_attribute(directory, A::aclsupport), 3U);
  const ByteVector exclusive = alice.attribute(directory, A::suppattr_exclcreat);
  EXPECT_TRUE(supports(exclusive, A::acl));
  EXPECT_FALSE(supports(exclusive, A::mode_set_masked));
  alice.expect(NFS4ERR_INVAL, alice.seq().fh(directory).getattr({A::mode_set_masked}));
  alice.expect(NFS4ERR_INVAL, alice.seq().fh(directory).readdir(0, 0, 1000, 1000, {A::mode_set_masked}));
  alice.expect(NFS4ERR_INVAL, alice.seq().fh(directory).verify(set_masked(0, 0)));
}

// RFC 8881 §6.4.2: an object without a list shows its mode.
TEST_F(Acls, OfAMode) {
  const ByteVector f = file("f", mode(0640));
  EXPECT_EQ(aces_of(f), (Aces{{allow, 0, 0x16019f, "OWNER@"},
                              {allow, a_group, 0x120089, "GROUP@"},
                              {allow, 0, 0x120080, "EVERYONE@"}}));
  owner.ok(owner.seq().fh(f).setattr(mode(0604)));
  EXPECT_EQ(aces_of(f), (Aces{{allow, 0, 0x16019f, "OWNER@"},
                              {allow, a_group, 0x120080, "GROUP@"},
                              {deny, a_group, 0x9, "GROUP@"},
                              {allow, 0, 0x120089, "EVERYONE@"}}));
  EXPECT_EQ(dacl_of(f), std::make_pair(0U, aces_of(f)));
  // What is shown can be set, and says the same.
  const Aces shown = aces_of(directory, other);
  owner.ok(owner.seq().fh(directory).setattr(acl(shown)));
  EXPECT_EQ(mode_of(directory), 0755U);
  EXPECT_EQ(aces_of(directory), shown);
}

TEST_F(Acls, SetAndGet) {
  const ByteVector f = file("f", mode(04644));
  const Aces aces = {{deny, 0, write | append, "1001"},
                     {allow, 0, read | write | append | execute | write_acl, "OWNER@"},
                     {allow, a_group, read | read_attributes, "77"},
                     {allow, 0, read | read_acl | read_attributes, "EVERYONE@"},
                     {allow, a_group, 0x600, "4294967295"}};
  const Reply reply = owner.ok(owner.seq().fh(f).setattr(acl(aces)));
  EXPECT_TRUE(supports(ByteVector(reply.results.back().body), A::acl));
  EXPECT_EQ(aces_of(f), aces);
  EXPECT_EQ(mode_of(f), 04744U);
  restart();
  EXPECT_EQ(aces_of(f), aces);
  EXPECT_EQ(mode_of(f), 04744U);
  const uint64_t before = alice.u64_attribute(f, A::change);
  owner.ok(owner.seq().fh(f).setattr(acl({})));
  EXPECT_NE(alice.u64_attribute(f, A::change), before);
  EXPECT_EQ(aces_of(f), Aces{});
  EXPECT_EQ(mode_of(f), 04000U);
  // Special names are never groups, or always: the flag is ignored (§6.2.1.5).
  owner.ok(owner.seq().fh(f).setattr(acl({{allow, a_group, read, "OWNER@"}, {allow, 0, read, "GROUP@"}})));
  EXPECT_EQ(aces_of(f), (Aces{{allow, 0, read, "OWNER@"}, {allow, a_group, read, "GROUP@"}}));
}

TEST_F(Acls, TheFlagsOfDacl) {
  const Aces aces = {{allow, to_files | inherited, read, "1001"}};
  owner.ok(owner.seq().fh(directory).setattr(dacl(7, aces)));
  EXPECT_EQ(dacl_of(directory), std::make_pair(7U, aces));
  // acl has neither (§6.2.1.4.1, §6.4.3.2).
  const Aces plain = {{allow, to_files, read, "1001"}};
  EXPECT_EQ(aces_of(directory), plain);
  owner.ok(owner.seq().fh(directory).setattr(acl(aces)));
  EXPECT_EQ(dacl_of(directory), std::make_pair(0U, plain));
  owner.expect(NFS4ERR_INVAL, owner.seq().fh(directory).setattr(dacl(8, aces)));
}

TEST_F(Acls, ModeAndListFollowEachOther) {
  const ByteVector f = file("f", mode(0));
  const Aces aces = {{allow, 0, read | write | append, "1001"},
                     {allow, 0, read | write | append | write_acl, "OWNER@"},
                     {allow, a_group, read, "GROUP@"}};
  owner.ok(owner.seq().fh(f).setattr(acl(aces)));
  EXPECT_EQ(mode_of(f), 0640U);
  // Both together: first the mode (§6.4.1.3).
  owner.ok(owner.seq().fh(f).setattr(acl(aces).u32(A::mode, 04777)));
  EXPECT_EQ(mode_of(f), 04640U);
  EXPECT_EQ(aces_of(f), aces);
  // The three upper bits alone are no matter of the list.
  owner.ok(owner.seq().fh(f).setattr(set_masked(01777, 07000)));
  EXPECT_EQ(mode_of(f), 01640U);
  EXPECT_EQ(aces_of(f), aces);
  owner.ok(owner.seq().fh(f).setattr(set_masked(0, 01020)));
  EXPECT_EQ(mode_of(f), 0640U);
  for (const Ace& ace : aces_of(f)) {
    if (ace.who != "1001") continue;
    EXPECT_EQ(ace.mask, read) << "names get no more than the group (§6.4.1.1)";
  }
  owner.ok(owner.seq().fh(f).setattr(mode(0704)));
  EXPECT_EQ(mode_of(f), 0704U);
  named.expect(NFS4ERR_ACCESS, named.seq().fh(f).open({.access = 2, .owner = "o", .claim = 4}));
  owner.expect(NFS4ERR_INVAL, owner.seq().fh(f).setattr(set_masked(010000, 0)));
  owner.expect(NFS4ERR_INVAL, owner.seq().fh(f).setattr(set_masked(0, 010000)));
  owner.expect(NFS4ERR_INVAL, owner.seq().fh(f).setattr(set_masked(0, 0).u32(A::mode, 0)));
  owner.expect(NFS4ERR_INVAL, owner.seq().fh(directory).mkdir("x", set_masked(0, 0)));
  owner.expect(NFS4ERR_INVAL, owner.seq().fh(directory).open(
                                  {.name = "x", .how = How::guarded, .attributes = set_masked(0, 0)}));
}

TEST_F(Acls, WhatCannotBeSet) {
  const ByteVector f = file("f");
  const Aces before = aces_of(f);
  const auto refused = [&](Nfsstat4 status, const Fattr& attributes) {
    const Reply reply = owner.expect(status, owner.seq().fh(f).setattr(attributes));
    EXPECT_EQ(reply.in(OP_SETATTR).get_u32(), 0U) << "nothing was set";
  };
  // §6.2.1.1 ¶2: entries that cannot be kept.
  refused(NFS4ERR_ATTRNOTSUPP, acl({{2, 0, read, "EVERYONE@"}}));
  refused(NFS4ERR_ATTRNOTSUPP, acl({{3, 0, read, "EVERYONE@"}}));
  refused(NFS4ERR_ATTRNOTSUPP, acl({{allow, 0, read, "INTERACTIVE@"}}));
  refused(NFS4ERR_ATTRNOTSUPP, acl(Aces(257, {allow, 0, read, "1001"})));
  refused(NFS4ERR_ATTRNOTSUPP, Fattr().raw(static_cast<A>(59), encoded({}, 0)));  // sacl
  refused(NFS4ERR_INVAL, acl({{4, 0, read, "EVERYONE@"}}));
  refused(NFS4ERR_INVAL, acl({{allow, 0x10, read, "EVERYONE@"}}));
  refused(NFS4ERR_INVAL, acl({{allow, 0x100, read, "EVERYONE@"}}));
  refused(NFS4ERR_INVAL, acl({{allow, 0, 0x200000, "EVERYONE@"}}));
  refused(NFS4ERR_INVAL, acl({{allow, 0, 0x800, "EVERYONE@"}}));
  refused(NFS4ERR_INVAL, acl({{allow, 0, read, ""}}));
  refused(NFS4ERR_BADOWNER, acl({{allow, 0, read, "somebody@example.org"}}));
  refused(NFS4ERR_BADOWNER, acl({{allow, 0, read, "everyone@"}}));
  refused(NFS4ERR_BADOWNER, acl({{allow, 0, read, "4294967296"}}));
  refused(NFS4ERR_INVAL, acl({}).raw(A::dacl, encoded({}, 0)));
  refused(NFS4ERR_INVAL, Fattr().u32(A::aclsupport, 3));
  // Lengths that lie.
  const auto raw = [](std::initializer_list<uint32_t> words) {
    wire::XdrEncoder out;
    for (const uint32_t word : words) out.put_u32(word);
    return Fattr().raw(A::acl, out.flatten());
  };
  refused(NFS4ERR_BADXDR, raw({}));
  refused(NFS4ERR_BADXDR, raw({1}));
  refused(NFS4ERR_BADXDR, raw({UINT32_MAX, 0, 0, 0, 0}));
  refused(NFS4ERR_BADXDR, raw({1, 0, 0, 0, UINT32_MAX}));
  refused(NFS4ERR_BADXDR, raw({0, 0}));
  EXPECT_EQ(aces_of(f), before);
  other.expect(NFS4ERR_PERM, other.seq().fh(f).setattr(acl({})));
  owner.ok(owner.seq().fh(f).setattr(acl(Aces(256, {allow, 0, read, "1001"}))));
  EXPECT_EQ(aces_of(f).size(), 256U);
  owner.ok(owner.seq().fh(directory).symlink("l", "f"));
  const ByteVector link = alice.handle({"d", "l"});
  owner.expect(NFS4ERR_INVAL, owner.seq().fh(link).setattr(acl({})));
  EXPECT_EQ(aces_of(link).size(), 3U);
}

// On a file flags of inheritance mean nothing: they are not kept, nor is what has no effect without them.
TEST_F(Acls, FlagsOfInheritanceOnAFile) {
  const ByteVector f = file("f");
  give(f, {{allow, to_files | to_directories, read, "1001"}, {deny, to_files | inherit_only, read, "1002"}});
  EXPECT_EQ(aces_of(f), (Aces{{allow, 0, read, "1001"}}));
}

TEST_F(Acls, EveryRightOfAFile) {
  const ByteVector f = file("f");
  alice.ok(alice.seq().fh(f).write(anonymous(), 0, "0123456789"));
  const auto with = [&](uint32_t mask) { give_and_owner(f, {{allow, 0, mask, "1001"}}); };
  const auto opens = [&](Nfsstat4 status, uint32_t access) {
    const Reply reply =
        named.expect(status, named.seq().fh(f).open({.access = access, .owner = "o", .claim = 4}));
    if (status == NFS4_OK) named.ok(named.seq().fh(f).close(stateid_of(reply, OP_OPEN)));
  };
  with(read);
  named.ok(named.seq().fh(f).read(anonymous(), 0, 10));
  named.expect(NFS4ERR_ACCESS, named.seq().fh(f).write(anonymous(), 0, "x"));
  opens(NFS4_OK, 1), opens(NFS4ERR_ACCESS, 2), opens(NFS4ERR_ACCESS, 3);
  other.expect(NFS4ERR_ACCESS, other.seq().fh(f).read(anonymous(), 0, 10));
  with(execute);
  named.ok(named.seq().fh(f).read(anonymous(), 0, 10));
  opens(NFS4_OK, 1), opens(NFS4ERR_ACCESS, 3);
  with(write);
  named.ok(named.seq().fh(f).write(anonymous(), 0, "x"));
  named.ok(named.seq().fh(f).setattr(file_size(10)));
  named.expect(NFS4ERR_ACCESS, named.seq().fh(f).read(anonymous(), 0, 10));
  opens(NFS4_OK, 2), opens(NFS4ERR_ACCESS, 1), opens(NFS4ERR_ACCESS, 3);
  // §6.2.1.3.1: who may only append writes at the end.
  with(append);
  opens(NFS4_OK, 2);
  named.expect(NFS4ERR_ACCESS, named.seq().fh(f).write(anonymous(), 9, "x"));
  named.ok(named.seq().fh(f).write(anonymous(), 10, "x"));
  named.expect(NFS4ERR_ACCESS, named.seq().fh(f).setattr(file_size(10)));
  named.ok(named.seq().fh(f).setattr(file_size(12)));
  with(read_attributes);
  named.ok(named.seq().fh(f).getattr({A::size, A::mode}));
  named.expect(NFS4ERR_ACCESS, named.seq().fh(f).getattr({A::acl}));
  other.expect(NFS4ERR_ACCESS, other.seq().fh(f).getattr({A::size}));
  other.expect(NFS4ERR_ACCESS, other.seq().fh(f).verify(file_size(12)));
  other.ok(other.seq().fh(f).getattr({A::type, A::fsid, A::fileid, A::lease_time}));
  with(read_acl);
  named.ok(named.seq().fh(f).getattr({A::acl, A::dacl}));
  with(write_attributes);
  named.ok(named.seq().fh(f).setattr(Fattr().client_time(A::time_modify_set, 5, 5)));
  other.expect(NFS4ERR_PERM, other.seq().fh(f).setattr(Fattr().client_time(A::time_modify_set, 5, 5)));
  with(write_acl);
  named.expect(NFS4ERR_PERM, named.seq().fh(f).setattr(Fattr().client_time(A::time_modify_set, 5, 5)));
  named.ok(named.seq().fh(f).setattr(mode(04700)));
  EXPECT_EQ(mode_of(f), 0700U);
  other.expect(NFS4ERR_PERM, other.seq().fh(f).setattr(mode(0777)));
  with(write_owner);
  named.expect(NFS4ERR_PERM, named.seq().fh(f).setattr(Fattr().text(A::owner, "1002")));
  named.ok(named.seq().fh(f).setattr(Fattr().text(A::owner, "1001")));
  // Now 1001 is OWNER@, and nobody else has anything; but root.
  owner.expect(NFS4ERR_ACCESS, owner.seq().fh(f).read(anonymous(), 0, 10));
  named.ok(named.seq().fh(f).read(anonymous(), 0, 10));
  give(f, {{deny, 0, 0x1f01ff, "EVERYONE@"}});
  alice.ok(alice.seq().fh(f).read(anonymous(), 0, 10));
  named.ok(named.seq().fh(f).getattr({A::acl, A::size}));
  named.ok(named.seq().fh(f).setattr(mode(0600)));
}

TEST_F(Acls, EveryRightOfADirectory) {
  const auto with = [&](uint32_t mask) { give_and_owner(directory, {{allow, 0, mask, "1001"}}); };
  file("f");
  with(read);
  named.ok(named.seq().fh(directory).readdir(0, 0, 1000, 1000));
  named.expect(NFS4ERR_ACCESS, named.seq().fh(directory).lookup("f"));
  with(execute);
  named.ok(named.seq().fh(directory).lookup("f"));
  named.expect(NFS4ERR_ACCESS, named.seq().fh(directory).readdir(0, 0, 1000, 1000));
  named.expect(NFS4ERR_ACCESS, named.seq().fh(directory).mkdir("x"));
  named.expect(NFS4ERR_ACCESS, named.seq().fh(directory).remove("f"));
  with(execute | write);
  named.ok(named.seq().fh(directory).create(7, "fifo"));
  named.expect(NFS4ERR_ACCESS, named.seq().fh(directory).mkdir("x"));
  named.ok(named.seq().fh(directory).remove("fifo"));  // §6.2.1.3.2: without a word about deletion
  named.ok(named.seq().fh(directory).open({.name = "new", .how = How::guarded, .owner = "n"}));
  with(execute | append);
  named.ok(named.seq().fh(directory).mkdir("s"));
  named.expect(NFS4ERR_ACCESS, named.seq().fh(directory).create(7, "fifo"));
  named.expect(NFS4ERR_ACCESS, named.seq().fh(directory).remove("s"));
  with(execute | delete_child);
  named.ok(named.seq().fh(directory).remove("s"));
  named.expect(NFS4ERR_ACCESS, named.seq().fh(directory).savefh().fh(directory).rename("f", "g"));
  with(execute | delete_child | write);
  named.ok(named.seq().fh(directory).savefh().fh(directory).rename("f", "g"));
  // The object's own word counts as well.
  with(execute);
  give_and_owner(alice.handle({"d", "g"}), {{allow, 0, remove_it, "1001"}});
  restart();
  other.expect(NFS4ERR_ACCESS, other.seq().fh(directory).remove("g"));
  named.ok(named.seq().fh(directory).remove("g"));
}

TEST_F(Acls, AccessTellsWhatAListAllows) {
  const ByteVector f = file("f");
  const auto told = [&](Client& client, Bytes handle) {
    const Reply reply = client.ok(client.seq().fh(handle).access(0x3f));
    wire::XdrDecoder in = reply.in(OP_ACCESS);
    in.get_u32();
    return in.get_u32();
  };
  give_and_owner(
      f, {{deny, 0, read, "1001"}, {allow, 0, read | execute, "EVERYONE@"}, {allow, 0, append, "1002"}});
  EXPECT_EQ(told(named, f), 0x20U);
  EXPECT_EQ(told(other, f), 0x1U | 0x8U | 0x20U);
  EXPECT_EQ(told(alice, f), 0x1U | 0x4U | 0x8U | 0x20U);
  give_and_owner(directory,
                 {{allow, 0, execute | append, "1001"}, {allow, 0, execute | delete_child, "1002"}});
  EXPECT_EQ(told(named, directory), 0x2U | 0x8U);
  EXPECT_EQ(told(other, directory), 0x2U | 0x10U);
  EXPECT_EQ(told(owner, directory), 0x1fU);
}

TEST_F(Acls, Inheritance) {
  const uint32_t rw = read | write | append;
  const Aces parent = {{allow, to_files | to_directories, rw, "1001"},
                       {allow, to_files | inherit_only, read, "1002"},
                       {allow, to_directories | no_further, execute, "1003"},
                       {allow, 0, 0x1601ff, "OWNER@"},
                       {allow, a_group, read | execute, "GROUP@"}};
  give(directory, parent);
  // With the umask apart from the mode (RFC 8275): the user inherits, the world does not.
  const ByteVector f = file("f", Fattr().mode_umask(0666, 022));
  EXPECT_EQ(mode_of(f), 0644U);
  EXPECT_EQ(dacl_of(f).second, (Aces{{allow, 0, 0x16019f, "OWNER@"},
                                     {allow, inherited, rw, "1001"},
                                     {allow, inherited, read, "1002"},
                                     {allow, a_group, 0x120089, "GROUP@"},
                                     {allow, 0, 0x120089, "EVERYONE@"}}));
  named.ok(named.seq().fh(f).write(anonymous(), 0, "x"));
  other.expect(NFS4ERR_ACCESS, other.seq().fh(f).write(anonymous(), 0, "x"));
  // With a mode it is the mode (§6.4.3 no. 1).
  const ByteVector m = file("m", mode(0640));
  EXPECT_EQ(mode_of(m), 0640U);
  named.ok(named.seq().fh(m).read(anonymous(), 0, 1));
  named.expect(NFS4ERR_ACCESS, named.seq().fh(m).write(anonymous(), 0, "x"));
  // With neither it is what is inherited (no. 4), and with a list that (no. 2).
  const ByteVector n = file("n", {});
  EXPECT_EQ(aces_of(n), (Aces{{allow, 0, rw, "1001"}, {allow, 0, read, "1002"}}));
  EXPECT_EQ(mode_of(n), 0U);
  const Aces own = {{allow, 0, read, "OWNER@"}};
  const ByteVector l = file("l", acl(own).u32(A::mode, 02777));
  EXPECT_EQ(aces_of(l), own);
  EXPECT_EQ(mode_of(l), 02400U);
  // An exclusive create without attributes inherits nothing.
  owner.ok(owner.seq().fh(directory).open({.name = "x", .how = How::exclusive, .owner = "x", .verifier = 5}));
  EXPECT_EQ(mode_of(alice.handle({"d", "x"})), 0600U);
  EXPECT_EQ(aces_of(alice.handle({"d", "x"})).size(), 3U);
  owner.ok(owner.seq().fh(directory).open({.name = "x1",
                                           .how = How::exclusive_41,
                                           .owner = "x",
                                           .attributes = Fattr().mode_umask(0666, 077),
                                           .verifier = 6}));
  EXPECT_EQ(mode_of(alice.handle({"d", "x1"})), 0600U);
  named.ok(named.seq().fh(alice.handle({"d", "x1"})).write(anonymous(), 0, "x"));
  // Directories, in which it goes on; after a restart as well.
  owner.ok(owner.seq().fh(directory).mkdir("s", acl({})));
  EXPECT_EQ(aces_of(alice.handle({"d", "s"})), Aces{});
  owner.ok(owner.seq().fh(directory).mkdir("s2"));
  const ByteVector s = alice.handle({"d", "s2"});
  EXPECT_EQ(dacl_of(s).second, (Aces{{allow, to_files | to_directories | inherited, rw, "1001"},
                                     {allow, to_files | inherit_only | inherited, read, "1002"},
                                     {allow, inherited, execute, "1003"}}));
  restart();
  alice.ok(alice.seq().fh(s).mkdir("deep"));
  EXPECT_EQ(
      aces_of(alice.handle({"d", "s2", "deep"})),
      (Aces{{allow, to_files | to_directories, rw, "1001"}, {allow, to_files | inherit_only, read, "1002"}}));
  owner.ok(owner.seq().fh(directory).symlink("link", "x"));
  EXPECT_EQ(mode_of(alice.handle({"d", "link"})), 0777U);
}

TEST_F(Acls, TheUmaskHoldsWhereNothingIsInherited) {
  give_and_owner(directory, {{allow, to_directories, read, "1001"}});
  EXPECT_EQ(mode_of(file("f", Fattr().mode_umask(0666, 027))), 0640U);
}

TEST_F(Acls, VerifyAndNverify) {
  const ByteVector f = file("f");
  const Aces aces = {{allow, 0, read, "1001"}, {allow, a_group, read | read_acl, "GROUP@"}};
  give(f, aces);
  const auto on = [&] { return owner.seq().fh(f); };
  const Aces other_way = {{allow, 0, read, "1001"}, {allow, 0, read | read_acl, "GROUP@"}};
  owner.ok(on().verify(acl(aces)));
  owner.ok(on().verify(acl(other_way).u32(A::mode, 0040).u64(A::size, 0)));
  owner.ok(on().verify(dacl(0, aces)));
  owner.expect(NFS4ERR_SAME, on().nverify(acl(aces)));
  owner.expect(NFS4ERR_NOT_SAME, on().verify(dacl(1, aces)));
  owner.expect(NFS4ERR_NOT_SAME, on().verify(acl({aces[1], aces[0]})));
  owner.expect(NFS4ERR_NOT_SAME, on().verify(acl(aces).u32(A::mode, 0044)));
  owner.expect(NFS4ERR_NOT_SAME, on().verify(acl(aces).u64(A::size, 1)));
  owner.ok(on().nverify(acl({})));
  owner.expect(NFS4ERR_BADXDR, on().verify(Fattr().raw(A::acl, encoded({}, 5))));
  named.expect(NFS4ERR_ACCESS, named.seq().fh(f).verify(acl(aces)));
}

TEST_F(Acls, ALongListAndTheRoomOfTheReply) {
  const ByteVector f = file("f");
  const Aces aces(200, {allow, 0, read, "4000000000"});
  give(f, aces);
  const Reply whole = alice.ok(alice.seq().fh(directory).readdir(0, 0, 100000, 100000, {A::acl, A::fileid}));
  EXPECT_EQ(listing_of(whole).entries.size(), 1U);
  alice.expect(NFS4ERR_TOOSMALL, alice.seq().fh(directory).readdir(0, 0, 1000, 1000, {A::acl}));
  alice.expect(NFS4ERR_REP_TOO_BIG_TO_CACHE, alice.seq(0, true).fh(f).getattr({A::acl, A::dacl}));
  // An entry that may not be read is told as such, where that is asked for (§5.8.1.12).
  file("g");
  const Reply told =
      other.ok(other.seq().fh(directory).readdir(0, 0, 100000, 100000, {A::rdattr_error, A::size}));
  EXPECT_EQ(listing_of(told).entries.size(), 2U);
  other.expect(NFS4ERR_ACCESS, other.seq().fh(directory).readdir(0, 0, 100000, 100000, {A::size}));
}

}  // namespace
}  // namespace perdure::conformance
