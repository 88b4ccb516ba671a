// FakeServer: just enough of an NFSv4.1 server for the client's tests, on a thread and a loopback socket of
// its own. It keeps slots and replies properly, remembers the bytes of each request, and misbehaves as it is
// told.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/bytes.h"

namespace perdure::bench {

class FakeServer {
 public:
  // What to do with a request that has not been executed before.
  enum class Fault : uint8_t {
    none,
    lose_request,      // close the connection instead of executing it
    lose_and_be_dumb,  // the same, and the next BIND_CONN_TO_SESSION is never answered
    lose_reply,        // execute it, then close the connection
    lose_half_reply,   // the same, after half of the reply's bytes
    delay,             // SEQUENCE answers NFS4ERR_DELAY, nothing is executed
    fragments,         // the reply comes in several fragments, and in small pieces
    forget_session,    // close the connection and forget all sessions
    wrong_xid,         // the reply is to something else
    huge_record,       // a record mark of a gigabyte
    garbage,           // a reply that is none
  };

  FakeServer();
  ~FakeServer();

  uint16_t port() const { return port_; }
  // The n-th request in a session (from 0) meets this fault.
  void plan(uint64_t n, Fault fault);

  uint64_t executed() const { return executed_; }
  uint64_t replayed() const { return replayed_; }
  uint64_t binds() const { return binds_; }
  uint64_t connections() const { return connections_; }
  // A request that came again was not byte for byte the same, or a sequence id was wrong.
  bool violated() const { return violated_; }

 private:
  struct SlotState {
    uint32_t sequence = 0;
    ByteVector request;
    ByteVector reply;
  };
  struct Peer {
    int fd;
    ByteVector received;
  };

  void serve();
  // False: the connection is to be closed.
  bool handle(Peer& peer, Bytes record);
  bool handle_sequenced(Peer& peer, Bytes record, size_t arguments_at);
  void answer(Peer& peer, const ByteVector& record);
  ByteVector execute(Bytes operations, uint32_t count, uint32_t xid, Bytes sequence_result);
  Fault next_fault();

  int listener_;
  uint16_t port_ = 0;
  std::mutex mutex_;
  std::map<uint64_t, Fault> plan_;  // under the mutex
  uint64_t requests_ = 0;
  bool dumb_ = false;
  bool session_known_ = false;
  std::map<uint32_t, SlotState> slots_;
  std::atomic<bool> stop_ = false;
  std::atomic<uint64_t> executed_ = 0;
  std::atomic<uint64_t> replayed_ = 0;
  std::atomic<uint64_t> binds_ = 0;
  std::atomic<uint64_t> connections_ = 0;
  std::atomic<bool> violated_ = false;
  std::thread thread_;
};

}  // namespace perdure::bench
