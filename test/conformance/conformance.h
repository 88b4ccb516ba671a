// The conformance set: whole COMPOUNDs in, whole COMPOUNDs out, against a whole vserver on a simulated disk,
// one file for each area of the protocol.
//
// Every reply is checked to be well-formed (reply.h). And when a test is over, all that it has sent is sent
// once more, cut off or with bits flipped at random: the server must answer each with a well-formed reply or
// refuse it.
//
// With PERDURE_TRAFFIC_DIR set, each test writes what it has sent, and what is then in the log, into files
// there (test/fuzz/README.md).
#pragma once

#include <gtest/gtest.h>

#include <optional>

#include "conformance/ops.h"
#include "conformance/reply.h"
#include "fuzz/traffic.h"
#include "server/testing/vserver_fixture.h"

namespace perdure::conformance {

class Conformance : public ::testing::Test {
 public:
  Conformance();
  void SetUp() override { server.start(); }
  void TearDown() override;

  // As it is; nothing if the server refused it as garbage.
  std::optional<Reply> send(Bytes compound, uint32_t uid = 0, uint32_t xid = 0);
  // Must be answered, and well-formed.
  Reply call(const Ops& ops, uint32_t uid = 0);
  // Must have this status.
  Reply expect(Nfsstat4 status, const Ops& ops, uint32_t uid = 0);
  // The power goes and comes back.
  void restart();
  // Virtual time, in small steps as a server's loop sees it.
  void pass(std::chrono::seconds time);

  server::testing::VserverFixture server;

 private:
  void send_mangled();
  // For the corpora of the fuzz targets `compound` and `rows`.
  void note_sent(Bytes compound, uint32_t uid);
  void write_traffic();
  ByteVector logged_rows() const;

  std::vector<std::pair<ByteVector, uint32_t>> sent_;  // with their uids
  ByteVector traffic_;                                 // all that has happened, as in fuzz/traffic.h
  fuzz::SequenceIds ids_;
};

// A client with one session.
class Client {
 public:
  Client(Conformance& test, std::string owner, uint32_t uid = 0, uint32_t minor_version = 2)
      : test_(test), owner_(std::move(owner)), uid_(uid), minor_version_(minor_version) {}
  // EXCHANGE_ID and CREATE_SESSION, and RECLAIM_COMPLETE if asked.
  // `flags`: of CREATE_SESSION.
  Client& connect(bool reclaim_complete = true, uint32_t flags = 1);
  // One more session, which is the one from now on.
  void new_session(uint32_t flags);

  // A COMPOUND that begins with SEQUENCE on `slot`, with the slot's next sequence id.
  Ops seq(uint32_t slot = 0, bool cache_this = false);
  // The same request again, or what pretends to be it.
  Ops seq_again(uint32_t slot = 0, bool cache_this = false);
  // SEQUENCE has failed, so its sequence id is still to come.
  void unseq(uint32_t slot = 0) { --seqids_[slot]; }
  Reply call(const Ops& ops) { return test_.call(ops, uid_); }
  Reply expect(Nfsstat4 status, const Ops& ops) { return test_.expect(status, ops, uid_); }
  Reply ok(const Ops& ops) { return expect(NFS4_OK, ops); }

  struct Opened {
    ByteVector handle;
    Stateid stateid;
  };
  // In the root.
  Opened create_file(const std::string& name, const std::string& open_owner = "owner", uint32_t bits = 0644);
  Opened open_file(const std::string& name, uint32_t access, uint32_t deny, const std::string& open_owner);
  ByteVector mkdir(const std::string& name, uint32_t bits = 0755);
  ByteVector handle(std::initializer_list<std::string_view> path);
  ByteVector attribute(Bytes handle, Attribute a);
  uint32_t u32_attribute(Bytes handle, Attribute a) { return as_u32(attribute(handle, a)); }
  uint64_t u64_attribute(Bytes handle, Attribute a) { return as_u64(attribute(handle, a)); }
  std::string content(Bytes handle);

  const ByteVector& session() const { return session_; }
  uint64_t id() const { return id_; }
  uint32_t create_seqid() const { return create_seqid_; }
  uint32_t uid() const { return uid_; }

 private:
  Conformance& test_;
  std::string owner_;
  uint32_t uid_, minor_version_;
  uint64_t id_ = 0;
  uint32_t create_seqid_ = 0;
  ByteVector session_;
  std::map<uint32_t, uint32_t> seqids_;
};

// A test with clients of root's, of two sessions.
class WithClients : public Conformance {
 public:
  void SetUp() override {
    Conformance::SetUp();
    alice.connect();
    bob.connect();
  }
  Client alice{*this, "alice"}, bob{*this, "bob"};
};

constexpr uint32_t session_slots = 16;  // of the clients' sessions

struct ChannelAttributes {
  uint32_t header_pad = 0, request_max = 1100000, response_max = 1100000, cached_max = 8192, operations = 64,
           slots = session_slots;
};
Ops exchange_id(uint64_t verifier, std::string_view owner, uint32_t flags = 0);
Ops create_session(uint64_t client, uint32_t seqid, uint32_t flags = 1, const ChannelAttributes& fore = {},
                   const ChannelAttributes& back = {});
Ops destroy_session(Bytes session);
Ops destroy_clientid(uint64_t client);
Ops bind_conn(Bytes session, uint32_t direction);

struct Exchanged {
  uint64_t client = 0;
  uint32_t seqid = 0, flags = 0;
  static constexpr uint32_t confirmed = 0x80000000;
};
Exchanged exchanged_of(const Reply& reply);
struct SessionCreated {
  ByteVector id;
  uint32_t seqid = 0, flags = 0;
  ChannelAttributes fore, back;
};
SessionCreated created_of(const Reply& reply);

}  // namespace perdure::conformance
