#include "conformance/conformance.h"

#include <cstdlib>
#include <fstream>
#include <random>

#include "log/log_file.h"

namespace perdure::conformance {

namespace {

constexpr size_t mangled_max = 60;                     // COMPOUNDs of one test that are sent again
constexpr size_t session_at = 16, session_bytes = 16;  // in a COMPOUND without tag that begins with SEQUENCE
constexpr uint32_t mangled_slot = session_slots - 1;

void patch(ByteVector& bytes, size_t at, uint32_t value) {
  wire::XdrEncoder out;
  out.put_u32(value);
  const ByteVector word = out.flatten();
  std::memcpy(bytes.data() + at, word.data(), word.size());
}

bool begins_with_sequence(Bytes compound) {
  wire::XdrDecoder in(compound);
  const bool no_tag = in.get_opaque(1024).empty();
  in.get_u32(), in.get_u32();
  return in.get_u32() == static_cast<uint32_t>(OP_SEQUENCE) && no_tag && in.ok() &&
         compound.size() >= session_at + session_bytes + 16;
}

}  // namespace

Conformance::Conformance() = default;

std::optional<Reply> Conformance::send(Bytes compound, uint32_t uid, uint32_t xid) {
  xid = server.send(compound, uid, xid);
  const bool ended = server.pump_until([&] { return server.replied(xid) || server.refused(xid); });
  EXPECT_TRUE(ended) << "no reply";
  if (!ended || server.refused(xid)) return std::nullopt;
  Reply reply = parse_reply(server.await(xid).bytes());
  EXPECT_EQ(reply.problem, "");
  return reply;
}

Reply Conformance::call(const Ops& ops, uint32_t uid) {
  ByteVector bytes = ops.finish();
  note_sent(bytes, uid);
  std::optional<Reply> reply = send(bytes, uid);
  if (sent_.size() < mangled_max) sent_.emplace_back(std::move(bytes), uid);
  if (!reply) ADD_FAILURE() << "refused";
  return reply ? std::move(*reply) : Reply{};
}

Reply Conformance::expect(Nfsstat4 status, const Ops& ops, uint32_t uid) {
  Reply reply = call(ops, uid);
  const std::string last = reply.results.empty() ? "nothing" : nfs4::name(reply.results.back().operation);
  EXPECT_EQ(std::string(nfs4::name(reply.status)), nfs4::name(status)) << "by " << last;
  return reply;
}

void Conformance::restart() {
  fuzz::put_event(traffic_, {.kind = fuzz::EventKind::restart, .bytes = {}});
  server.crash();
  server.start();
}

void Conformance::pass(std::chrono::seconds time) {
  for (int64_t left = time.count(); left > 0; left -= UINT8_MAX)
    fuzz::put_event(traffic_, {.kind = fuzz::EventKind::pass,
                               .number = static_cast<uint8_t>(std::min<int64_t>(left, UINT8_MAX)),
                               .bytes = {}});
  for (; time.count() > 0; time -= std::chrono::seconds(1)) {
    server.env.advance(std::chrono::seconds(1));
    server.env.run_until_idle();
  }
}

void Conformance::note_sent(Bytes compound, uint32_t uid) {
  fuzz::Event event{.kind = fuzz::EventKind::compound,
                    .number = static_cast<uint8_t>(std::min<uint32_t>(uid, UINT8_MAX)),
                    .bytes = ByteVector(compound.begin(), compound.end())};
  if (compound.size() > UINT16_MAX) return;
  if (fuzz::begins_with_sequence(compound)) {
    const fuzz::SequenceIds::Slot slot = fuzz::SequenceIds::slot_of(compound);
    const uint32_t id = fuzz::SequenceIds::id_of(compound);
    if (ids_.next(slot) == id) event.kind = fuzz::EventKind::in_sequence;
    ids_.used(slot, id);
  }
  fuzz::put_event(traffic_, event);
}

void Conformance::write_traffic() {
  const char* directory = std::getenv("PERDURE_TRAFFIC_DIR");
  if (directory == nullptr) return;
  const ::testing::TestInfo* test = ::testing::UnitTest::GetInstance()->current_test_info();
  std::string name = std::string(test->test_suite_name()) + "." + test->name();
  std::ranges::replace(name, '/', '_');
  std::ofstream file(std::string(directory) + "/compound." + name, std::ios::binary);
  file << text_of(traffic_);
  std::ofstream rows(std::string(directory) + "/rows." + name, std::ios::binary);
  rows << text_of(logged_rows());
  EXPECT_TRUE(file.good() && rows.good());
}

// All that is in the log, as fuzz/rows.cc takes it.
ByteVector Conformance::logged_rows() const {
  const ByteVector log = server.env.content("log");
  const log::ReadAt read_at = [&log](uint64_t offset, MutableBytes into) -> Result<void> {
    std::ranges::copy(Bytes(log).subspan(offset, into.size()), into.begin());
    return {};
  };
  ByteVector rows{std::byte{0}};
  const auto each_record = [&rows](Bytes record, Lsn) -> Result<void> {
    TRY(log::for_each_change(record, [&rows](const log::RowChange& change) {
      fuzz::Event event{.kind = fuzz::EventKind::compound, .number = change.table, .bytes = {}};
      event.bytes.push_back(std::byte{change.erased ? uint8_t{2} : uint8_t{0}});
      event.bytes.push_back(static_cast<std::byte>(change.key.size()));
      event.bytes.insert(event.bytes.end(), change.key.begin(), change.key.end());
      event.bytes.insert(event.bytes.end(), change.row.begin(), change.row.end());
      if (event.bytes.size() < 1024) fuzz::put_event(rows, event);
    }));
    return {};
  };
  EXPECT_TRUE(log::read_log(read_at, log.size(), "log", Lsn(0), each_record));
  return rows;
}

void Conformance::TearDown() {
  write_traffic();
  if (!HasFailure()) send_mangled();
  EXPECT_FALSE(server.failed());
}

// On a slot of its own, so that what is behind SEQUENCE is executed.
void Conformance::send_mangled() {
  std::minstd_rand random(static_cast<unsigned>(sent_.size()) + 1);
  std::map<ByteVector, uint32_t> seqids;
  for (size_t i = 0; i < 3 * sent_.size(); ++i) {
    auto [compound, uid] = sent_[i / 3];
    ByteVector session;
    size_t begin = 0;
    if (begins_with_sequence(compound)) {
      session.assign(compound.data() + session_at, compound.data() + session_at + session_bytes);
      patch(compound, session_at + session_bytes, seqids[session] + 1);
      patch(compound, session_at + session_bytes + 4, mangled_slot);
      begin = session_at + session_bytes + 16;
    }
    if (random() % 8 == 0) begin = 0;
    if (begin >= compound.size()) continue;
    if (i % 3 == 0) {
      compound.resize(begin + random() % (compound.size() - begin));
    } else {
      for (size_t flips = 1 + random() % 4; flips > 0; --flips)
        compound[begin + random() % (compound.size() - begin)] ^= static_cast<std::byte>(1U << random() % 8);
    }
    SCOPED_TRACE("mangled COMPOUND " + std::to_string(i));
    const std::optional<Reply> reply = send(compound, uid);
    if (reply && !reply->results.empty() && reply->results[0].operation == OP_SEQUENCE &&
        reply->results[0].status == NFS4_OK)
      ++seqids[session];
    if (HasFailure()) return;
  }
}

// -------------------------------------------------------------------------------------------------- clients

Client& Client::connect(bool reclaim_complete, uint32_t flags) {
  const Exchanged exchanged = exchanged_of(expect(NFS4_OK, exchange_id(1, owner_)));
  id_ = exchanged.client;
  create_seqid_ = exchanged.seqid - 1;
  new_session(flags);
  if (reclaim_complete) ok(seq().op(OP_RECLAIM_COMPLETE).u32(0));
  return *this;
}

void Client::new_session(uint32_t flags) {
  session_ = created_of(expect(NFS4_OK, create_session(id_, ++create_seqid_, flags))).id;
  seqids_.clear();
}

Ops Client::seq(uint32_t slot, bool cache_this) {
  ++seqids_[slot];
  return seq_again(slot, cache_this);
}

Ops Client::seq_again(uint32_t slot, bool cache_this) {
  Ops ops(minor_version_);
  ops.sequence(session_, seqids_[slot], slot, session_slots - 1, cache_this);
  return ops;
}

Client::Opened Client::create_file(const std::string& name, const std::string& open_owner, uint32_t bits) {
  const Reply reply = ok(
      seq()
          .root()
          .open(
              {.name = name, .how = How::guarded, .owner = open_owner, .attributes = conformance::mode(bits)})
          .getfh());
  return {handle_of(reply), stateid_of(reply, OP_OPEN)};
}

Client::Opened Client::open_file(const std::string& name, uint32_t access, uint32_t deny,
                                 const std::string& open_owner) {
  const Reply reply =
      ok(seq().root().open({.name = name, .access = access, .deny = deny, .owner = open_owner}).getfh());
  return {handle_of(reply), stateid_of(reply, OP_OPEN)};
}

ByteVector Client::mkdir(const std::string& name, uint32_t bits) {
  return handle_of(ok(seq().root().mkdir(name, conformance::mode(bits)).getfh()));
}

ByteVector Client::handle(std::initializer_list<std::string_view> path) {
  Ops ops = seq();
  ops.root();
  for (const std::string_view name : path) ops.lookup(name);
  return handle_of(ok(ops.getfh()));
}

ByteVector Client::attribute(Bytes handle, Attribute a) {
  return attribute_of(ok(seq().fh(handle).getattr({a})));
}

std::string Client::content(Bytes handle) {
  return data_of(ok(seq().fh(handle).read(read_bypass(), 0, 1000000))).data;
}

// ------------------------------------------------------------------------------------------------- sessions

Ops exchange_id(uint64_t verifier, std::string_view owner, uint32_t flags) {
  return Ops().op(OP_EXCHANGE_ID).u64(verifier).text(owner).u32(flags).u32(0).u32(0);
}

Ops create_session(uint64_t client, uint32_t seqid, uint32_t flags, const ChannelAttributes& fore,
                   const ChannelAttributes& back) {
  Ops ops;
  ops.op(OP_CREATE_SESSION).u64(client).u32(seqid).u32(flags);
  for (const ChannelAttributes* c : {&fore, &back}) {
    ops.u32(c->header_pad).u32(c->request_max).u32(c->response_max).u32(c->cached_max);
    ops.u32(c->operations).u32(c->slots).u32(0);
  }
  return ops.u32(0x40000000).u32(0);
}

Ops destroy_session(Bytes session) {
  return Ops().op(OP_DESTROY_SESSION).fixed(session);
}

Ops destroy_clientid(uint64_t client) {
  return Ops().op(OP_DESTROY_CLIENTID).u64(client);
}

Ops bind_conn(Bytes session, uint32_t direction) {
  return Ops().op(OP_BIND_CONN_TO_SESSION).fixed(session).u32(direction).u32(0);
}

Exchanged exchanged_of(const Reply& reply) {
  wire::XdrDecoder in = reply.in(OP_EXCHANGE_ID);
  Exchanged result;
  result.client = in.get_u64();
  result.seqid = in.get_u32();
  result.flags = in.get_u32();
  EXPECT_TRUE(in.ok());
  return result;
}

SessionCreated created_of(const Reply& reply) {
  wire::XdrDecoder in = reply.in(OP_CREATE_SESSION);
  SessionCreated result;
  const Bytes id = in.get_opaque_fixed(16);
  result.id.assign(id.begin(), id.end());
  result.seqid = in.get_u32();
  result.flags = in.get_u32();
  for (ChannelAttributes* c : {&result.fore, &result.back}) {
    c->header_pad = in.get_u32();
    c->request_max = in.get_u32();
    c->response_max = in.get_u32();
    c->cached_max = in.get_u32();
    c->operations = in.get_u32();
    c->slots = in.get_u32();
    in.get_u32();
  }
  EXPECT_TRUE(in.ok());
  return result;
}

}  // namespace perdure::conformance
