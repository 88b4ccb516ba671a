// Client: an NFSv4.1 (or, without a session, NFSv4.0) client of the simulation, with one connection, one
// session, and slots that each have one request outstanding. Whoever owns a slot is a coroutine
// (bench/task.h):
//
//   slot.begin().putfh(file).getattr(attr::SIZE);
//   Reply& reply = co_await slot.ask();
//
// It does what the RFC asks of a client, and what makes life hard for a server: when its connection is lost
// it sends every unanswered request again, byte for byte, over a new one, with or without binding it first.
// What must not happen fails the world: an error of SEQUENCE, a lost session, an answer to something else.
//
// Transparent to the slot's owner: NFS4ERR_DELAY (mostly), and NFS4ERR_IO where the disks have errors (the
// request had no effect and is made again, as a new one), and NFS4ERR_RETRY_UNCACHED_REP (it changed
// nothing).
#pragma once

#include <coroutine>
#include <deque>
#include <map>
#include <optional>
#include <string>

#include "bench/call.h"
#include "bench/reply.h"
#include "bench/task.h"
#include "sim/network.h"
#include "sim/world.h"

namespace perdure::sim {

using bench::Attributes;
using bench::Call;
using bench::FileHandle;
using bench::NfsStatus;
using bench::Op;
using bench::Reply;
using bench::Stateid;
using bench::Task;
using bench::Verifier;
namespace attr = bench::attr;

class Client;

class Slot {
 public:
  // Begins a COMPOUND with its SEQUENCE, if there is a session.
  Call& begin();
  Call& begin_as(uint32_t uid);
  struct Ask {
    Slot& slot;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> waiter);
    Reply& await_resume() const noexcept { return slot.reply_; }
  };
  // Sends it and waits for the answer, which stands behind its SEQUENCE and is valid until the next begin().
  Ask ask() { return {*this}; }

  Call& call() { return call_; }
  Client& client() { return client_; }
  uint32_t number() const { return number_; }
  // Moments of the last request and its answer, and the server's life that answered.
  uint64_t asked_at() const { return asked_at_; }
  uint64_t answered_at() const { return answered_at_; }
  uint64_t life() const { return life_; }

 private:
  friend class Client;
  explicit Slot(Client& client, uint32_t number) : client_(client), number_(number) {}
  Client& client_;
  const uint32_t number_;
  uint32_t sequence_ = 1, xid_ = 0;
  bool waiting_ = false;
  uint64_t asked_at_ = 0, answered_at_ = 0, life_ = 0;
  std::coroutine_handle<> waiter_;
  Call call_;
  ByteVector answer_;
  Reply reply_;
};

struct CalledOperation;

class Client final : private ClientEnd, private ClientListener {
 public:
  struct Options {
    uint32_t slots = 4;
    uint32_t uid = 0;
    // After so much silence, in percent of the lease time, it asks for nothing, to renew its lease; 0: never.
    unsigned renew_percent = 50;
    // Its lease may end while it is cut off: then the session's loss is no failure, but stops it.
    bool may_expire = false;
    // It can be called back: on_recall, on_getattr, on_lock_free and on_copied say what it does. An NFSv4.0
    // client is called over connections that the server makes.
    bool back_channel = false;
    // The owners of its slots want to know of NFS4ERR_DELAY.
    bool sees_delay = false;
    // An NFSv4.0 client, without a session: its requests are what comes again under the same transaction id.
    bool version40 = false;
  };
  // `name` is what it calls itself; the same name with another incarnation is the same client rebooted.
  Client(World& world, std::string name, uint64_t incarnation, Options options);
  ~Client() override;

  // CB_RECALL of a delegation; what it returns is the answer.
  std::function<NfsStatus(const Stateid&)> on_recall;
  // CB_GETATTR of the file with this handle.
  struct HolderSays {
    NfsStatus status = NfsStatus::NFS4_OK;
    uint64_t change = 0, size = 0;
  };
  std::function<HolderSays(Bytes handle)> on_getattr;
  // CB_NOTIFY_LOCK for one of its lock-owners.
  std::function<void(std::string_view owner)> on_lock_free;
  // CB_OFFLOAD of an asynchronous COPY.
  std::function<void(const Stateid&, NfsStatus, uint64_t bytes)> on_copied;
  // SEQUENCE has told that a delegation was revoked; RENEW, that there is no calling the client.
  std::function<void()> on_revoked;

  // EXCHANGE_ID, CREATE_SESSION, RECLAIM_COMPLETE, and the root's handle.
  Task<> start();
  // Requests of no slot (one at a time) and nothing else, instead of start(): connect(), then
  //   begin_control().exchange_id(...);
  //   Reply& reply = co_await control();
  void connect();
  Call& begin_control();
  struct Control {
    Client& client;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> waiter);
    Reply& await_resume() const noexcept { return client.control_reply_; }
  };
  Control control() { return {*this}; }
  // It dies, or has finished: its slots are answered no more. The server hears nothing, but for the end of
  // its connection, after `linger`.
  void die(env::Duration linger = {});
  bool stopped() const { return state_ == State::dead; }

  Slot& slot(size_t n) { return slots_[n]; }
  size_t slots() const { return options_.slots; }
  World& world() { return world_; }
  const FileHandle& root() const { return root_; }
  uint64_t id() const { return clientid_; }
  const std::string& name() const { return name_; }
  bool version40() const { return options_.version40; }

  // Waits, in virtual time.
  struct Sleep {
    World& world;
    env::Duration time;
    const std::shared_ptr<bool>& alive;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> waiter) {
      world.after(time, [waiter, alive = std::weak_ptr(alive)] {
        if (!alive.expired()) waiter.resume();
      });
    }
    void await_resume() const noexcept {}
  };
  Sleep sleep(env::Duration time) { return {world_, time, alive_}; }

 private:
  friend class Slot;
  enum class State : uint8_t { down, connecting, binding, ready, dead };

  void connected() override;
  void lost() override;
  void received(Bytes message) override;
  ClientEnd& accepted(uint64_t connection) override;
  void ready();
  void bind();
  void called(uint64_t connection, Bytes message);
  HolderSays execute(const CalledOperation& called);
  void called40(uint64_t connection, const wire::CallHeader& call);
  void told(uint32_t status_flags);
  Task<> renew();
  Task<> set_client_id(Verifier verifier);
  Task<> make_session(Verifier verifier);
  uint32_t minor_version() const { return options_.version40 ? 0 : 2; }
  // For the server's connections.
  bool listens() const { return options_.version40 && options_.back_channel; }
  uint32_t new_xid(uint32_t slot);
  bool take_sequence(Slot& slot);
  void ask(Slot& slot);
  void send(Bytes record);
  void answer(Slot& slot, Bytes results);
  void answer_control(Bytes results);
  void make_again(Slot& slot, env::Duration later);
  void fail(const std::string& what);
  void send_later(Slot& slot, env::Duration later);

  World& world_;
  // Of a connection that the server has made, to an NFSv4.0 client.
  struct CallbackEnd final : ClientEnd {
    CallbackEnd(Client& c, uint64_t n) : client(c), number(n) {}
    void connected() override {}
    void lost() override { client.callback_ends_.erase(number); }  // this one
    void received(Bytes message) override { client.called(number, message); }
    Client& client;
    const uint64_t number;
  };

  const std::string name_;
  const uint32_t host_;
  const uint64_t incarnation_;
  const Options options_;
  State state_ = State::down;
  bool has_session_ = false;
  uint64_t connection_ = 0;
  uint64_t clientid_ = 0;
  bench::SessionId session_{};
  FileHandle root_;
  std::deque<Slot> slots_;  // and one more, to renew the lease
  env::Instant asked_;
  uint32_t requests_ = 0;
  Call control_, bind_;
  uint32_t control_xid_ = 0, bind_xid_ = 0;
  uint32_t callback_seqid_ = 0;  // of the last callback
  bool control_waiting_ = false;
  std::coroutine_handle<> control_waiter_;
  ByteVector control_answer_;
  Reply control_reply_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>();
  bench::TaskGroup renewing_;
  std::map<uint64_t, CallbackEnd> callback_ends_;
};

}  // namespace perdure::sim
