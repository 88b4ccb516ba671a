// NFSv4.0 (RFC 7530): SETCLIENTID, the sequence ids of owners, and requests that come again.
#include "conformance/conformance.h"

namespace perdure::conformance {
namespace {

constexpr uint32_t result_confirm = 2;
constexpr uint32_t callback_program = 0x40000000;

Ops setclientid(std::string_view id, uint64_t verifier, std::string_view callback = "192.0.2.1.8.1") {
  return std::move(Ops(0)
                       .op(OP_SETCLIENTID)
                       .u64(verifier)
                       .text(id)
                       .u32(callback_program)
                       .text("tcp")
                       .text(callback)
                       .u32(1));
}

struct Named {
  uint64_t client = 0, confirm = 0;
};

Named named_of(const Reply& reply) {
  wire::XdrDecoder in = reply.in(OP_SETCLIENTID);
  Named named;
  named.client = in.get_u64();
  named.confirm = in.get_u64();
  return named;
}

Ops confirm(const Named& named) {
  return std::move(Ops(0).op(OP_SETCLIENTID_CONFIRM).u64(named.client).u64(named.confirm));
}

Ops renew(uint64_t client) {
  return std::move(Ops(0).op(OP_RENEW).u64(client));
}

Ops open_confirm(Bytes handle, const Stateid& stateid, uint32_t seqid) {
  return std::move(Ops(0).fh(handle).op(OP_OPEN_CONFIRM).fixed(stateid).u32(seqid));
}

Ops close(Bytes handle, const Stateid& stateid, uint32_t seqid) {
  return std::move(Ops(0).fh(handle).op(OP_CLOSE).u32(seqid).fixed(stateid));
}

Ops downgrade(Bytes handle, const Stateid& stateid, uint32_t seqid, uint32_t access) {
  return std::move(Ops(0).fh(handle).op(OP_OPEN_DOWNGRADE).fixed(stateid).u32(seqid).u32(access).u32(0));
}

struct LockCall {
  uint64_t client = 0, offset = 0, length = 10;
  uint32_t kind = write_lock, open_seqid = 0, lock_seqid = 0;
  std::string owner = "locker";
};

Ops lock_new(Bytes handle, const Stateid& open, const LockCall& call) {
  return std::move(Ops(0)
                       .fh(handle)
                       .op(OP_LOCK)
                       .u32(call.kind)
                       .u32(0)
                       .u64(call.offset)
                       .u64(call.length)
                       .u32(1)
                       .u32(call.open_seqid)
                       .fixed(open)
                       .u32(call.lock_seqid)
                       .u64(call.client)
                       .text(call.owner));
}

Ops lock_more(Bytes handle, const Stateid& lock, uint32_t seqid, uint64_t offset) {
  return std::move(
      Ops(0).fh(handle).op(OP_LOCK).u32(write_lock).u32(0).u64(offset).u64(10).u32(0).fixed(lock).u32(seqid));
}

Ops unlock(Bytes handle, const Stateid& lock, uint32_t seqid) {
  return std::move(Ops(0).fh(handle).op(OP_LOCKU).u32(write_lock).u32(seqid).fixed(lock).u64(0).u64(10));
}

Ops lockt(Bytes handle, uint64_t client, std::string_view owner) {
  return std::move(
      Ops(0).fh(handle).op(OP_LOCKT).u32(write_lock).u64(0).u64(UINT64_MAX).u64(client).text(owner));
}

Ops release(uint64_t client, std::string_view owner) {
  return std::move(Ops(0).op(OP_RELEASE_LOCKOWNER).u64(client).text(owner));
}

uint32_t flags_of(const Reply& reply) {
  wire::XdrDecoder in = reply.in(OP_OPEN);
  in.get_opaque_fixed(16 + 20);
  return in.get_u32();
}

class Version40 : public Conformance {
 public:
  void SetUp() override {
    Conformance::SetUp();
    alice = connect("alice");
  }
  uint64_t connect(std::string_view id, uint64_t verifier = 1, uint32_t uid = 0) {
    const Named named = named_of(expect(NFS4_OK, setclientid(id, verifier), uid));
    expect(NFS4_OK, confirm(named), uid);
    return named.client;
  }
  Ops open_ops(uint64_t client, uint32_t seqid, const std::string& name, uint32_t access = 3,
               const std::string& owner = "owner", How how = How::unchecked) {
    OpenCall call{.name = name, .how = how, .access = access, .owner = owner};
    call.seqid = seqid;
    call.client = client;
    return std::move(Ops(0).root().open(call).getfh());
  }
  // Opened, and its owner confirmed: the next sequence id is 2.
  Client::Opened open(uint64_t client, const std::string& name, const std::string& owner = "owner") {
    const Reply opened = expect(NFS4_OK, open_ops(client, 0, name, 3, owner));
    EXPECT_NE(flags_of(opened) & result_confirm, 0U);
    const ByteVector handle = handle_of(opened);
    const Reply confirmed = expect(NFS4_OK, open_confirm(handle, stateid_of(opened, OP_OPEN), 1));
    return {handle, stateid_of(confirmed, OP_OPEN_CONFIRM)};
  }
  // Sent again, under the same transaction id.
  Reply again(const Ops& ops, uint32_t xid) {
    const std::optional<Reply> reply = send(ops.finish(), 0, xid);
    EXPECT_TRUE(reply);
    return reply.value_or(Reply{});
  }
  uint64_t alice = 0;
};

TEST_F(Version40, SetsClientIdsInAllCases) {
  expect(NFS4ERR_INVAL, setclientid("", 1));  // that is nobody
  // None is known: RFC 7530 §16.33.5, case 1. One that is not confirmed is replaced (case 5).
  const Named first = named_of(expect(NFS4_OK, setclientid("id", 1)));
  const Named second = named_of(expect(NFS4_OK, setclientid("id", 1)));
  EXPECT_NE(first.client, second.client);
  EXPECT_NE(first.confirm, second.confirm);
  expect(NFS4ERR_STALE_CLIENTID, confirm(first));
  expect(NFS4ERR_STALE_CLIENTID, confirm({second.client, second.confirm + 1}));
  expect(NFS4ERR_STALE_CLIENTID, open_ops(second.client, 0, "f"));
  expect(NFS4_OK, confirm(second));
  expect(NFS4_OK, confirm(second));  // once more
  const Client::Opened file = open(second.client, "f");
  // The same verifier: perhaps another callback (case 2). Nothing ends, confirmed or not.
  const Named update = named_of(expect(NFS4_OK, setclientid("id", 1, "192.0.2.1.9.9")));
  EXPECT_EQ(update.client, second.client);
  EXPECT_NE(update.confirm, second.confirm);
  expect(NFS4_OK, renew(second.client));
  restart();
  expect(NFS4_OK, confirm(update));
  expect(NFS4_OK, Ops(0).fh(file.handle).write(file.stateid, 0, "x"));
  // Another verifier (cases 3 and 4): the client has begun anew, which counts when it is confirmed.
  const Named reborn = named_of(expect(NFS4_OK, setclientid("id", 2)));
  EXPECT_NE(reborn.client, second.client);
  expect(NFS4_OK, Ops(0).fh(file.handle).write(file.stateid, 0, "x"));
  const Named again = named_of(expect(NFS4_OK, setclientid("id", 2)));
  expect(NFS4ERR_STALE_CLIENTID, confirm(reborn));
  restart();
  expect(NFS4_OK, confirm(again));
  expect(NFS4ERR_EXPIRED, close(file.handle, file.stateid, 2));
  expect(NFS4ERR_EXPIRED, renew(second.client));
  expect(NFS4_OK, renew(again.client));
  expect(NFS4ERR_STALE_CLIENTID, renew(0));
}

TEST_F(Version40, AnotherPrincipalHasNoPartInAClientId) {
  const Named named = named_of(expect(NFS4_OK, setclientid("id", 1)));
  expect(NFS4ERR_CLID_INUSE, confirm(named), 7);
  expect(NFS4_OK, confirm(named));
  // Without state it may be anybody's.
  const Named other = named_of(expect(NFS4_OK, setclientid("id", 1), 7));
  expect(NFS4_OK, confirm(other), 7);
  expect(NFS4ERR_EXPIRED, renew(named.client));
  open(other.client, "f");
  expect(NFS4ERR_CLID_INUSE, setclientid("id", 1));
  // A client of a later version is another one, with whatever id.
  Client later(*this, "id");
  later.connect();
  expect(NFS4_OK, renew(other.client));
  expect(NFS4ERR_STALE_CLIENTID, renew(later.id()));
  expect(NFS4ERR_STALE_CLIENTID, create_session(other.client, 1));
  expect(NFS4ERR_STALE_CLIENTID, destroy_clientid(other.client));
}

TEST_F(Version40, AnOpenOwnerIsConfirmedOnce) {
  const Reply opened = expect(NFS4_OK, open_ops(alice, 77, "f"));
  EXPECT_NE(flags_of(opened) & result_confirm, 0U);
  const ByteVector handle = handle_of(opened);
  const Stateid unconfirmed = stateid_of(opened, OP_OPEN);
  expect(NFS4ERR_BAD_STATEID, Ops(0).fh(handle).write(unconfirmed, 0, "x"));
  expect(NFS4ERR_BAD_SEQID, open_confirm(handle, unconfirmed, 80));
  restart();
  const Reply confirmed = expect(NFS4_OK, open_confirm(handle, unconfirmed, 78));
  const Stateid stateid = stateid_of(confirmed, OP_OPEN_CONFIRM);
  expect(NFS4_OK, Ops(0).fh(handle).write(stateid, 0, "x"));
  expect(NFS4ERR_OLD_STATEID, Ops(0).fh(handle).write(unconfirmed, 0, "x"));
  expect(NFS4ERR_BAD_STATEID, open_confirm(handle, stateid, 79));
  const Reply second = expect(NFS4_OK, open_ops(alice, 79, "g"));
  EXPECT_EQ(flags_of(second) & result_confirm, 0U);
  expect(NFS4_OK, Ops(0).fh(handle_of(second)).write(stateid_of(second, OP_OPEN), 0, "x"));
  expect(NFS4ERR_BAD_SEQID, open_ops(alice, 79 + 2, "g"));
}

TEST_F(Version40, WhatIsNotConfirmedGivesWay) {
  const Reply old = expect(NFS4_OK, open_ops(alice, 5, "f"));
  OpenCall deny{.name = "f", .how = How::no_create, .access = 3, .deny = 3, .owner = "owner"};
  deny.seqid = 100;
  deny.client = alice;
  const Reply anew = expect(NFS4_OK, Ops(0).root().open(deny).getfh());
  EXPECT_NE(flags_of(anew) & result_confirm, 0U);
  expect(NFS4ERR_EXPIRED, open_confirm(handle_of(old), stateid_of(old, OP_OPEN), 6));
  // One that failed does not keep it either.
  deny.seqid = 200;
  deny.name = "nothing";
  expect(NFS4ERR_NOENT, Ops(0).root().open(deny).getfh());
  const uint64_t bob = connect("bob");
  expect(NFS4ERR_SHARE_DENIED, open_ops(bob, 0, "f"));
  const Reply third = expect(NFS4_OK, open_ops(alice, 300, "g"));
  expect(NFS4_OK, open_ops(bob, 1, "f"));
  expect(NFS4_OK, open_confirm(handle_of(third), stateid_of(third, OP_OPEN), 301));
}

// By their sequence ids alone: each time under a new transaction id.
TEST_F(Version40, OwnersRequestsHaveOneEffect) {
  std::vector<std::pair<Ops, Reply>> done;
  const auto twice = [&](const Ops& ops, Nfsstat4 status = NFS4_OK) {
    const Reply first = expect(status, ops);
    EXPECT_EQ(call(ops).bytes, first.bytes);
    restart();
    EXPECT_EQ(call(ops).bytes, first.bytes);
    return first;
  };
  const Reply opened = twice(open_ops(alice, 0, "f", 3, "owner", How::guarded));
  const ByteVector handle = handle_of(opened);
  const Reply confirmed = twice(open_confirm(handle, stateid_of(opened, OP_OPEN), 1));
  Stateid open = stateid_of(confirmed, OP_OPEN_CONFIRM);
  twice(open_ops(alice, 2, "f", 3, "owner", How::guarded), NFS4ERR_EXIST);
  open = stateid_of(twice(open_ops(alice, 3, "f", 1)), OP_OPEN);
  const LockCall call{.client = alice, .open_seqid = 4, .lock_seqid = 40};
  Stateid lock = stateid_of(twice(lock_new(handle, open, call)), OP_LOCK);
  lock = stateid_of(twice(lock_more(handle, lock, 41, 20)), OP_LOCK);
  LockCall denied = call;
  denied.open_seqid = 5, denied.owner = "another", denied.lock_seqid = 3;
  twice(lock_new(handle, open, denied), NFS4ERR_DENIED);
  lock = stateid_of(twice(unlock(handle, lock, 42)), OP_LOCKU);
  denied.open_seqid = 6, denied.lock_seqid = 4;
  const Stateid other = stateid_of(twice(lock_new(handle, open, denied)), OP_LOCK);
  twice(lock_more(handle, other, 5, 20), NFS4ERR_DENIED);
  open = stateid_of(twice(downgrade(handle, open, 7, 1)), OP_OPEN_DOWNGRADE);
  expect(NFS4ERR_BAD_SEQID, close(handle, open, 7));
  expect(NFS4ERR_BAD_SEQID, close(handle, open, 9));
  twice(close(handle, open, 8));
  expect(NFS4ERR_BAD_STATEID, close(handle, open, 9));
  expect(NFS4_OK, open_ops(alice, 9, "f"));
  expect(NFS4ERR_EXPIRED, close(handle, open, 8));
}

TEST_F(Version40, ErrorsUseUpSequenceIdsButForThose) {
  const Client::Opened file = open(alice, "f");
  expect(NFS4ERR_NOENT, open_ops(alice, 2, "nothing", 3, "owner", How::no_create));
  expect(NFS4ERR_INVAL, open_ops(alice, 3, "f", 0));
  expect(NFS4ERR_BAD_STATEID, close(file.handle, anonymous(), 4));
  Stateid stale = file.stateid;
  stale[5] = std::byte{0x77};  // of an inode that never was
  expect(NFS4ERR_STALE_STATEID, close(file.handle, stale, 4));
  expect(NFS4ERR_NOFILEHANDLE, Ops(0).op(OP_CLOSE).u32(4).fixed(file.stateid));
  expect(NFS4ERR_BAD_SEQID, close(file.handle, file.stateid, 5));
  expect(NFS4_OK, close(file.handle, file.stateid, 4));
}

TEST_F(Version40, LockOwnersAreReleased) {
  const Client::Opened file = open(alice, "f");
  const Reply locked =
      expect(NFS4_OK, lock_new(file.handle, file.stateid, {.client = alice, .open_seqid = 2}));
  const Stateid lock = stateid_of(locked, OP_LOCK);
  expect(NFS4ERR_DENIED, lockt(file.handle, alice, "another"));
  expect(NFS4_OK, lockt(file.handle, alice, "locker"));
  expect(NFS4ERR_STALE_CLIENTID, lockt(file.handle, 0, "locker"));
  expect(NFS4ERR_LOCKS_HELD, release(alice, "locker"));
  expect(NFS4_OK, unlock(file.handle, lock, 1));
  expect(NFS4_OK, release(alice, "locker"));
  expect(NFS4_OK, release(alice, "locker"));
  expect(NFS4ERR_EXPIRED, lock_more(file.handle, lock, 2, 0));
  EXPECT_EQ(server.vserver().clients().lock_states.size(), 0U);
  EXPECT_EQ(server.vserver().clients().state_owners.size(), 1U);
  // It may begin with any sequence id.
  expect(NFS4_OK, lock_new(file.handle, file.stateid, {.client = alice, .open_seqid = 3, .lock_seqid = 9}));
  // A lock-owner that is known goes on where it was, with another file too.
  const Reply other = expect(NFS4_OK, open_ops(alice, 4, "g"));
  LockCall call{.client = alice, .open_seqid = 5, .lock_seqid = 9};
  expect(NFS4ERR_BAD_SEQID, lock_new(handle_of(other), stateid_of(other, OP_OPEN), call));
  call.lock_seqid = 10;
  expect(NFS4_OK, lock_new(handle_of(other), stateid_of(other, OP_OPEN), call));
  // What ends with its open is no longer held.
  expect(NFS4_OK, close(handle_of(other), stateid_of(other, OP_OPEN), 6));
  expect(NFS4_OK, close(file.handle, file.stateid, 7));
  expect(NFS4_OK, release(alice, "locker"));
}

TEST_F(Version40, AClientThatIsSilentEnds) {
  const Client::Opened file = open(alice, "f");
  expect(NFS4_OK, lock_new(file.handle, file.stateid, {.client = alice, .open_seqid = 2}));
  const uint64_t bob = connect("bob");
  pass(std::chrono::seconds(60));
  expect(NFS4_OK, renew(bob));
  // What it does with what it has open keeps it as well as RENEW.
  expect(NFS4_OK, Ops(0).fh(file.handle).read(file.stateid, 0, 1));
  pass(std::chrono::seconds(60));
  expect(NFS4_OK, renew(bob));
  expect(NFS4ERR_DENIED, lockt(file.handle, bob, "locker"));
  pass(std::chrono::seconds(60));
  expect(NFS4_OK, renew(bob));
  expect(NFS4_OK, lockt(file.handle, bob, "locker"));
  expect(NFS4ERR_EXPIRED, renew(alice));
  expect(NFS4ERR_EXPIRED, Ops(0).fh(file.handle).write(file.stateid, 0, "x"));
  expect(NFS4ERR_EXPIRED, close(file.handle, file.stateid, 3));
  EXPECT_EQ(server.vserver().clients().state_owners.size(), 0U);
  EXPECT_EQ(server.vserver().clients().opens.size(), 0U);
  // The cache of an address ends with it.
  pass(std::chrono::seconds(200));
  EXPECT_EQ(server.vserver().clients().clients.size(), 0U);
  EXPECT_EQ(server.vserver().clients().slots.size(), 0U);
}

TEST_F(Version40, IdleOwnersMakeRoom) {
  server.crash();
  server.options.clients.owners_per_client_max = 8;
  server.start();
  Client::Opened before;
  for (int i = 0; i < 100; ++i) {
    const std::string owner = "owner" + std::to_string(i);
    const Client::Opened file = open(alice, "f", owner);
    if (i > 0) expect(NFS4_OK, close(before.handle, before.stateid, 2));  // it comes again
    expect(NFS4_OK, close(file.handle, file.stateid, 2));
    before = file;
  }
  EXPECT_LE(server.vserver().clients().state_owners.size(), 8U);
  for (int i = 0; i < 8; ++i) open(alice, "f", "open" + std::to_string(i));
  expect(NFS4ERR_RESOURCE, open_ops(alice, 0, "f", 3, "one more"));
}

class Version40WithCollisions : public Version40 {
 public:
  void SetUp() override {
    server.options.clients.owners_per_client_max = 4;
    server.options.clients.hash_mask = 0;
    Version40::SetUp();
  }
};

TEST_F(Version40WithCollisions, IdleOwnersMakeRoom) {
  for (int i = 0; i < 20; ++i) {
    const Client::Opened file = open(alice, "f", "owner" + std::to_string(i));
    expect(NFS4_OK, close(file.handle, file.stateid, 2));
  }
}

// RFC 7530 §9.9: an owner's own reservation is in its way, too.
TEST_F(Version40, SharesAreKeptByTheirOwnersToo) {
  OpenCall call{.name = "f", .how = How::unchecked, .access = 3, .deny = 2};
  call.client = alice;
  const Reply opened = expect(NFS4_OK, Ops(0).root().open(call).getfh());
  expect(NFS4_OK, open_confirm(handle_of(opened), stateid_of(opened, OP_OPEN), 1));
  expect(NFS4ERR_SHARE_DENIED, open_ops(alice, 2, "f", 2));
  expect(NFS4_OK, open_ops(alice, 3, "f", 1));
}

TEST_F(Version40, ErrorsHaveTheirOldNames) {
  expect(NFS4ERR_RESTOREFH, Ops(0).root().restorefh());
  expect(NFS4ERR_ISDIR, Ops(0).root().setattr(file_size(0)));
  expect(NFS4_OK, Ops(0).root().create(7, "fifo"));
  expect(NFS4ERR_SYMLINK, open_ops(alice, 0, "fifo", 1, "owner", How::no_create));
  expect(NFS4ERR_INVAL, Ops(0).root().lookup("fifo").read(anonymous(), 0, 10));
}

TEST_F(Version40, VersionsHaveTheirOwnOperations) {
  expect(NFS4ERR_OP_ILLEGAL, Ops(0).op(OP_SEQUENCE));
  expect(NFS4ERR_OP_ILLEGAL, Ops(0).op(static_cast<Opnum4>(2)));
  expect(NFS4ERR_NOTSUPP, Ops(0).root().op(OP_OPENATTR).u32(0));
  Client later(*this, "later");
  later.connect();
  later.expect(NFS4ERR_NOTSUPP, later.seq().op(OP_RENEW).u64(later.id()));
  later.expect(NFS4ERR_NOTSUPP, later.seq().op(OP_SETCLIENTID_CONFIRM).u64(0).u64(0));
  Ops many(0);
  for (int i = 0; i < 200; ++i) many.root();
  expect(NFS4ERR_RESOURCE, many);
  expect(NFS4_OK, Ops(0));
  // Its attributes end with mounted_on_fileid.
  const Reply reply = expect(NFS4_OK, Ops(0).root().getattr({Attribute::supported_attrs}));
  const ByteVector supported = attribute_of(reply);
  wire::XdrDecoder in(supported);
  EXPECT_EQ(in.get_u32(), 2U);
  in.get_u32();
  EXPECT_LT(in.get_u32(), uint32_t{1} << 24U);
  // What SECINFO names remains to be asked for.
  expect(NFS4_OK, Ops(0).root().mkdir("d"));
  expect(NFS4_OK, Ops(0).root().secinfo("d").lookup("d"));
}

// A delegation of a later version's client is in the way: the request waits, and so does the same request
// that comes again; both are answered once it is returned.
TEST_F(Version40, WaitsForDelegationsOfOthers) {
  Client later(*this, "later");
  later.connect(true, 1 | 2);
  const Client::Opened made = later.create_file("f");
  later.ok(later.seq().fh(made.handle).close(made.stateid));
  const Reply opened = later.ok(later.seq().root().open({.name = "f"}).getfh());
  wire::XdrDecoder in = opened.in(OP_OPEN);
  in.get_opaque_fixed(16 + 20 + 4);
  for (uint32_t words = in.get_u32(); words > 0; --words) in.get_u32();
  ASSERT_EQ(in.get_u32(), 2U);  // OPEN_DELEGATE_WRITE
  const Bytes bytes = in.get_opaque_fixed(16);
  const Stateid delegation(bytes.begin(), bytes.end());
  const Ops ops = open_ops(alice, 0, "f", 3, "owner", How::no_create);
  const uint32_t first = server.send(ops.finish(), 0, 5000);
  server.env.run_until_idle();
  EXPECT_FALSE(server.replied(first));
  server.reconnect();
  server.send(ops.finish(), 0, 5000);
  server.env.run_until_idle();
  EXPECT_FALSE(server.replied(first));
  // Many copies do not lead to an error, which would make the client ask anew.
  for (int i = 0; i < 100; ++i) {
    server.reconnect();
    server.send(ops.finish(), 0, 5000);
    server.env.run_until_idle();
    EXPECT_FALSE(server.replied(first));
  }
  later.ok(later.seq().fh(made.handle).op(OP_DELEGRETURN).fixed(delegation));
  const Reply reply = parse_reply(server.await(first).bytes());
  EXPECT_EQ(reply.status, NFS4_OK);
  const ByteVector handle = handle_of(reply);
  expect(NFS4_OK, open_confirm(handle, stateid_of(reply, OP_OPEN), 1));
}

// ------------------------------------------------------------------------- the duplicate request cache

struct DuplicateCase {
  const char* name;
  Ops (*build)(const Client::Opened& file);
};

const DuplicateCase duplicate_cases[] = {
    {"mkdir", [](const Client::Opened&) { return std::move(Ops(0).root().mkdir("new").getfh()); }},
    {"symlink", [](const Client::Opened&) { return std::move(Ops(0).root().symlink("new", "t")); }},
    {"remove", [](const Client::Opened&) { return std::move(Ops(0).root().remove("x")); }},
    {"rename",
     [](const Client::Opened&) { return std::move(Ops(0).root().savefh().root().rename("x", "new")); }},
    {"link",
     [](const Client::Opened& f) { return std::move(Ops(0).fh(f.handle).savefh().root().link("new")); }},
    {"setattr",
     [](const Client::Opened& f) {
       return std::move(Ops(0).fh(f.handle).setattr(mode(0600)).getattr({Attribute::change}));
     }},
    {"truncate",
     [](const Client::Opened& f) {
       return std::move(Ops(0).fh(f.handle).setattr(file_size(1), f.stateid).getattr({Attribute::change}));
     }},
    {"write",
     [](const Client::Opened& f) {
       return std::move(
           Ops(0).fh(f.handle).write(f.stateid, 0, std::string(90000, 'y')).getattr({Attribute::change}));
     }},
    {"setclientid", [](const Client::Opened&) { return setclientid("new", 1); }},
};

class DuplicateRequests : public Version40, public ::testing::WithParamInterface<DuplicateCase> {
 public:
  void TestBody() override {}
  Client::Opened prepare() {
    const Client::Opened file = open(alice, "f");
    expect(NFS4_OK, Ops(0).fh(file.handle).write(file.stateid, 0, std::string(5000, 'o')));
    expect(NFS4_OK, Ops(0).root().mkdir("x"));
    return file;
  }
  static constexpr uint32_t xid = 70000;
};

TEST_P(DuplicateRequests, GetTheSameReply) {
  const Client::Opened file = prepare();
  const Ops ops = GetParam().build(file);
  const Reply first = again(ops, xid);
  EXPECT_EQ(first.status, NFS4_OK) << nfs4::name(first.status);
  EXPECT_EQ(again(ops, xid).bytes, first.bytes);
  server.reconnect();
  EXPECT_EQ(again(ops, xid).bytes, first.bytes);
  for (int i = 0; i < 2; ++i) {
    restart();
    EXPECT_EQ(again(ops, xid).bytes, first.bytes);
  }
  // From elsewhere, or with other arguments, it is another request.
  server.peer.ip[3] = 9;
  EXPECT_NE(again(ops, xid).bytes, first.bytes);
}

// The power goes after so many events of the server's; then the request is sent again, twice.
TEST_P(DuplicateRequests, AreExecutedOnceWheneverThePowerGoes) {
  for (int events = 0; events < 60; events += events < 12 ? 1 : 7) {
    SCOPED_TRACE(events);
    class Scene : public DuplicateRequests {
     public:
      Scene() {
        server.start();
        alice = connect("alice");
      }
    } scene;
    const ByteVector request = GetParam().build(scene.prepare()).finish();
    scene.server.send(request, 0, xid);
    for (int i = 0; i < events && !scene.server.replied(xid); ++i) scene.server.env.run_one();
    std::optional<ByteVector> answered;
    if (scene.server.replied(xid)) answered = scene.server.await(xid).bytes();
    scene.restart();
    const std::optional<Reply> second = scene.send(request, 0, xid);
    ASSERT_TRUE(second.has_value());
    if (answered) {
      EXPECT_EQ(second->bytes, *answered);
    }
    EXPECT_EQ(second->status, NFS4_OK)
        << nfs4::name(second->status) << ": its own effect must not be in its way";
    const std::optional<Reply> third = scene.send(request, 0, xid);
    ASSERT_TRUE(third.has_value());
    EXPECT_EQ(third->bytes, second->bytes);
    if (HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Each, DuplicateRequests, ::testing::ValuesIn(duplicate_cases),
                         [](const auto& each) { return std::string(each.param.name); });

// A reply that is kept for long is not a big one.
TEST_F(Version40, AChangeLimitsWhatIsReadBehindIt) {
  const Client::Opened file = open(alice, "f");
  expect(NFS4_OK, Ops(0).fh(file.handle).write(file.stateid, 0, std::string(300'000, 'x')));
  const auto read = [&](Ops ops) {
    return data_of(expect(NFS4_OK, ops.fh(file.handle).read(file.stateid, 0, 300'000))).data.size();
  };
  EXPECT_EQ(read(Ops(0)), 300'000U);
  EXPECT_LE(read(std::move(Ops(0).root().mkdir("d"))), 64U << 10U);
}

// So many replies are kept for each address, over restarts too, whatever is only read meanwhile.
TEST_F(Version40, KeepsTheNewestReplies) {
  server.crash();
  server.options.clients.requests_per_address_max = 16;
  server.start();
  const auto make = [](uint32_t n) { return std::move(Ops(0).root().mkdir("d" + std::to_string(n))); };
  constexpr uint32_t first = UINT32_MAX - 20;  // wraps around
  for (uint32_t n = 0; n < 40; ++n) {
    EXPECT_EQ(again(make(n), first + n).status, NFS4_OK);
    if (n == 25) restart();
    for (uint32_t i = 0; i < 4; ++i) expect(NFS4_OK, Ops(0).root().getattr({Attribute::change}));
  }
  for (uint32_t n = 39; n > 28; --n) EXPECT_EQ(again(make(n), first + n).status, NFS4_OK) << n;
  EXPECT_EQ(again(make(0), first).status, NFS4ERR_EXIST);
  EXPECT_LE(server.vserver().clients().slots.size(), 16U);
}

}  // namespace
}  // namespace perdure::conformance
