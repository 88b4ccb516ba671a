// Connection: one TCP connection of a client. Internal to FrontEnd.
//
// In each turn of the loop in which something happens: at most one recv(), the records in it are handed on,
// and at the turn's end one gathering sendmsg() takes all replies that were queued. When the socket is full,
// the rest waits until it is writable.
//
// It does not read while its requests in flight, the memory that they and it hold, or its unsent replies are
// beyond their limits: then TCP's flow control slows the client down. When idle it holds a few KiB at most.
//
// On any failure (the peer closes, a socket error, a broken record) it closes itself and says so to its
// owner, once.
#pragma once

#include <memory>
#include <vector>

#include "env/env.h"
#include "server/socket_address.h"
#include "wire/record_reader.h"
#include "wire/request.h"

namespace asio {
class io_context;
}

namespace perdure::server {

struct ConnectionLimits {
  wire::RecordLimits records;
  size_t requests_max = 256;           // in flight
  size_t chunk_bytes_max = 32U << 20;  // receive memory, that of requests in flight included
  size_t unsent_bytes_max = 4U << 20;  // replies that wait to be sent
  env::Duration half_record_max = std::chrono::seconds(30);  // for a record to come in whole
  env::Duration slow_reader_max = std::chrono::seconds(30);  // without taking any of what waits to be sent
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  class Owner {
   public:
    virtual void deliver(wire::Request&& request) = 0;
    // end_turn() is wanted at the end of this turn.
    virtual void touched(Connection& connection) = 0;
    // It could read on: resume() is wanted, in a turn of its own.
    virtual void resumable(Connection& connection) = 0;
    virtual void failed(Connection& connection) = 0;
    // The server as a whole has no memory for more requests; resume() is wanted when it has.
    virtual bool starved(Connection& connection) = 0;
    virtual env::Instant now() = 0;

   protected:
    ~Owner() = default;
  };
  using Ends = ConnectionEnds;

  // Takes the descriptor of a connected socket.
  Connection(Owner& owner, asio::io_context& context, int descriptor, wire::ConnectionId id, const Ends& ends,
             const ConnectionLimits& limits);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  wire::ConnectionId id() const { return id_; }
  const Ends& ends() const { return ends_; }

  void send(wire::Reply&& message);
  // Sends what is queued, gives memory back, waits for more to read.
  void end_turn();
  void resume();
  // Never calls back to the owner from now on.
  void close();

  bool closed() const { return closed_; }
  // Nothing in flight, nothing to send.
  bool idle() const { return meter_->requests() == 0 && unsent_bytes_ == 0; }
  env::Instant last_active() const { return last_active_; }
  // The peer has exceeded half_record_max or slow_reader_max.
  bool overdue(env::Instant now) const;

 private:
  struct Socket;  // hides Asio

  void touch();
  void wait_readable();
  void wait_writable();
  void readable();
  void deliver_records();
  void note_partial_record(bool new_record);
  bool over_limit() const;
  void flush();
  void sent(size_t n);
  void released();
  void fail();

  Owner* owner_;
  std::unique_ptr<Socket> socket_;
  const wire::ConnectionId id_;
  const Ends ends_;
  const ConnectionLimits& limits_;
  wire::ReceiveMeter* meter_;
  wire::RecordReader reader_;

  // Replies from unsent_first_ on are queued; unsent_offset_ bytes of the first of them have been sent.
  std::vector<wire::Reply> unsent_;
  size_t unsent_first_ = 0;
  size_t unsent_offset_ = 0;
  size_t unsent_bytes_ = 0;

  env::Instant last_active_;    // something was received
  env::Instant last_taken_;     // the peer took something, or had nothing to take
  env::Instant partial_since_;  // while reader_.partial()
  bool was_partial_ = false;
  bool waits_readable_ = false;  // an async_wait is under way
  bool waits_writable_ = false;
  bool paused_ = false;    // does not read: over a limit, or
  bool starved_ = false;   // the server is short of memory
  bool resuming_ = false;  // the owner was told that it could
  bool touched_ = false;   // end_turn() will come
  bool closed_ = false;
};

}  // namespace perdure::server
