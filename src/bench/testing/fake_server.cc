#include "bench/testing/fake_server.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "bench/nfs.h"
#include "wire/xdr_decoder.h"

namespace perdure::bench {
namespace {

constexpr uint32_t last_fragment = 0x80000000;
constexpr uint32_t delay_status = 10008;
constexpr uint32_t badsession_status = 10052;

class Writer {
 public:
  Writer& u32(uint32_t v) {
    wire::store_u32(out_.extend(4), v);
    return *this;
  }
  Writer& u64(uint64_t v) {
    wire::store_u64(out_.extend(8), v);
    return *this;
  }
  Writer& bytes(Bytes b) {
    out_.put_bytes(b);
    return *this;
  }
  ByteVector take() { return out_.copy(); }

 private:
  Encoder out_;
};

Writer begin_reply(uint32_t xid, uint32_t status, uint32_t operations) {
  Writer w;
  w.u32(xid).u32(1).u32(0).u32(0).u32(0).u32(0);  // REPLY, accepted, AUTH_NONE, SUCCESS
  w.u32(status).u32(0).u32(operations);
  return w;
}

// A call up to its operations.
struct Header {
  uint32_t xid;
  uint32_t operations;
};
Header read_header(wire::XdrDecoder& d) {
  Header h{};
  h.xid = d.get_u32();
  for (int i = 0; i < 6; ++i) d.get_u32();  // CALL, versions, procedure, flavor
  d.get_opaque(400);
  d.get_u32();
  d.get_opaque(400);
  d.get_opaque(100);  // tag
  d.get_u32();
  h.operations = d.get_u32();
  CHECK(d.ok());
  return h;
}

}  // namespace

FakeServer::FakeServer() : listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CHECK(bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  CHECK(listen(listener_, 16) == 0);
  socklen_t length = sizeof address;
  CHECK(getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length) == 0);
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this] { serve(); });
}

FakeServer::~FakeServer() {
  stop_ = true;
  thread_.join();
  close(listener_);
}

void FakeServer::plan(uint64_t n, Fault fault) {
  const std::lock_guard lock(mutex_);
  plan_[n] = fault;
}

FakeServer::Fault FakeServer::next_fault() {
  const std::lock_guard lock(mutex_);
  const auto it = plan_.find(requests_++);
  return it == plan_.end() ? Fault::none : it->second;
}

void FakeServer::serve() {
  std::vector<Peer> peers;
  while (!stop_) {
    std::vector<pollfd> ready{{listener_, POLLIN, 0}};
    for (const Peer& p : peers) ready.push_back({p.fd, POLLIN, 0});
    if (poll(ready.data(), ready.size(), 20) <= 0) continue;
    for (size_t i = peers.size(); i-- > 0;) {
      if (ready[i + 1].revents == 0) continue;
      Peer& peer = peers[i];
      std::byte buffer[65536];
      const ssize_t n = recv(peer.fd, buffer, sizeof buffer, 0);
      bool good = n > 0;
      if (good) peer.received.insert(peer.received.end(), buffer, buffer + n);
      while (good && peer.received.size() >= 4) {
        const size_t length = wire::load_u32(peer.received.data()) & ~last_fragment;
        if (peer.received.size() < 4 + length) break;
        const ByteVector record(peer.received.begin() + 4,
                                peer.received.begin() + 4 + static_cast<ptrdiff_t>(length));
        peer.received.erase(peer.received.begin(),
                            peer.received.begin() + 4 + static_cast<ptrdiff_t>(length));
        good = handle(peer, record);
      }
      if (good) continue;
      close(peer.fd);
      peers.erase(peers.begin() + static_cast<ptrdiff_t>(i));
    }
    if ((ready[0].revents & POLLIN) != 0) {
      peers.push_back({accept(listener_, nullptr, nullptr), {}});
      ++connections_;
    }
  }
  for (const Peer& p : peers) close(p.fd);
}

void FakeServer::answer(Peer& peer, const ByteVector& record) {
  Writer w;
  w.u32(static_cast<uint32_t>(record.size()) | last_fragment).bytes(record);
  const ByteVector all = w.take();
  send(peer.fd, all.data(), all.size(), MSG_NOSIGNAL);
}

bool FakeServer::handle(Peer& peer, Bytes record) {
  wire::XdrDecoder d(record);
  const Header header = read_header(d);
  const size_t arguments_at = d.position();
  const auto op = static_cast<Op>(d.get_u32());
  const auto number = static_cast<uint32_t>(op);
  const SessionId session{};
  switch (op) {
    case Op::EXCHANGE_ID:
      // client id, sequence, flags, SP4_NONE, server owner, scope, no implementation id
      answer(peer, begin_reply(header.xid, 0, 1)
                       .u32(number)
                       .u32(0)
                       .u64(7)
                       .u32(1)
                       .u32(0)
                       .u32(0)
                       .u64(0)
                       .u32(0)
                       .u32(0)
                       .u32(0)
                       .take());
      return true;
    case Op::CREATE_SESSION: {
      session_known_ = true;
      Writer w = begin_reply(header.xid, 0, 1);
      w.u32(number).u32(0).bytes(session).u32(1).u32(1);
      for (int channel = 0; channel < 2; ++channel)
        w.u32(0).u32(2 << 20).u32(2 << 20).u32(8192).u32(16).u32(64).u32(0);
      answer(peer, w.take());
      return true;
    }
    case Op::BIND_CONN_TO_SESSION: {
      ++binds_;
      if (std::exchange(dumb_, false)) return true;
      const uint32_t status = session_known_ ? 0 : badsession_status;
      Writer w = begin_reply(header.xid, status, 1);
      w.u32(number).u32(status);
      if (status == 0) w.bytes(session).u32(1).u32(0);
      answer(peer, w.take());
      return true;
    }
    case Op::SEQUENCE:
      return handle_sequenced(peer, record, arguments_at);
    default:
      answer(peer, begin_reply(header.xid, 0, 1).u32(number).u32(0).take());
      return true;
  }
}

bool FakeServer::handle_sequenced(Peer& peer, Bytes record, size_t arguments_at) {
  wire::XdrDecoder d(record);
  const Header header = read_header(d);
  d.seek(arguments_at + 4);
  d.get_opaque_fixed(16);
  const uint32_t sequence = d.get_u32();
  const uint32_t slot_number = d.get_u32();
  const uint32_t highest = d.get_u32();
  d.get_u32();
  SlotState& slot = slots_[slot_number];
  const auto number = static_cast<uint32_t>(Op::SEQUENCE);
  if (slot.sequence != 0 && sequence == slot.sequence) {
    ++replayed_;
    violated_ = violated_ || !std::ranges::equal(record, slot.request);
    answer(peer, slot.reply);
    return true;
  }
  violated_ = violated_ || sequence != slot.sequence + 1;

  const Fault fault = next_fault();
  if (fault == Fault::lose_and_be_dumb) dumb_ = true;
  if (fault == Fault::lose_request || fault == Fault::lose_and_be_dumb) return false;
  if (fault == Fault::forget_session) return session_known_ = false;
  if (fault == Fault::delay) {
    answer(peer, begin_reply(header.xid, delay_status, 1).u32(number).u32(delay_status).take());
    return true;
  }
  Writer result;
  result.u32(number)
      .u32(0)
      .bytes(SessionId{})
      .u32(sequence)
      .u32(slot_number)
      .u32(highest)
      .u32(highest)
      .u32(0);
  const uint32_t xid = fault == Fault::wrong_xid ? header.xid + 77 : header.xid;
  slot.sequence = sequence;
  slot.request.assign(record.begin(), record.end());
  slot.reply = execute(d.rest(), header.operations - 1, xid, result.take());
  ++executed_;
  switch (fault) {
    case Fault::lose_reply:
      return false;
    case Fault::lose_half_reply: {
      Writer w;
      w.u32(static_cast<uint32_t>(slot.reply.size()) | last_fragment).bytes(slot.reply);
      const ByteVector all = w.take();
      send(peer.fd, all.data(), all.size() / 2, MSG_NOSIGNAL);
      return false;
    }
    case Fault::fragments: {
      Writer w;
      const Bytes all(slot.reply);
      for (size_t at = 0; at < all.size(); at += 20) {
        const Bytes piece = all.subspan(at, std::min<size_t>(20, all.size() - at));
        const bool last = at + piece.size() == all.size();
        w.u32(static_cast<uint32_t>(piece.size()) | (last ? last_fragment : 0)).bytes(piece);
      }
      const ByteVector stream = w.take();
      for (const std::byte& b : stream) send(peer.fd, &b, 1, MSG_NOSIGNAL);
      return true;
    }
    case Fault::huge_record: {
      const ByteVector mark = Writer().u32(last_fragment | (1U << 30)).take();
      send(peer.fd, mark.data(), mark.size(), MSG_NOSIGNAL);
      return true;
    }
    case Fault::garbage:
      answer(peer, Writer().u32(xid).u32(0).u32(0).take());
      return true;
    case Fault::none:
    case Fault::wrong_xid:
    case Fault::lose_request:
    case Fault::lose_and_be_dumb:
    case Fault::delay:
    case Fault::forget_session:
      break;
  }
  answer(peer, slot.reply);
  return true;
}

// Every operation succeeds. Of those with results only what the client's set-up and the tests need.
ByteVector FakeServer::execute(Bytes operations, uint32_t count, uint32_t xid, Bytes sequence_result) {
  Writer w = begin_reply(xid, 0, count + 1);
  w.bytes(sequence_result);
  wire::XdrDecoder d(operations);
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t number = d.get_u32();
    w.u32(number).u32(0);
    switch (static_cast<Op>(number)) {
      case Op::RECLAIM_COMPLETE:
        d.get_u32();
        break;
      case Op::LOOKUP:
      case Op::PUTFH:
        d.get_opaque(4096);
        break;
      case Op::GETFH:
        w.u32(4).u32(0x01020304);
        break;
      case Op::ACCESS:  // answers with what was asked, so that a test sees whose answer it got
        w.u32(0x3f).u32(d.get_u32());
        break;
      default:
        break;
    }
  }
  return w.take();
}

}  // namespace perdure::bench
