// Connection: one TCP connection as a sequence of RPC records in both directions. Sends are gathered: send()
// only notes the record, flush() hands all of them to the kernel with one call. Records received in one piece
// are delivered without a copy.
//
// A record given to send() is not copied and must stay as it is until it is sent or the connection is closed.
// Events come from a turn of the loop or from flush(); connect() and close() give none.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "bench/loop.h"

namespace perdure::bench {

struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;
};
// "host:port", "[v6]:port" or "host" with the default port of NFS.
Result<Address> resolve(const std::string& host_and_port);

class Connection final : private Loop::Handler {
 public:
  class Events {
   public:
    virtual void on_connected(Connection& connection) = 0;
    // A whole record, without its marks. The bytes are valid until the call returns.
    virtual void on_record(Connection& connection, Bytes record) = 0;
    // The connection is closed already. `why` is for a person.
    virtual void on_lost(Connection& connection, const std::string& why) = 0;

   protected:
    ~Events() = default;
  };

  Connection(Loop& loop, Events& events, size_t record_bytes_max);
  Connection(const Connection&) = delete;
  ~Connection() { close(); }

  // Begins to connect; the outcome comes as on_connected or on_lost.
  void connect(const Address& address);
  void close();
  bool open() const { return state_ == State::open; }

  void send(Bytes record) { queue_.push_back(record); }
  void flush();
  // No byte of `record` waits to be sent.
  bool sent(Bytes record) const;

  // Loses the connection on purpose once `bytes` more bytes were sent: in the middle of a record, mostly.
  void cut_after(size_t bytes) { cut_after_ = bytes; }

 private:
  enum class State : uint8_t { closed, connecting, open };

  void on_ready(uint32_t epoll_events) override;
  void finish_connect();
  void receive();
  // Delivers the whole records in the buffer. False: the connection is gone.
  bool deliver();
  void make_room();
  void lose(const std::string& why);
  void want_output(bool wanted);

  Loop& loop_;
  Events& events_;
  const size_t record_bytes_max_;
  int fd_ = -1;
  State state_ = State::closed;
  bool wants_output_ = false;
  uint64_t opened_ =
      0;  // how often: tells a handler that it runs on a connection that is not the same any more

  std::vector<Bytes> queue_;
  size_t queue_head_ = 0;   // records before it are sent
  size_t head_offset_ = 0;  // bytes of the first unsent record that are sent
  size_t cut_after_ = SIZE_MAX;

  // Received bytes are [begin_, end_); begin_ is at a record mark.
  std::unique_ptr<std::byte[]> buffer_;
  size_t capacity_ = 0;
  size_t begin_ = 0;
  size_t end_ = 0;
  ByteVector fragments_;  // the earlier fragments of a record that came in several
};

}  // namespace perdure::bench
