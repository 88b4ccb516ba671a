#include "bench/client.h"

#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "bench/pattern.h"

namespace perdure::bench {
namespace {

// What a COMPOUND takes beside the data of its READ or WRITE.
constexpr uint32_t overhead_bytes = 4096;
constexpr uint32_t record_overhead_bytes = 1 << 16;
constexpr Nanoseconds reconnect_interval = milliseconds(2);
constexpr Nanoseconds connect_max = milliseconds(500);
constexpr Nanoseconds sequence_delay = milliseconds(5);
constexpr Nanoseconds watch_interval = milliseconds(50);
// Transaction ids: the slot's index below, a count above, so that an answer finds its slot and a late one is
// noticed.
constexpr uint32_t xid_index_bits = 16;
constexpr uint32_t control_index = 0xffff;

uint64_t random_number() {
  uint64_t n = 0;
  CHECK(getrandom(&n, sizeof n, 0) == sizeof n);
  return n;
}

}  // namespace

Call& Slot::begin(bool cache_this) {
  CHECK(!waiting_);
  cache_this_ = cache_this;
  xid_ = index_ | ((xid_ >> xid_index_bits) + 1) << xid_index_bits;
  const ClientOptions& options = client_->options_;
  call_.begin(xid_, options.identity, options.minor_version);
  return call_.sequence(client_->sessions_[session_].id, sequence_, slot_in_session_, highest_slot_,
                        cache_this);
}

void Slot::Exchange::await_suspend(std::coroutine_handle<> waiter) {
  slot.waiter_ = waiter;
  slot.client_->submit(slot);
}

void Client::ControlExchange::await_suspend(std::coroutine_handle<> waiter) {
  link.control.finish();
  link.control_waiter = waiter;
  link.control_waiting = true;
  link.connection->send(link.control.bytes());
}

void Client::Sleep::await_suspend(std::coroutine_handle<> waiter) {
  client.loop_.at(clock_now() + time, [&c = client, waiter] {
    if (c.stopped_) return;
    c.now_ = clock_now();
    waiter.resume();
  });
}

Result<std::unique_ptr<Client>> Client::create(ClientOptions options) {
  CHECK(options.connections > 0 && options.depth > 0);
  if (uint64_t{options.connections} * options.depth >= control_index)
    return error(ErrorKind::invalid, "{} connections with {} requests each are too many", options.connections,
                 options.depth);
  const Address address = TRY(resolve(options.server));
  Loop loop = TRY(Loop::create());
  return std::unique_ptr<Client>(new Client(std::move(options), std::move(loop), address));
}

Client::Client(ClientOptions options, Loop loop, Address address)
    : options_(std::move(options)), loop_(std::move(loop)), address_(address) {
  const bool one = options_.sessions == Sessions::one;
  sessions_.resize(one ? 1 : options_.connections);
  for (uint32_t i = 0; i < options_.connections; ++i) {
    Link& link = links_.emplace_back();
    link.connection = std::make_unique<Connection>(loop_, static_cast<Connection::Events&>(*this),
                                                   options_.io_bytes_max + record_overhead_bytes);
    link.session = one ? 0 : i;
  }
  make_slots();
}

Client::~Client() = default;

void Client::make_slots() {
  const bool one = options_.sessions == Sessions::one;
  const uint32_t count = options_.connections * options_.depth;
  for (uint32_t i = 0; i < count; ++i) {
    Slot& slot = slots_.emplace_back();
    slot.client_ = this;
    slot.index_ = i;
    slot.link_ = i % options_.connections;
    slot.session_ = one ? 0 : slot.link_;
    slot.slot_in_session_ = one ? i : i / options_.connections;
    slot.highest_slot_ = one ? count - 1 : options_.depth - 1;
    links_[slot.link_].slots.push_back(i);
  }
}

Result<void> Client::start() {
  now_ = last_answer_ = clock_now();
  watch();
  TaskGroup tasks;
  tasks.spawn(set_up());
  return run(tasks, options_.reconnect_max + options_.stall_max);
}

void Client::finish() {
  if (stopped_) return;
  TaskGroup tasks;
  tasks.spawn(tear_down());
  (void)run(tasks, seconds(1)).has_value();
  for (Link& link : links_) link.connection->close();
}

Result<void> Client::run(TaskGroup& tasks, Nanoseconds time_max) {
  const Nanoseconds deadline = clock_now() + time_max;
  while (!stopped_ && !tasks.all_done()) {
    turn(deadline);
    if (now_ >= deadline && clock_now() >= deadline) stop("out of time");
  }
  if (stopped_) return error(ErrorKind::stopped, "{}", *stopped_);
  return {};
}

void Client::turn(Nanoseconds deadline) {
  for (Link& link : links_) link.connection->flush();
  if (!stopped_) loop_.turn(deadline);
}

void Client::stop(std::string why) {
  if (stopped_) return;
  stopped_ = std::move(why);
  for (Link& link : links_) link.connection->close();
}

// ---- set-up
// -----------------------------------------------------------------------------------------------------------

Task<> Client::set_up() {
  for (Link& link : links_) {
    link.down_since = clock_now();
    connect(link);
    co_await Connected{link};
    if (clientid_ == 0 && !co_await make_clientid(link)) co_return;
    if (sessions_[link.session].made) {
      begin_control(link).bind_conn_to_session(sessions_[link.session].id);
      Reply& reply = co_await control(link);
      if (!reply.bind_conn_to_session())
        co_return stop(fmt::format("BIND_CONN_TO_SESSION: {}", status_name(reply.error())));
    } else if (!co_await make_session(link)) {
      co_return;
    }
    ready(link);
  }
  Slot& slot = slots_.front();
  slot.begin(true).reclaim_complete();
  if (Reply& reply = co_await slot.exchange(); !reply.plain(Op::RECLAIM_COMPLETE))
    co_return stop(fmt::format("RECLAIM_COMPLETE: {}", status_name(reply.error())));

  Call& call = slot.begin(false).putrootfh();
  uint32_t names = 0;
  for (size_t at = 0; at < options_.path.size();) {
    const size_t end = std::min(options_.path.find('/', at), options_.path.size());
    if (end > at) {
      call.lookup(std::string_view(options_.path).substr(at, end - at));
      ++names;
    }
    at = end + 1;
  }
  call.getfh();
  Reply& reply = co_await slot.exchange();
  reply.plain(Op::PUTROOTFH);
  while (names-- > 0) reply.plain(Op::LOOKUP);
  if (!reply.getfh(root_)) stop(fmt::format("path {}: {}", options_.path, status_name(reply.error())));
}

Task<bool> Client::make_clientid(Link& link) {
  Verifier verifier;
  const uint64_t nonce = random_number();
  std::memcpy(verifier.data(), &nonce, sizeof nonce);
  const std::string owner = fmt::format("perdure-bench {} {:016x}", getpid(), nonce);
  begin_control(link).exchange_id(verifier, owner);
  Reply& reply = co_await control(link);
  uint32_t flags = 0;
  if (reply.exchange_id(clientid_, create_session_sequence_, flags)) co_return true;
  stop(fmt::format("EXCHANGE_ID: {}", status_name(reply.error())));
  co_return false;
}

Task<bool> Client::make_session(Link& link) {
  const bool one = options_.sessions == Sessions::one;
  const uint32_t requests = one ? options_.connections * options_.depth : options_.depth;
  const Call::Channel wanted{.request_bytes_max = options_.io_bytes_max + overhead_bytes,
                             .response_bytes_max = options_.io_bytes_max + overhead_bytes,
                             .response_bytes_cached_max = overhead_bytes,
                             .operations_max = 16,
                             .requests_max = requests};
  const uint32_t flags = options_.persist ? create_session_persist : 0;
  for (;;) {
    begin_control(link).create_session(clientid_, create_session_sequence_, flags, wanted);
    Reply& reply = co_await control(link);
    Reply::Session granted;
    if (reply.create_session(granted)) {
      ++create_session_sequence_;
      sessions_[link.session] = {granted.id, true};
      persistent_ = (granted.flags & create_session_persist) != 0;
      if (granted.requests_max < requests)
        stop(fmt::format("the server grants {} slots where {} are asked for: use a smaller depth",
                         granted.requests_max, requests));
      const uint32_t bytes = std::min(granted.request_bytes_max, granted.response_bytes_max);
      if (bytes < options_.io_bytes_max + overhead_bytes) {
        if (bytes < 2 * overhead_bytes)
          stop(fmt::format("the server grants requests of {} bytes only", bytes));
        options_.io_bytes_max = (bytes - overhead_bytes) & ~uint32_t{4095};
      }
      co_return !stopped_;
    }
    if (reply.error() != NfsStatus::NFS4ERR_DELAY) {
      stop(fmt::format("CREATE_SESSION: {}", status_name(reply.error())));
      co_return false;
    }
    co_await sleep(milliseconds(100));
  }
}

// Each session is destroyed over a connection of its own, the first one's last.
Task<> Client::tear_down() {
  for (auto link = links_.rbegin(); link != links_.rend(); ++link) {
    Session& session = sessions_[link->session];
    if (link->state != Link::State::ready || !std::exchange(session.made, false)) continue;
    begin_control(*link).destroy_session(session.id);
    co_await control(*link);
  }
  if (links_.front().state != Link::State::ready) co_return;
  begin_control(links_.front()).destroy_clientid(clientid_);
  co_await control(links_.front());
}

Call& Client::begin_control(Link& link) {
  CHECK(!link.control_waiting);
  link.control_xid = control_index | ++control_count_ << xid_index_bits;
  link.control.begin(link.control_xid, options_.identity, options_.minor_version);
  return link.control;
}

// ---- connections
// ------------------------------------------------------------------------------------------------------

Client::Link& Client::link_of(const Connection& connection) {
  for (Link& link : links_) {
    if (link.connection.get() == &connection) return link;
  }
  CHECK(false);
  std::abort();
}

void Client::connect(Link& link) {
  link.state = Link::State::connecting;
  link.state_since = clock_now();
  link.connection->connect(address_);
}

void Client::connect_later(Link& link) {
  link.state = Link::State::down;
  loop_.at(clock_now() + reconnect_interval, [this, &link] {
    if (!stopped_ && link.state == Link::State::down) connect(link);
  });
}

void Client::on_connected(Connection& connection) {
  Link& link = link_of(connection);
  link.state = Link::State::unbound;
  link.state_since = link.connected_at = clock_now();
  if (link.connect_waiter)
    std::exchange(link.connect_waiter, nullptr).resume();
  else
    rebind(link);
}

void Client::rebind(Link& link) {
  begin_control(link).bind_conn_to_session(sessions_[link.session].id);
  link.control.finish();
  link.control_waiting = true;
  link.control_waiter = nullptr;
  link.connection->send(link.control.bytes());
}

void Client::ready(Link& link) {
  link.state = Link::State::ready;
  link.state_since = clock_now();
  send_all_again(link);
}

// In the order of the slots, all in one go.
void Client::send_all_again(Link& link) {
  for (const uint32_t i : link.slots) {
    Slot& slot = slots_[i];
    if (!slot.waiting_) continue;
    if (slot.times_sent_ > 0) ++counters_.requests_sent_again;
    send(link, slot);
  }
}

void Client::on_lost(Connection& connection, const std::string& why) {
  if (stopped_) return;
  Link& link = link_of(connection);
  const Nanoseconds now = clock_now();
  switch (link.state) {
    case Link::State::down:
      return;
    case Link::State::connecting:
      if (now - link.down_since > options_.reconnect_max)
        return stop(fmt::format("{} cannot be reached: {}", options_.server, why));
      return connect_later(link);
    case Link::State::unbound:
    case Link::State::ready:
      if (link.control_waiter) return stop("connection lost during set-up: " + why);
      link.control_waiting = false;
      ++counters_.connections_lost;
      link.down_since = now;
      // Not at once: on_lost may come out of a flush() among others.
      link.state = Link::State::down;
      loop_.at(0, [this, &link] {
        if (!stopped_ && link.state == Link::State::down) connect(link);
      });
  }
}

void Client::cut(size_t connection, size_t bytes) {
  Link& link = links_[connection];
  if (link.state != Link::State::ready) return;
  if (bytes != 0) return link.connection->cut_after(bytes);
  link.connection->close();
  on_lost(*link.connection, "cut on purpose");
}

// Connections that hang in connect() or in silence, and requests that are never answered.
void Client::watch() {
  const Nanoseconds now = clock_now();
  for (Link& link : links_) {
    const Nanoseconds age = now - link.state_since;
    // A machine that loses its power between a connection's beginning and its first answer says nothing of
    // it.
    const bool binding = link.control_waiting && !link.control_waiter;
    bool hangs = (link.state == Link::State::connecting && age > connect_max) ||
                 (binding && options_.suspect_after != 0 && age > options_.suspect_after);
    for (const uint32_t i : link.slots) {
      const Slot& slot = slots_[i];
      if (!slot.waiting_) continue;
      if (now > slot.asked_at_ + options_.stall_max)
        return stop(fmt::format("a request is unanswered for {} s", options_.stall_max / seconds(1)));
      hangs |= options_.suspect_after != 0 && link.state == Link::State::ready &&
               std::min(now - slot.asked_at_, age) > options_.suspect_after;
    }
    if (hangs) {
      link.connection->close();
      on_lost(*link.connection, "no answer");
    }
  }
  loop_.at(now + watch_interval, [this] {
    if (!stopped_) watch();
  });
}

// ---- requests and answers
// ---------------------------------------------------------------------------------------------

void Client::submit(Slot& slot) {
  slot.call_.finish();
  slot.waiting_ = true;
  slot.asked_at_ = now_;
  slot.times_sent_ = 0;
  Link& link = links_[slot.link_];
  if (link.state == Link::State::ready) send(link, slot);
}

void Client::send(Link& link, Slot& slot) {
  ++slot.times_sent_;
  link.connection->send(slot.call_.bytes());
}

void Client::on_record(Connection& connection, Bytes record) {
  if (stopped_) return;
  now_ = clock_now();
  Link& link = link_of(connection);
  const std::optional<RpcReply> reply = parse_rpc_reply(record);
  if (!reply) return stop("the server sent something that is no RPC reply");
  const uint32_t index = reply->xid & ((1U << xid_index_bits) - 1);
  const bool for_control = link.control_waiting && reply->xid == link.control_xid;
  const bool for_slot = index < slots_.size() && slots_[index].waiting_ && slots_[index].xid_ == reply->xid &&
                        &links_[slots_[index].link_] == &link;
  if (!for_control && !for_slot) return stop("the server sent a reply to nothing that was asked");
  if (!reply->results) return stop("the server refused a call at the RPC level");
  if (for_control) return answer_control(link, *reply->results);
  if (!connection.sent(slots_[index].call_.bytes()))
    return stop("the server answered a request it has not seen whole");
  answer(link, slots_[index], *reply->results);
}

void Client::answer_control(Link& link, Bytes results) {
  link.control_waiting = false;
  link.control_reply = Reply(results);
  if (link.control_waiter) return std::exchange(link.control_waiter, nullptr).resume();
  if (!link.control_reply.bind_conn_to_session())
    return stop(fmt::format("the session is lost: BIND_CONN_TO_SESSION: {}",
                            status_name(link.control_reply.error())));
  ready(link);
}

void Client::answer(Link& link, Slot& slot, Bytes results) {
  slot.reply_ = Reply(results);
  Reply::Sequence s;
  if (slot.reply_.sequence(s)) {
    if (s.session != sessions_[slot.session_].id || s.seqid != slot.sequence_ ||
        s.slot != slot.slot_in_session_)
      return stop("SEQUENCE: the reply is of another session, slot or sequence id");
    counters_.sequence_status_flags |= s.status_flags;
  } else if (slot.reply_.error() == NfsStatus::NFS4ERR_DELAY) {
    ++counters_.sequence_delays;
    return loop_.at(now_ + sequence_delay, [this, &slot, xid = slot.xid_, since = link.state_since] {
      Link& l = links_[slot.link_];
      const bool same = l.state == Link::State::ready && l.state_since == since;
      if (!stopped_ && same && slot.waiting_ && slot.xid_ == xid) send(l, slot);
    });
  } else if (slot.reply_.error() != NfsStatus::NFS4ERR_RETRY_UNCACHED_REP) {
    return stop(fmt::format("the session is lost: SEQUENCE: {}", status_name(slot.reply_.error())));
  }
  ++slot.sequence_;
  if (plant(link, slot)) return;
  slot.waiting_ = false;
  note_answer(link);
  slot.waiter_.resume();
}

bool Client::plant(Link& link, Slot& slot) {
  const bool second = std::exchange(slot.planted_, false);
  if (options_.plant_twice_every == 0 || !slot.cache_this_ || second || slot.reply_.failed()) return false;
  if (++changes_answered_ % options_.plant_twice_every != 0) return false;
  ++counters_.planted;
  slot.planted_ = true;
  slot.call_.patch_sequence(slot.sequence_);
  send(link, slot);
  return true;
}

void Client::note_answer(const Link& link) {
  ++counters_.answers;
  const Nanoseconds pause = now_ - last_answer_;
  counters_.longest_pause = std::max(counters_.longest_pause, pause);
  if (pause >= noted_pause && counters_.pauses.size() < noted_pauses_max)
    counters_.pauses.push_back({now_, pause});
  last_answer_ = now_;
  if (on_awaited_ && link.connected_at > awaited_since_) std::exchange(on_awaited_, nullptr)(now_);
}

void Client::reset_pause() {
  last_answer_ = clock_now();
  counters_.longest_pause = 0;
  counters_.pauses.clear();
}

void Client::on_first_answer_after(Nanoseconds since, std::move_only_function<void(Nanoseconds)> action) {
  awaited_since_ = since;
  on_awaited_ = std::move(action);
}

}  // namespace perdure::bench
