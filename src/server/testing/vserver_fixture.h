// A whole vserver on a simulated disk, driven by COMPOUNDs as bytes: for tests of what a client sees, crashes
// included.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "env/testing/test_env.h"
#include "nfs4/types.h"
#include "server/vserver.h"
#include "store/testing/memory_kv_store.h"
#include "wire/xdr.h"

namespace perdure::server::testing {

using nfs4::Nfsstat4;
using nfs4::Opnum4;

// Builds COMPOUND4args, one operation after another.
class CompoundBuilder {
 public:
  explicit CompoundBuilder(uint32_t minor_version = 2) : minor_version_(minor_version) {}
  CompoundBuilder(const CompoundBuilder& other)
      : minor_version_(other.minor_version_), operations_(other.operations_) {
    args_.put_raw(other.args_.flatten());
  }

  // Starts an operation; its arguments follow through args().
  CompoundBuilder& op(Opnum4 number) {
    ++operations_;
    args_.put_u32(static_cast<uint32_t>(number));
    return *this;
  }
  CompoundBuilder& u32(uint32_t v) { return args_.put_u32(v), *this; }
  CompoundBuilder& u64(uint64_t v) { return args_.put_u64(v), *this; }
  CompoundBuilder& text(std::string_view v) { return args_.put_string(v), *this; }
  CompoundBuilder& opaque(Bytes v) { return args_.put_opaque(v), *this; }
  CompoundBuilder& fixed(Bytes v) { return args_.put_opaque_fixed(v), *this; }
  wire::XdrEncoder& args() { return args_; }

  // Operations that tests use all the time.
  CompoundBuilder& putrootfh() { return op(Opnum4::OP_PUTROOTFH); }
  CompoundBuilder& putfh(Bytes handle) { return op(Opnum4::OP_PUTFH).opaque(handle); }
  CompoundBuilder& getfh() { return op(Opnum4::OP_GETFH); }
  CompoundBuilder& lookup(std::string_view name) { return op(Opnum4::OP_LOOKUP).text(name); }
  CompoundBuilder& mkdir(std::string_view name) {
    return op(Opnum4::OP_CREATE).u32(2).text(name).u32(0).u32(0);  // NF4DIR, no attributes
  }
  CompoundBuilder& remove(std::string_view name) { return op(Opnum4::OP_REMOVE).text(name); }
  // OPEN with CLAIM_NULL: GUARDED4, no attributes, access BOTH.
  CompoundBuilder& create_file(std::string_view name, std::string_view owner);
  // OPEN with CLAIM_NULL of an existing file.
  CompoundBuilder& open_file(std::string_view name, std::string_view owner, uint32_t access, uint32_t deny);
  CompoundBuilder& write(Bytes stateid, uint64_t offset, uint32_t stable, Bytes data);
  CompoundBuilder& read(Bytes stateid, uint64_t offset, uint32_t count);

  ByteVector finish() const;

 private:
  uint32_t minor_version_, operations_ = 0;
  wire::XdrEncoder args_;
};

// COMPOUND4res, read operation by operation.
class CompoundReply {
 public:
  explicit CompoundReply(ByteVector bytes);
  Nfsstat4 status() const { return status_; }
  uint32_t results() const { return results_; }
  // Goes to the next result, which must be of this operation; gives its status. The result follows in in().
  Nfsstat4 next(Opnum4 number);
  wire::XdrDecoder& in() { return in_; }
  const ByteVector& bytes() const { return bytes_; }

 private:
  ByteVector bytes_;
  wire::XdrDecoder in_;
  Nfsstat4 status_{};
  uint32_t results_ = 0;
};

// Of the RPC message of a call: AUTH_SYS without a machine name and groups.
inline constexpr uint32_t call_header_bytes = 60;

class VserverFixture : private wire::Transport {
 public:
  explicit VserverFixture(uint64_t seed = 1);
  ~VserverFixture() override;

  // Restoration from what is on the disk; a new vserver the first time.
  void start();
  // The power goes: what was not stable is lost or torn.
  void crash();
  void stop();

  // Sends a call; its reply can be awaited. `uid`: AUTH_SYS. `xid`: of its own, 0: the next one.
  uint32_t send(Bytes compound, uint32_t uid = 0, uint32_t xid = 0);
  bool replied(uint32_t xid) const { return replies_.contains(xid); }
  // Answered by an error of RPC's.
  bool refused(uint32_t xid) const { return refused_.contains(xid); }
  // Turns until the reply is there.
  CompoundReply await(uint32_t xid);
  CompoundReply call(const CompoundBuilder& compound, uint32_t uid = 0) {
    return await(send(compound.finish(), uid));
  }

  void forget_replies() { replies_.clear(); }

  // The server's own calls, in their order, and the answer to one: a CB_COMPOUND4res.
  struct Callback {
    uint32_t xid = 0;
    ByteVector arguments;
    uint32_t procedure = 0;
    wire::ConnectionId connection;
  };
  std::vector<Callback> callbacks;
  void answer(const Callback& callback, Bytes results);
  // The connections that the server has made, and to where. While it is refused, there is no way.
  std::map<wire::ConnectionId, wire::Address> made;
  bool refuses = false;
  // One of those ends.
  void lose(wire::ConnectionId connection);
  // The connection ends, and what comes next comes over a new one.
  void reconnect();

  wire::Address peer;  // from where calls come
  env::TestEnv env;
  uint64_t log_bytes = 16U << 20U;  // of a new log
  VserverOptions options;
  store::testing::MemoryKvOptions store_options;  // from the next start() on
  Vserver& vserver() { return *vserver_; }
  bool failed() const { return failed_; }
  // What server/check.h finds in the rows as they are now. Nothing must be found at any moment; after each
  // start and before each crash the fixture looks by itself.
  std::vector<std::string> findings();
  // Turns and time until the condition holds; false after a minute.
  bool pump_until(const std::function<bool()>& condition);

 private:
  void send(wire::ConnectionId connection, wire::Reply&& message) override;
  void close(wire::ConnectionId connection) override { made.erase(connection); }
  wire::ConnectionId connect(const wire::Address& to) override;
  template <class T, class Call>
  T wait(Call call);

  std::shared_ptr<store::testing::MemoryKvImage> image_ = std::make_shared<store::testing::MemoryKvImage>();
  std::unique_ptr<Vserver> vserver_;
  std::map<uint32_t, ByteVector> replies_;
  std::set<uint32_t> refused_;
  uint32_t next_xid_ = 1;
  uint64_t connection_ = 1, connections_made_ = 0;
  bool failed_ = false;
};

// A client of one session, whose slots it uses one at a time.
class TestClient {
 public:
  TestClient(VserverFixture& server, std::string owner, uint64_t verifier = 1, uint32_t uid = 0);
  // EXCHANGE_ID, CREATE_SESSION, RECLAIM_COMPLETE.
  void connect();

  // A COMPOUND that begins with SEQUENCE on `slot`, with the slot's next sequence id.
  CompoundBuilder sequence(uint32_t slot = 0, bool cache_this = false);
  CompoundReply call(const CompoundBuilder& compound);
  // Calls and expects success of all of it; behind SEQUENCE's result.
  CompoundReply ok(const CompoundBuilder& compound);

  const std::array<std::byte, 16>& session() const { return session_; }
  uint64_t client_id() const { return client_; }
  bool persistent() const { return persistent_; }
  uint32_t uid() const { return uid_; }

 private:
  VserverFixture& server_;
  std::string owner_;
  uint64_t verifier_, client_ = 0;
  uint32_t uid_;
  std::array<std::byte, 16> session_{};
  std::map<uint32_t, uint32_t> seqids_;
  bool persistent_ = false;
};

}  // namespace perdure::server::testing
