// The whole server behind a real socket: what clients send that is cut off, too big, in pieces, in heaps or
// nonsense, and clients that do not listen. (The connections alone: server/connection_test.cc.)
#include <gtest/gtest.h>

#include <filesystem>
#include <random>
#include <thread>

#include "conformance/conformance.h"
#include "server/rpc_front.h"
#include "server/testing/server_thread.h"
#include "store/testing/memory_kv_store.h"

namespace perdure::conformance {
namespace {

// A vserver at durability level memory, behind RPC.
class WholeServer final : public server::RequestHandler {
 public:
  void start(server::ServerThread& thread, const std::string& directory) {
    front_.attach(thread.front_end());
    store::open_block_file(thread.env(), directory + "/blocks",
                           {.bytes_max = 64U << 20U, .step_bytes = 16U << 20U, .keep_free_bytes = 0},
                           [this, &thread](Result<std::unique_ptr<store::BlockStore>> blocks) {
                             ASSERT_TRUE(blocks) << blocks.error().message;
                             restore(thread, *std::move(blocks));
                           });
  }
  bool started() const { return vserver_ != nullptr; }
  void stop() {
    vserver_->stop([this] { stopped_ = true; });
  }
  bool stopped() const { return stopped_; }

  void handle(wire::Request&& request) override { front_.handle(std::move(request)); }
  void closed(wire::ConnectionId connection) override { front_.closed(connection); }

 private:
  void restore(server::ServerThread& thread, std::unique_ptr<store::BlockStore> blocks) {
    server::Vserver::Parts parts;
    parts.store = std::make_unique<store::testing::MemoryKvStore>(
        thread.env(), std::make_shared<store::testing::MemoryKvImage>());
    parts.blocks = std::move(blocks);
    server::VserverOptions options;
    options.epoch = Epoch(1);
    options.memory_bytes = 64U << 20U;
    options.nfs.exports[0].squash = nfs4::Squash::none;
    server::Vserver::start(
        thread.env(), std::move(parts), options, [](Error error) { ADD_FAILURE() << error.message; },
        [this, &thread](Result<std::unique_ptr<server::Vserver>> vserver) {
          ASSERT_TRUE(vserver) << vserver.error().message;
          vserver_ = *std::move(vserver);
          vserver_->nfs().attach(thread.front_end());
          front_.set_callback_sink(vserver_->nfs().callbacks());
          front_.add_program(nfs4::nfs4_program, nfs4::nfs4_version, nfs4::nfs4_version, 2, vserver_->nfs());
        });
  }

  server::RpcFront front_;
  std::unique_ptr<server::Vserver> vserver_;
  bool stopped_ = false;
};

class Tcp : public ::testing::Test {
 public:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "perdure-tcp-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    directory_ = name;
    thread.emplace([](server::ServerThread&) { return std::make_unique<WholeServer>(); }, options);
    thread->on_loop([&] { whole().start(*thread, directory_); });
    ASSERT_TRUE(thread->wait_until([&] { return whole().started(); }));
    connection.emplace(thread->address());
    const Exchanged exchanged = exchanged_of(ok(exchange_id(1, "owner")));
    client = exchanged.client;
    session = created_of(ok(create_session(client, exchanged.seqid, 0, {.slots = slots})));
    ok(seq(0).op(OP_RECLAIM_COMPLETE).u32(0));
  }
  void TearDown() override {
    connection.reset();
    thread->on_loop([&] { whole().stop(); });
    EXPECT_TRUE(thread->wait_until([&] { return whole().stopped() && wire::chunk_bytes_in_use() == 0; }))
        << wire::chunk_bytes_in_use() << " bytes of requests are held by nobody";
    thread.reset();
    std::filesystem::remove_all(directory_);
  }

  static std::string message(uint32_t xid, Bytes compound, size_t machine_name_bytes = 0) {
    wire::XdrEncoder call;
    wire::Credential who;
    who.flavor = wire::AuthFlavor::AUTH_SYS;
    who.uid = who.gid = 0;
    wire::begin_call(call, xid, nfs4::nfs4_program, nfs4::nfs4_version, 1, who,
                     std::string(machine_name_bytes, 'm'));
    call.put_raw(compound);
    return std::string(text_of(call.flatten()));
  }
  static std::string record(const std::string& message) {
    const uint32_t mark = std::byteswap(0x80000000U | static_cast<uint32_t>(message.size()));
    return std::string(reinterpret_cast<const char*>(&mark), 4) + message;
  }
  uint32_t send(server::Client& to, const Ops& ops) {
    EXPECT_TRUE(to.send_record(message(++xid, ops.finish())));
    return xid;
  }
  // The next reply, whosever it is; nothing if the server has closed.
  std::optional<std::pair<uint32_t, Reply>> receive(server::Client& from) {
    const std::string bytes = from.receive_record();
    const auto header = wire::parse_reply(bytes_of(bytes));
    if (!header) return std::nullopt;
    Reply reply;  // without a result if RPC has refused it
    if (header->success()) reply = parse_reply(ByteVector(header->results.begin(), header->results.end()));
    EXPECT_EQ(reply.problem, "");
    return std::pair(header->xid, std::move(reply));
  }
  Reply call(const Ops& ops) {
    const uint32_t sent = send(*connection, ops);
    const auto received = receive(*connection);
    EXPECT_TRUE(received && received->first == sent);
    return received ? received->second : Reply{};
  }
  Reply expect(Nfsstat4 status, const Ops& ops) {
    Reply reply = call(ops);
    EXPECT_STREQ(nfs4::name(reply.status), nfs4::name(status));
    return reply;
  }
  Reply ok(const Ops& ops) { return expect(NFS4_OK, ops); }
  Ops seq(uint32_t slot, bool cache_this = false) {
    return Ops().sequence(session.id, ++seqids_[slot], slot, slots - 1, cache_this);
  }
  Ops seq_again(uint32_t slot) const {
    return Ops().sequence(session.id, seqids_.at(slot), slot, slots - 1, false);
  }

  WholeServer& whole() { return static_cast<WholeServer&>(thread->handler()); }

  static constexpr uint32_t slots = 64;
  server::FrontEndOptions options;
  std::optional<server::ServerThread> thread;
  std::optional<server::Client> connection;
  uint64_t client = 0;
  SessionCreated session;
  uint32_t xid = 0;

 private:
  std::string directory_;
  std::map<uint32_t, uint32_t> seqids_;
};

TEST_F(Tcp, ManyRequestsInOneWrite) {
  std::string all;
  for (uint32_t slot = 0; slot < slots; ++slot)
    all += record(message(slot, seq(slot).root().mkdir("d" + std::to_string(slot)).finish()));
  ASSERT_TRUE(connection->write(bytes_of(all)));
  std::set<uint32_t> answered;
  for (uint32_t slot = 0; slot < slots; ++slot) {
    const auto reply = receive(*connection);
    ASSERT_TRUE(reply);
    EXPECT_STREQ(nfs4::name(reply->second.status), "NFS4_OK");
    answered.insert(reply->first);
  }
  EXPECT_EQ(answered.size(), slots);
  xid = slots;
  for (uint32_t slot = 0; slot < slots; ++slot) ok(seq(slot).root().lookup("d" + std::to_string(slot)));
}

TEST_F(Tcp, ARequestInManyPieces) {
  const std::string whole_message = message(++xid, seq(0).root().mkdir("d").finish());
  std::string fragments;  // of one byte each
  for (size_t i = 0; i < whole_message.size(); ++i) {
    const bool last = i + 1 == whole_message.size();
    const uint32_t mark = std::byteswap(last ? 0x80000001U : 1U);
    fragments += std::string(reinterpret_cast<const char*>(&mark), 4) + whole_message[i];
  }
  for (const char c : fragments) ASSERT_TRUE(connection->write(bytes_of(std::string_view(&c, 1))));
  const auto reply = receive(*connection);
  ASSERT_TRUE(reply);
  EXPECT_STREQ(nfs4::name(reply->second.status), "NFS4_OK");
  ok(seq(0).root().lookup("d"));
}

TEST_F(Tcp, ARequestThatIsCutOffIsNotExecuted) {
  const std::string whole_record = record(message(++xid, seq(0).root().mkdir("d").finish()));
  for (size_t size = 0; size < whole_record.size(); size += 3) {
    server::Client other(thread->address());
    ASSERT_TRUE(other.write(bytes_of(std::string_view(whole_record).substr(0, size))));
  }
  EXPECT_TRUE(thread->wait_until([&] { return thread->front_end().connections() == 1; }));
  expect(NFS4ERR_NOENT, seq(1).root().lookup("d"));
  ASSERT_TRUE(connection->write(bytes_of(whole_record)));
  EXPECT_STREQ(nfs4::name(receive(*connection)->second.status), "NFS4_OK");
}

// RFC 8881 §18.36.3: ca_maxrequestsize is all that the record mark counts.
TEST_F(Tcp, TheLimitOfRequestsCountsTheRpcHeader) {
  const std::string name(100, 'n');
  const auto request = [&](const SessionCreated& limited, uint32_t seqid) {
    return Ops().sequence(limited.id, seqid, 0, 0, false).root().lookup(name).finish();
  };
  constexpr size_t machine_name_bytes = 200;
  const size_t bytes = message(0, request(session, 1), machine_name_bytes).size();
  const ChannelAttributes limits{.request_max = static_cast<uint32_t>(bytes), .slots = 1};
  const SessionCreated limited = created_of(ok(create_session(client, 2, 0, limits)));
  const auto status = [&](uint32_t seqid, size_t name_bytes) {
    EXPECT_TRUE(connection->send_record(message(++xid, request(limited, seqid), name_bytes)));
    const auto reply = receive(*connection);
    return reply ? reply->second.status : NFS4ERR_SERVERFAULT;
  };
  EXPECT_EQ(status(1, machine_name_bytes), NFS4ERR_NOENT);
  EXPECT_EQ(status(2, machine_name_bytes + 1), NFS4ERR_REQ_TOO_BIG);
  EXPECT_EQ(status(2, 0), NFS4ERR_NOENT);
}

TEST_F(Tcp, ARecordThatIsTooBigCostsItsConnection) {
  for (const uint32_t length : {16U << 20U, 0x7fffffffU}) {
    server::Client other(thread->address());
    const uint32_t mark = std::byteswap(0x80000000U | length);
    ASSERT_TRUE(other.write(std::as_bytes(std::span(&mark, 1))));
    EXPECT_TRUE(other.closed());
  }
  ok(seq(0).root());
}

// A valid session in it, so that it is not thrown out at the door.
TEST_F(Tcp, NonsenseIsAnsweredOrCostsItsConnection) {
  std::mt19937 random(1);
  const auto below = [&](size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(random); };
  std::optional<server::Client> other;
  size_t answered = 0;
  uint32_t seqid = 1;
  for (uint32_t i = 0; i < 2000; ++i) {
    Ops ops = Ops().sequence(session.id, seqid, 5, 5, true).root().readdir(0, 0, 1000, 1000);
    std::string bytes = message(i, ops.write(anonymous(), i, "data").finish());
    const size_t from = 4 * below(bytes.size() / 4);  // at times the RPC header, too
    if (i % 3 == 0) bytes.resize(from);
    if (i % 3 == 1) bytes[from + below(4)] ^= static_cast<char>(1U << below(8));
    if (i % 3 == 2) bytes.replace(from, 4, 4, '\xff');
    if (!other) other.emplace(thread->address());
    const auto reply = other->send_record(bytes) ? receive(*other) : std::nullopt;
    if (!reply) {
      other.reset();
      continue;
    }
    ++answered;
    const auto& results = reply->second.results;
    if (!results.empty() && results[0].operation == OP_SEQUENCE && results[0].status == NFS4_OK) ++seqid;
  }
  EXPECT_GT(seqid, 500U);
  EXPECT_GT(answered, 1000U);
  ok(seq(0).root());
}

TEST_F(Tcp, AClientThatDoesNotReadIsNotReadEither) {
  constexpr uint32_t size = 1U << 20U;
  const Reply opened = ok(seq(0).root().open({.name = "f", .how = How::unchecked}).getfh());
  const ByteVector handle = handle_of(opened);
  const Stateid stateid = stateid_of(opened, OP_OPEN);
  ok(seq(0).fh(handle).write(stateid, 0, std::string(size, 'x')));
  uint64_t requests = 0;
  thread->on_loop([&] { requests = thread->front_end().figures().requests; });
  server::Client slow(thread->address(), 8192);
  for (uint32_t slot = 1; slot < slots; ++slot) send(slow, seq(slot).fh(handle).read(stateid, 0, size));
  constexpr int meanwhile = 50;
  for (int i = 0; i < meanwhile; ++i) ok(seq(0).root());
  thread->on_loop([&] {
    requests = thread->front_end().figures().requests - requests - meanwhile;
    EXPECT_LT(requests, slots / 2) << "what waits for a client is bounded";
  });
  for (uint32_t slot = 1; slot < slots; ++slot) {
    const auto reply = receive(slow);
    ASSERT_TRUE(reply);
    EXPECT_EQ(data_of(reply->second).data.size(), size);
  }
}

// The reply to a request whose connection is gone waits for its repetition on another one.
TEST_F(Tcp, ARepetitionOnAnotherConnection) {
  const Ops request = seq(3).root().mkdir("d");
  {
    server::Client other(thread->address());
    send(other, request);
  }
  EXPECT_TRUE(thread->wait_until([&] { return thread->front_end().connections() == 1; }));
  const Reply first = ok(request);
  EXPECT_EQ(ok(seq_again(3).root().mkdir("d")).bytes, first.bytes);
  expect(NFS4ERR_EXIST, seq(3).root().mkdir("d"));
}

}  // namespace
}  // namespace perdure::conformance
