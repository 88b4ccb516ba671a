// Client: an NFSv4.1 client as a load generator and a crash test need it: one client id, sessions over one or
// more connections, and slots that each have one request outstanding. Whoever owns a slot is a coroutine:
//
//   slot.begin(false).putfh(file).getattr(attr::usual);
//   Reply& reply = co_await slot.exchange();
//   if (!(reply.putfh() && reply.getattr(attributes))) ...
//
// Exactly once: a slot's sequence id advances with its answer and never otherwise. When a connection is lost
// the client connects again (at once, then every few milliseconds), binds the connection to its session and
// sends every unanswered request again, byte for byte. It never makes a new session: if the server does not
// know the old one, or answers a SEQUENCE with anything but NFS4_OK or NFS4ERR_DELAY, the client stops
// (stopped()), since a repetition in a new session could execute a request twice.
//
// One thread. After a stop no slot is answered any more; tasks that wait are dropped by their TaskGroup.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bench/call.h"
#include "bench/connection.h"
#include "bench/reply.h"
#include "bench/task.h"

namespace perdure::bench {

class Client;

enum class Sessions : uint8_t { per_connection, one };

struct ClientOptions {
  std::string server = "127.0.0.1:2049";
  std::string path = "/";
  uint32_t connections = 4;
  uint32_t depth = 16;  // slots of each connection
  Sessions sessions = Sessions::per_connection;
  uint32_t minor_version = 1;
  Identity identity;
  uint32_t io_bytes_max = 1 << 20;
  bool persist = true;  // ask for CREATE_SESSION4_FLAG_PERSIST
  // How long to try to reach a server that refuses, before the client stops.
  Nanoseconds reconnect_max = seconds(10);
  // A request unanswered for so long stops the client.
  Nanoseconds stall_max = seconds(60);
  // A connection on which a request is unanswered for so long is given up and made anew, as if it had been
  // lost: for a server whose machine dies without a word. 0: never.
  Nanoseconds suspect_after = 0;
  // Planted error for testing the checks: every so many requests that change something are executed twice,
  // under a new sequence id, and only the second answer is given to the slot's owner; as from a server that
  // forgot a slot. 0: none.
  uint32_t plant_twice_every = 0;
};

struct ClientCounters {
  uint64_t answers = 0;
  uint64_t connections_lost = 0;
  uint64_t requests_sent_again = 0;
  uint64_t sequence_delays = 0;
  uint64_t planted = 0;
  uint32_t sequence_status_flags = 0;  // all that were seen
  Nanoseconds longest_pause = 0;       // between two answers, while something was asked
  struct Pause {
    Nanoseconds ended_at = 0;  // of clock_now()
    Nanoseconds length = 0;
  };
  std::vector<Pause> pauses;  // long ones, the first of them
};

// A slot of a session's fore channel.
class Slot {
 public:
  // Begins a COMPOUND with its SEQUENCE. `cache_this` as the RFC's sa_cachethis.
  Call& begin(bool cache_this);

  // Sends the COMPOUND and waits for the answer. The reply stands behind its SEQUENCE, and is valid until the
  // slot's owner waits for anything again.
  struct Exchange {
    Slot& slot;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> waiter);
    Reply& await_resume() const noexcept { return slot.reply_; }
  };
  Exchange exchange() { return Exchange{*this}; }

  Client& client() { return *client_; }
  uint32_t index() const { return index_; }  // among all slots of the client
  // How often the last COMPOUND was sent: more than once after a connection was lost.
  uint32_t times_sent() const { return times_sent_; }

 private:
  friend class Client;
  Client* client_ = nullptr;
  size_t session_ = 0;
  size_t link_ = 0;
  uint32_t index_ = 0;
  uint32_t slot_in_session_ = 0;
  uint32_t highest_slot_ = 0;
  uint32_t sequence_ = 1;  // of the request that is outstanding, or else of the next one
  uint32_t xid_ = 0;
  uint32_t times_sent_ = 0;
  bool cache_this_ = false;
  bool planted_ = false;
  bool waiting_ = false;
  Nanoseconds asked_at_ = 0;
  std::coroutine_handle<> waiter_;
  Call call_;
  Reply reply_;
};

class Client final : private Connection::Events {
 public:
  static Result<std::unique_ptr<Client>> create(ClientOptions options);
  ~Client();

  // Connects, makes client id and sessions, and looks up the path. Blocks.
  Result<void> start();
  // Destroys sessions and client id, politely; failures do not matter. Blocks for a second at most.
  void finish();

  // Runs the loop until all tasks are done; an error if the client stopped or the time is over.
  Result<void> run(TaskGroup& tasks, Nanoseconds time_max = seconds(3600));

  size_t slots() const { return slots_.size(); }
  Slot& slot(size_t i) { return slots_[i]; }
  const FileHandle& root() const { return root_; }  // of the path
  uint64_t clientid() const { return clientid_; }
  bool persistent() const { return persistent_; }
  uint32_t io_bytes_max() const { return options_.io_bytes_max; }
  const ClientOptions& options() const { return options_; }

  // The time of the answer that is being handled: one reading of the clock per answer.
  Nanoseconds now() const { return now_; }
  struct Sleep {
    Client& client;
    Nanoseconds time;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> waiter);
    void await_resume() const noexcept {}
  };
  Sleep sleep(Nanoseconds time) { return Sleep{*this, time}; }
  Loop& loop() { return loop_; }

  // No request is answered from now on.
  void stop(std::string why);
  const std::optional<std::string>& stopped() const { return stopped_; }

  // Loses a connection on purpose, after `bytes` more bytes were sent (0: now).
  void cut(size_t connection, size_t bytes);
  size_t connections() const { return links_.size(); }

  const ClientCounters& counters() const { return counters_; }
  void reset_pause();
  // Called with the time of the first answer on a connection that was made after `since`. Once.
  void on_first_answer_after(Nanoseconds since, std::move_only_function<void(Nanoseconds)> action);

 private:
  friend class Slot;

  // A connection and what is bound to it.
  struct Link {
    std::unique_ptr<Connection> connection;
    size_t session = 0;
    // down: waits to connect again. unbound: connected, but not (yet) of use to its session.
    enum class State : uint8_t { down, connecting, unbound, ready } state = State::down;
    Nanoseconds down_since = 0;
    Nanoseconds state_since = 0;
    Nanoseconds connected_at = 0;
    std::vector<uint32_t> slots;
    std::coroutine_handle<> connect_waiter;
    // Requests outside any session (EXCHANGE_ID, BIND_CONN_TO_SESSION, ...), one at a time. Without a waiter
    // it is the BIND_CONN_TO_SESSION of a connection that was made again.
    Call control;
    Reply control_reply;
    uint32_t control_xid = 0;
    bool control_waiting = false;
    std::coroutine_handle<> control_waiter;
  };
  struct Session {
    SessionId id{};
    bool made = false;
  };
  struct ControlExchange {
    Client& client;
    Link& link;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> waiter);
    Reply& await_resume() const noexcept { return link.control_reply; }
  };
  struct Connected {
    Link& link;
    bool await_ready() const noexcept { return link.state == Link::State::unbound; }
    void await_suspend(std::coroutine_handle<> waiter) { link.connect_waiter = waiter; }
    void await_resume() const noexcept {}
  };

  Client(ClientOptions options, Loop loop, Address address);
  void make_slots();

  void on_connected(Connection& connection) override;
  void on_record(Connection& connection, Bytes record) override;
  void on_lost(Connection& connection, const std::string& why) override;

  Task<> set_up();
  Task<bool> make_clientid(Link& link);
  Task<bool> make_session(Link& link);
  Task<> tear_down();
  Call& begin_control(Link& link);
  ControlExchange control(Link& link) { return ControlExchange{*this, link}; }

  void submit(Slot& slot);
  void send(Link& link, Slot& slot);
  void send_all_again(Link& link);
  void answer(Link& link, Slot& slot, Bytes results);
  void answer_control(Link& link, Bytes results);
  bool plant(Link& link, Slot& slot);
  void note_answer(const Link& link);
  void connect(Link& link);
  void connect_later(Link& link);
  void rebind(Link& link);
  void ready(Link& link);
  void watch();
  void turn(Nanoseconds deadline);
  Link& link_of(const Connection& connection);

  ClientOptions options_;
  Loop loop_;
  Address address_;
  std::vector<Session> sessions_;
  std::deque<Link> links_;
  std::deque<Slot> slots_;
  uint64_t clientid_ = 0;
  uint32_t create_session_sequence_ = 0;
  uint32_t control_count_ = 0;
  uint64_t changes_answered_ = 0;
  bool persistent_ = false;
  FileHandle root_;
  Nanoseconds now_ = 0;
  Nanoseconds last_answer_ = 0;
  static constexpr Nanoseconds noted_pause = milliseconds(40);
  static constexpr size_t noted_pauses_max = 10'000;
  ClientCounters counters_;
  std::optional<std::string> stopped_;
  Nanoseconds awaited_since_ = 0;
  std::move_only_function<void(Nanoseconds)> on_awaited_;
};

}  // namespace perdure::bench
