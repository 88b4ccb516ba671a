// Clients that send anything: a whole vserver on a simulated disk gets COMPOUNDs, RPC records and streams
// (traffic.h). Each call is answered by a well-formed reply or refused; the rows are consistent at every
// crash and in the end (the fixture looks).
#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>

#include "conformance/reply.h"
#include "fuzz/fuzz.h"
#include "fuzz/traffic.h"
#include "server/rpc_front.h"
#include "server/testing/vserver_fixture.h"
#include "wire/record_reader.h"

namespace perdure::fuzz {

namespace {

constexpr size_t events_max = 200;

class Traffic : private wire::Transport {
 public:
  Traffic() { server_.start(); }

  void happen(Event event) {
    switch (event.kind) {
      case EventKind::in_sequence:
        if (begins_with_sequence(event.bytes)) return send_in_sequence(event);
        [[fallthrough]];
      case EventKind::compound:
        send(event);
        sent_.push_back(std::move(event));
        return;
      case EventKind::again:
        if (!sent_.empty()) send(sent_[event.number % sent_.size()]);
        return;
      case EventKind::stream:
        return receive(event.bytes);
      case EventKind::pass:
        server_.env.advance(std::chrono::seconds(event.number));
        return;
      case EventKind::restart:
        settle();
        server_.crash();
        server_.start();
        return;
    }
  }
  void settle() {
    server_.env.run_until_idle();
    CHECK(!server_.failed());
  }

 private:
  // Of what the RPC front answers itself; nothing looks at it. The others go to the fixture.
  void send(wire::ConnectionId, wire::Reply&& message) override {
    CHECK(wire::parse_reply(message.flatten()));
  }
  void close(wire::ConnectionId) override { closed_ = true; }
  wire::ConnectionId connect(const wire::Address&) override { return {}; }

  void send_in_sequence(Event event) {
    const SequenceIds::Slot slot = SequenceIds::slot_of(event.bytes);
    const uint32_t id = ids_.next(slot);
    SequenceIds::set_id(event.bytes, id);
    const std::optional<conformance::Reply> reply = send(event);
    const bool good = reply && !reply->results.empty() &&
                      reply->results[0].operation == nfs4::Opnum4::OP_SEQUENCE &&
                      reply->results[0].status == nfs4::Nfsstat4::NFS4_OK;
    if (good || !event.awaited) ids_.used(slot, id);
    sent_.push_back(std::move(event));
  }

  // Its reply, if the event waits for it.
  std::optional<conformance::Reply> send(const Event& event) {
    const uint32_t uid = event.number == 255 ? 65534 : event.number;
    const uint32_t xid = server_.send(event.bytes, uid);
    if (!event.awaited) return {};
    CHECK(server_.pump_until([&] { return server_.replied(xid) || server_.refused(xid); }));
    if (server_.refused(xid)) return {};
    conformance::Reply reply = conformance::parse_reply(server_.await(xid).bytes());
    if (!reply.problem.empty()) std::fprintf(stderr, "malformed reply: %s\n", reply.problem.c_str());
    CHECK(reply.problem.empty());
    return reply;
  }

  // On a connection of its own.
  void receive(Bytes stream) {
    server::RpcFront front;
    front.add_program(100003, 4, 4, 2, server_.vserver().nfs());
    front.set_callback_sink(server_.vserver().nfs().callbacks());
    front.attach(*this);
    const wire::ConnectionId connection(1000 + connections_++);
    wire::RecordReader reader({});
    closed_ = false;
    bool broken = false;
    while (!stream.empty() && !broken && !closed_) {
      const MutableBytes room = reader.room();
      const size_t n =
          std::min({size_t{1} + static_cast<size_t>(stream[0]) * 16, room.size(), stream.size()});
      std::ranges::copy(stream.first(n), room.begin());
      stream = stream.subspan(n);
      reader.received(n);
      for (;;) {
        wire::Record record;
        const wire::RecordReader::Next next = reader.next(record);
        broken = next == wire::RecordReader::Next::broken;
        if (next != wire::RecordReader::Next::record || closed_) break;
        server_.env.post([&front, &connection, &record] {
          front.handle({.message = record.message,
                        .chunk = record.chunk,
                        .ticket = {},
                        .connection = connection,
                        .peer = {}});
        });
        server_.env.run_until_idle();
      }
    }
    server_.env.post([&] { front.closed(connection); });
    server_.env.run_until_idle();
  }

  server::testing::VserverFixture server_;
  SequenceIds ids_;
  std::vector<Event> sent_;
  uint64_t connections_ = 0;
  bool closed_ = false;
};

}  // namespace

void fuzz(Bytes input) {
  // libFuzzer keeps the input of what aborts, not of what traps.
  ::testing::GTEST_FLAG(break_on_failure) = true;
  std::signal(SIGTRAP, [](int) { std::abort(); });
  Traffic traffic;
  for (size_t n = 0; n < events_max; ++n) {
    std::optional<Event> event = take_event(input);
    if (!event) break;
    traffic.happen(std::move(*event));
  }
  traffic.settle();
}

}  // namespace perdure::fuzz
