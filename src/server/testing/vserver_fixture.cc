#include "server/testing/vserver_fixture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "server/check.h"
#include "store/block_store.h"

namespace perdure::server::testing {

using store::testing::MemoryKvStore;

// ------------------------------------------------------------------------------------------- COMPOUNDs

namespace {
void put_open_head(CompoundBuilder& b, std::string_view owner, uint32_t access, uint32_t deny) {
  b.op(Opnum4::OP_OPEN).u32(0).u32(access).u32(deny).u64(0).text(owner);
}
}  // namespace

CompoundBuilder& CompoundBuilder::create_file(std::string_view name, std::string_view owner) {
  put_open_head(*this, owner, 3, 0);
  return u32(1).u32(1).u32(0).u32(0).u32(0).text(name);
}

CompoundBuilder& CompoundBuilder::open_file(std::string_view name, std::string_view owner, uint32_t access,
                                            uint32_t deny) {
  put_open_head(*this, owner, access, deny);
  return u32(0).u32(0).text(name);
}

CompoundBuilder& CompoundBuilder::write(Bytes stateid, uint64_t offset, uint32_t stable, Bytes data) {
  return op(Opnum4::OP_WRITE).fixed(stateid).u64(offset).u32(stable).opaque(data);
}

CompoundBuilder& CompoundBuilder::read(Bytes stateid, uint64_t offset, uint32_t count) {
  return op(Opnum4::OP_READ).fixed(stateid).u64(offset).u32(count);
}

ByteVector CompoundBuilder::finish() const {
  wire::XdrEncoder all;
  all.put_string("");
  all.put_u32(minor_version_);
  all.put_u32(operations_);
  all.put_raw(args_.flatten());
  return all.flatten();
}

CompoundReply::CompoundReply(ByteVector bytes) : bytes_(std::move(bytes)), in_(bytes_) {
  status_ = static_cast<Nfsstat4>(in_.get_u32());
  in_.get_opaque(1024);
  results_ = in_.get_u32();
  EXPECT_TRUE(in_.ok());
}

Nfsstat4 CompoundReply::next(Opnum4 number) {
  EXPECT_EQ(nfs4::name(static_cast<Opnum4>(in_.get_u32())), std::string(nfs4::name(number)));
  const auto status = static_cast<Nfsstat4>(in_.get_u32());
  EXPECT_TRUE(in_.ok());
  return status;
}

// --------------------------------------------------------------------------------------------- vserver

VserverFixture::VserverFixture(uint64_t seed) : env(seed) {
  options.memory_bytes = 64U << 20U;
  options.nfs.exports[0].squash = nfs4::Squash::none;
}

VserverFixture::~VserverFixture() {
  if (vserver_ != nullptr) crash();
}

bool VserverFixture::pump_until(const std::function<bool()>& condition) {
  const env::Instant end = env.now() + std::chrono::minutes(1);
  while (!condition()) {
    if (!env.run_one()) env.advance(std::chrono::microseconds(100));
    if (env.now() > end) return false;
  }
  return true;
}

template <class T, class Call>
T VserverFixture::wait(Call call) {
  std::optional<Result<T>> result;
  env.post([&] { call([&](Result<T> r) { result.emplace(std::move(r)); }); });
  CHECK(pump_until([&] { return result.has_value(); }));
  if (!*result) ADD_FAILURE() << result->error().message;
  CHECK(result->has_value());
  if constexpr (!std::is_void_v<T>) return std::move(**result);
}

void VserverFixture::start() {
  Vserver::Parts parts;
  parts.store = std::make_unique<MemoryKvStore>(env, image_, store_options);
  if (!env.exists("log"))
    wait<void>([&](auto done) { log::LogRing::create(env, "log", log_bytes, std::move(done)); });
  parts.ring = wait<std::unique_ptr<log::LogRing>>(
      [&](auto done) { log::LogRing::open(env, "log", std::move(done)); });
  parts.blocks = wait<std::unique_ptr<store::BlockStore>>([&](auto done) {
    store::open_block_file(env, "blocks",
                           {.bytes_max = 64U << 20U, .step_bytes = 16U << 20U, .keep_free_bytes = 0},
                           std::move(done));
  });
  failed_ = false;
  options.epoch = Epoch(parts.ring->start_number().value);
  vserver_ = wait<std::unique_ptr<Vserver>>([&](auto done) {
    Vserver::start(env, std::move(parts), options, [this](Error) { failed_ = true; }, std::move(done));
  });
  vserver_->nfs().attach(*this);
  EXPECT_THAT(findings(), ::testing::IsEmpty());
}

std::vector<std::string> VserverFixture::findings() {
  std::vector<std::string> found;
  state::Findings all([&found](const std::string& line) { found.push_back(line); });
  const Result<CheckFigures> figures = check({.fs = vserver_->fs(),
                                              .clients = vserver_->clients(),
                                              .transactions = vserver_->processor().transactions(),
                                              .blocks = vserver_->blocks(),
                                              .read_blocks = {}},
                                             all);
  if (!figures) found.push_back(figures.error().message);
  return found;
}

void VserverFixture::crash() {
  EXPECT_THAT(findings(), ::testing::IsEmpty());
  env.crash();
  vserver_.reset();
  image_->crash(env.random());
  replies_.clear();
  made.clear();
  ++connection_;
}

void VserverFixture::stop() {
  bool stopped = false;
  env.post([&] { vserver_->stop([&] { stopped = true; }); });
  EXPECT_TRUE(pump_until([&] { return stopped; }));
  crash();
}

uint32_t VserverFixture::send(Bytes compound, uint32_t uid, uint32_t xid) {
  wire::RpcCall call;
  call.xid = xid != 0 ? xid : next_xid_++;
  call.peer = peer;
  call.credential.flavor = wire::AuthFlavor::AUTH_SYS;
  call.credential.uid = call.credential.gid = uid;
  call.chunk = wire::make_chunk(std::max<size_t>(compound.size(), 1), nullptr);
  std::ranges::copy(compound, call.chunk.data());
  call.arguments = {call.chunk.data(), compound.size()};
  call.message_bytes = call_header_bytes + compound.size();
  call.connection = wire::ConnectionId(connection_);
  xid = call.xid;
  env.post([this, call = std::move(call)]() mutable { vserver_->nfs().call(std::move(call)); });
  return xid;
}

wire::ConnectionId VserverFixture::connect(const wire::Address& to) {
  constexpr uint64_t first_made = uint64_t{1} << 32U;
  if (refuses) return {};
  const wire::ConnectionId connection(first_made + ++connections_made_);
  made.emplace(connection, to);
  return connection;
}

void VserverFixture::lose(wire::ConnectionId connection) {
  made.erase(connection);
  env.post([this, connection] { vserver_->nfs().closed(connection); });
  env.run_until_idle();
}

void VserverFixture::send(wire::ConnectionId connection, wire::Reply&& message) {
  const ByteVector bytes = message.flatten();
  if (wire::message_type(bytes) == wire::MessageType::CALL) {
    const auto call = wire::parse_call(bytes);
    ASSERT_TRUE(call);
    callbacks.push_back({.xid = call->xid,
                         .arguments = ByteVector(call->arguments.begin(), call->arguments.end()),
                         .procedure = call->procedure,
                         .connection = connection});
    return;
  }
  const std::optional<wire::ReplyHeader> header = wire::parse_reply(bytes);
  ASSERT_TRUE(header);
  if (!header->success()) {
    refused_.insert(header->xid);
    return;
  }
  replies_.emplace(header->xid, ByteVector(header->results.begin(), header->results.end()));
}

void VserverFixture::answer(const Callback& callback, Bytes results) {
  env.post([this, xid = callback.xid, connection = callback.connection,
            bytes = ByteVector(results.begin(), results.end())] {
    wire::ReplyHeader header{.xid = xid};
    header.results = bytes;
    vserver_->nfs().callbacks().reply(connection, header);
  });
  env.run_until_idle();
}

void VserverFixture::reconnect() {
  env.post([this, connection = connection_] { vserver_->nfs().closed(wire::ConnectionId(connection)); });
  env.run_until_idle();
  ++connection_;
}

CompoundReply VserverFixture::await(uint32_t xid) {
  EXPECT_TRUE(pump_until([&] { return replied(xid); })) << "no reply";
  auto it = replies_.find(xid);
  if (it == replies_.end()) return CompoundReply(ByteVector(12));
  ByteVector bytes = std::move(it->second);
  replies_.erase(it);
  return CompoundReply(std::move(bytes));
}

// ---------------------------------------------------------------------------------------------- client

TestClient::TestClient(VserverFixture& server, std::string owner, uint64_t verifier, uint32_t uid)
    : server_(server), owner_(std::move(owner)), verifier_(verifier), uid_(uid) {}

void TestClient::connect() {
  CompoundBuilder exchange;
  exchange.op(Opnum4::OP_EXCHANGE_ID).u64(verifier_).text(owner_).u32(0).u32(0).u32(0);
  CompoundReply exchanged = server_.call(exchange, uid_);
  ASSERT_EQ(exchanged.status(), Nfsstat4::NFS4_OK);
  exchanged.next(Opnum4::OP_EXCHANGE_ID);
  client_ = exchanged.in().get_u64();
  const uint32_t seqid = exchanged.in().get_u32();

  CompoundBuilder create;
  create.op(Opnum4::OP_CREATE_SESSION).u64(client_).u32(seqid).u32(1);
  for (int channel = 0; channel < 2; ++channel)
    create.u32(0).u32(1100000).u32(1100000).u32(8192).u32(64).u32(16).u32(0);
  create.u32(0x40000000).u32(0);
  CompoundReply created = server_.call(create, uid_);
  ASSERT_EQ(created.status(), Nfsstat4::NFS4_OK);
  created.next(Opnum4::OP_CREATE_SESSION);
  const Bytes id = created.in().get_opaque_fixed(session_.size());
  std::memcpy(session_.data(), id.data(), session_.size());
  created.in().get_u32();
  persistent_ = (created.in().get_u32() & 1U) != 0;

  CompoundBuilder complete = sequence();
  complete.op(Opnum4::OP_RECLAIM_COMPLETE).u32(0);
  ok(complete);
}

CompoundBuilder TestClient::sequence(uint32_t slot, bool cache_this) {
  CompoundBuilder b;
  b.op(Opnum4::OP_SEQUENCE).fixed(session_).u32(++seqids_[slot]).u32(slot).u32(15).u32(cache_this ? 1 : 0);
  return b;
}

CompoundReply TestClient::call(const CompoundBuilder& compound) {
  return server_.call(compound, uid_);
}

CompoundReply TestClient::ok(const CompoundBuilder& compound) {
  CompoundReply reply = call(compound);
  EXPECT_EQ(std::string(nfs4::name(reply.status())), "NFS4_OK");
  reply.next(Opnum4::OP_SEQUENCE);
  reply.in().get_opaque_fixed(36);
  return reply;
}

}  // namespace perdure::server::testing
