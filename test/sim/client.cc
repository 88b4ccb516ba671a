#include "sim/client.h"

#include "base/crc32c.h"
#include "wire/rpc.h"

namespace perdure::sim {

using std::chrono::microseconds;
using std::chrono::milliseconds;

namespace {
constexpr uint32_t xid_slot_bits = 8;
constexpr uint32_t control_slot = (1U << xid_slot_bits) - 1;
constexpr env::Duration reconnect_after = milliseconds(2), delay = milliseconds(5);

Stateid called_stateid(wire::XdrDecoder& in) {
  Stateid stateid;
  stateid.seqid = in.get_u32();
  const Bytes other = in.get_opaque_fixed(stateid.other.size());
  if (in.ok()) std::ranges::copy(other, stateid.other.begin());
  return stateid;
}
}  // namespace

Client::Client(World& world, std::string name, uint64_t incarnation, Options options)
    : world_(world),
      name_(std::move(name)),
      host_(crc32c(bytes_of(name_))),
      incarnation_(incarnation),
      options_(options) {
  CHECK(options_.slots < control_slot);
  for (uint32_t i = 0; i <= options_.slots; ++i) slots_.emplace_back(Slot(*this, i));
  if (listens()) world_.network().listen(host_, this);
}

Client::~Client() {
  die();
  if (connection_ != 0) world_.network().close(connection_);
}

void Client::die(env::Duration linger) {
  if (state_ == State::dead) return;
  state_ = State::dead;
  if (listens()) world_.network().listen(host_, nullptr);
  for (auto& [number, end] : std::exchange(callback_ends_, {})) world_.network().close(number);
  if (connection_ == 0) return;
  const auto close = [this] { world_.network().close(std::exchange(connection_, 0)); };
  if (linger == env::Duration(0)) return close();
  world_.after(linger, [close, alive = std::weak_ptr(alive_)] {
    if (!alive.expired()) close();
  });
}

void Client::fail(const std::string& what) {
  if (options_.may_expire) {
    world_.trace("{}: {}", name_, what);
    die();
  } else {
    world_.fail("{}: {}", name_, what);
  }
}

// ------------------------------------------------------------------------------------------- the session

Task<> Client::start() {
  connect();
  Verifier verifier{};
  std::memcpy(verifier.data(), &incarnation_, sizeof incarnation_);
  if (options_.version40)
    co_await set_client_id(verifier);
  else
    co_await make_session(verifier);
  if (state_ == State::dead || world_.failed()) co_return;
  Slot& first = slot(0);
  first.begin().putrootfh().getfh();
  Reply& reply = co_await first.ask();
  if (!(reply.plain(Op::PUTROOTFH) && reply.getfh(root_)))
    co_return fail("PUTROOTFH: " + bench::status_name(reply.error()));
  if (options_.renew_percent != 0) renewing_.spawn(renew());
}

Task<> Client::set_client_id(Verifier verifier) {
  uint64_t confirm = 0;
  std::string address;  // RFC 5665 §5.2.3.3
  for (const std::byte b : std::as_bytes(std::span(&host_, 1)))
    address += fmt::format("{}.", std::to_integer<int>(b));
  begin_control().setclientid(verifier, name_, listens() ? address + "8.1" : "0.0.0.0.0.0");
  Reply& named = co_await control();
  if (!named.setclientid(clientid_, confirm))
    co_return fail("SETCLIENTID: " + bench::status_name(named.error()));
  begin_control().setclientid_confirm(clientid_, confirm);
  Reply& confirmed = co_await control();
  if (!confirmed.plain(Op::SETCLIENTID_CONFIRM))
    co_return fail("SETCLIENTID_CONFIRM: " + bench::status_name(confirmed.error()));
}

Task<> Client::make_session(Verifier verifier) {
  const Call::Channel channel{.request_bytes_max = 1 << 20,
                              .response_bytes_max = 1 << 20,
                              .response_bytes_cached_max = 8192,
                              .operations_max = 16,
                              .requests_max = options_.slots + 1};
  for (bool made = false; !made;) {
    uint32_t sequence = 0, flags = 0;
    begin_control().exchange_id(verifier, name_);
    Reply& exchanged = co_await control();
    Reply::ServerOwner owner;
    if (!exchanged.exchange_id(clientid_, sequence, flags, &owner))
      co_return fail("EXCHANGE_ID: " + bench::status_name(exchanged.error()));
    world_.see_server(fmt::format("{}.{} of {}", owner.major, owner.minor, owner.scope));
    begin_control().create_session(
        clientid_, sequence,
        bench::create_session_persist | (options_.back_channel ? bench::create_session_back_channel : 0),
        channel);
    Reply& created = co_await control();
    Reply::Session granted;
    made = created.create_session(granted);
    if (made) {
      if ((granted.flags & bench::create_session_persist) == 0) fail("the session is not persistent");
      session_ = granted.id;
    } else if (created.error() == NfsStatus::NFS4ERR_DELAY) {
      co_await sleep(delay);
    } else if (created.error() != NfsStatus::NFS4ERR_STALE_CLIENTID) {
      // A second copy of EXCHANGE_ID has replaced the unconfirmed client (RFC 8881 §18.35.5 case 4).
      co_return fail("CREATE_SESSION: " + bench::status_name(created.error()));
    }
  }
  has_session_ = true;
  Slot& first = slot(0);
  {
    first.begin().reclaim_complete();
    Reply& reply = co_await first.ask();
    if (!reply.plain(Op::RECLAIM_COMPLETE))
      co_return fail("RECLAIM_COMPLETE: " + bench::status_name(reply.error()));
  }
}

Task<> Client::renew() {
  const env::Duration patience =
      std::chrono::milliseconds(10) * world_.profile().lease_seconds * options_.renew_percent;
  // Without a session not every request renews the lease (RFC 7530 §9.5).
  env::Instant renewed = world_.now();
  while (state_ != State::dead) {
    const env::Duration silent = world_.now() - (options_.version40 ? renewed : asked_);
    if (silent < patience) {
      co_await sleep(patience - silent);
      continue;
    }
    Slot& last = slots_.back();
    if (options_.version40)
      last.begin().renew(clientid_);
    else
      last.begin().putrootfh();
    renewed = world_.now();
    Reply& reply = co_await last.ask();
    if (!options_.version40 || reply.plain(Op::RENEW)) continue;
    if (reply.error() == NfsStatus::NFS4ERR_CB_PATH_DOWN && on_revoked)
      on_revoked();
    else
      co_return fail("RENEW: " + bench::status_name(reply.error()));
  }
}

Call& Client::begin_control() {
  control_xid_ = new_xid(control_slot);
  control_.begin(control_xid_, {.uid = options_.uid, .gid = options_.uid}, minor_version());
  return control_;
}

void Client::Control::await_suspend(std::coroutine_handle<> waiter) {
  client.control_.finish();
  client.control_waiting_ = true;
  client.control_waiter_ = waiter;
  if (client.state_ == State::ready) client.send(client.control_.bytes());
}

// ------------------------------------------------------------------------------------------- connections

void Client::connect() {
  if (state_ == State::dead) return;
  state_ = State::connecting;
  connection_ = world_.network().connect(*this, host_);
}

void Client::lost() {
  if (state_ == State::dead) return;
  connection_ = 0;
  state_ = State::down;
  const env::Duration wait = world_.random().exponential(reconnect_after);
  world_.after(wait, [this, alive = std::weak_ptr(alive_)] {
    if (!alive.expired() && state_ == State::down) connect();
  });
}

void Client::connected() {
  if (state_ == State::dead) return;
  if (!has_session_ || world_.random().one_in(2)) return ready();
  state_ = State::binding;
  bind();
}

void Client::bind() {
  bind_xid_ = new_xid(control_slot);
  bind_.begin(bind_xid_, {.uid = options_.uid, .gid = options_.uid}, 2);
  bind_.bind_conn_to_session(session_, options_.back_channel);
  bind_.finish();
  send(bind_.bytes());
}

void Client::ready() {
  state_ = State::ready;
  if (control_waiting_) send(control_.bytes());
  for (Slot& slot : slots_)
    if (slot.waiting_) send(slot.call_.bytes());
}

void Client::send(Bytes record) {
  const Bytes message = record.subspan(4);  // without the record mark
  world_.network().send(connection_, message);
  const uint64_t twice = world_.profile().duplicate_one_in;
  if (twice != 0 && world_.random().one_in(twice)) world_.network().send_again(message, host_);
}

// ------------------------------------------------------------------------------------ requests and answers

uint32_t Client::new_xid(uint32_t slot) {
  return (++requests_ << xid_slot_bits) | slot;
}

Call& Slot::begin() {
  return begin_as(client_.options_.uid);
}

Call& Slot::begin_as(uint32_t uid) {
  CHECK(!waiting_);
  xid_ = client_.new_xid(number_);
  call_.begin(xid_, {.uid = uid, .gid = uid}, client_.minor_version());
  if (client_.options_.version40) return call_;
  const auto highest = static_cast<uint32_t>(client_.slots_.size() - 1);
  // Where the answer is kept if anything was changed, whatever is asked for.
  call_.sequence(client_.session_, sequence_, number_, highest, client_.world_.random().one_in(2));
  return call_;
}

void Slot::Ask::await_suspend(std::coroutine_handle<> waiter) {
  slot.waiter_ = waiter;
  slot.call_.finish();
  slot.asked_at_ = slot.client_.world_.moment();
  slot.client_.ask(slot);
}

void Client::ask(Slot& slot) {
  slot.waiting_ = true;
  asked_ = world_.now();
  if (state_ == State::ready) send(slot.call_.bytes());
}

void Client::received(Bytes message) {
  if (state_ == State::dead) return;
  if (wire::message_type(message) == wire::MessageType::CALL) return called(connection_, message);
  const std::optional<bench::RpcReply> reply = bench::parse_rpc_reply(message);
  if (!reply) return world_.fail("{}: what the server sent is no RPC reply", name_);
  if (!reply->results) return world_.fail("{}: the server refused a call", name_);
  const uint32_t number = reply->xid & control_slot;
  if (number == control_slot) {
    if (control_waiting_ && reply->xid == control_xid_) return answer_control(*reply->results);
    if (reply->xid != bind_xid_) return;
    Reply bound(*reply->results);
    if (!bound.bind_conn_to_session())
      return fail("BIND_CONN_TO_SESSION: " + bench::status_name(bound.error()));
    if (state_ == State::binding) ready();
    return;
  }
  if (number < slots_.size() && slots_[number].waiting_ && slots_[number].xid_ == reply->xid)
    return answer(slots_[number], *reply->results);
  world_.fail("{}: an answer to nothing that was asked", name_);
}

enum class CallbackOp : uint32_t { getattr = 3, recall = 4, sequence = 11, notify_lock = 13, offload = 15 };

// One operation of a CB_COMPOUND (RFC 8881 §20, RFC 7862 §16.1, RFC 7530 §15).
struct CalledOperation {
  CallbackOp operation{};
  Stateid stateid;
  Bytes handle;
  uint64_t clientid = 0;
  std::string_view lock_owner;
  NfsStatus copy_status{};
  uint64_t copied = 0;
};

namespace {

// nullopt: it is none that a client here understands.
std::optional<CalledOperation> parse_operation(wire::XdrDecoder& in) {
  CalledOperation called{.operation = static_cast<CallbackOp>(in.get_u32())};
  switch (called.operation) {
    case CallbackOp::getattr:
      called.handle = in.get_opaque(128);
      // Of change and size.
      if (in.get_u32() != 1 || in.get_u32() != (bench::attr::CHANGE | bench::attr::SIZE)) return std::nullopt;
      break;
    case CallbackOp::recall:
      called.stateid = called_stateid(in);
      in.get_bool();
      called.handle = in.get_opaque(128);
      break;
    case CallbackOp::notify_lock:
      called.handle = in.get_opaque(128);
      called.clientid = in.get_u64();
      called.lock_owner = in.get_string(1024);
      break;
    case CallbackOp::offload:
      called.handle = in.get_opaque(128);
      called.stateid = called_stateid(in);
      called.copy_status = static_cast<NfsStatus>(in.get_u32());
      if (called.copy_status == NfsStatus::NFS4_OK) in.get_u32();  // no stateid
      called.copied = in.get_u64();
      if (called.copy_status == NfsStatus::NFS4_OK) in.get_u32(), in.get_u64();
      break;
    default:
      return std::nullopt;
  }
  return in.finished() ? std::optional(called) : std::nullopt;
}

// Its status is `status`, and this its result.
void put_result(wire::XdrEncoder& out, const CalledOperation& called, const Client::HolderSays& says) {
  out.put_u32(static_cast<uint32_t>(called.operation));
  out.put_u32(static_cast<uint32_t>(says.status));
  if (called.operation != CallbackOp::getattr || says.status != NfsStatus::NFS4_OK) return;
  out.put_u32(1);
  out.put_u32(bench::attr::CHANGE | bench::attr::SIZE);
  out.put_u32(16);
  out.put_u64(says.change);
  out.put_u64(says.size);
}

}  // namespace

// What it does; the status counts for all of them, the rest for CB_GETATTR.
Client::HolderSays Client::execute(const CalledOperation& called) {
  switch (called.operation) {
    case CallbackOp::getattr:
      return on_getattr ? on_getattr(called.handle) : HolderSays{.status = NfsStatus::NFS4ERR_BADHANDLE};
    case CallbackOp::recall:
      return {.status = on_recall ? on_recall(called.stateid) : NfsStatus::NFS4ERR_BAD_STATEID};
    case CallbackOp::notify_lock:
      if (called.clientid != clientid_) world_.fail("{}: a callback about another client's lock", name_);
      on_lock_free(called.lock_owner);
      return {};
    default:
      on_copied(called.stateid, called.copy_status, called.copied);
      return {};
  }
}

// CB_COMPOUND of CB_SEQUENCE and another operation. What was executed once is not executed again.
void Client::called(uint64_t connection, Bytes message) {
  const auto call = wire::parse_call(message);
  if (!call || !options_.back_channel) return world_.fail("{}: a call that it does not understand", name_);
  if (options_.version40) return called40(connection, *call);
  wire::XdrDecoder in(call->arguments);
  in.get_opaque(1024);
  const uint32_t minor_version = in.get_u32();
  in.get_u32();
  const uint32_t operations = in.get_u32();
  const auto first = static_cast<CallbackOp>(in.get_u32());
  const Bytes session = in.get_opaque_fixed(16);
  const uint32_t seqid = in.get_u32();
  for (int i = 0; i < 4; ++i) in.get_u32();
  const std::optional<CalledOperation> operation = parse_operation(in);
  if (!operation || minor_version != 2 || operations != 2 || first != CallbackOp::sequence)
    return world_.fail("{}: a callback that it does not understand", name_);

  const uint32_t ahead = seqid - callback_seqid_;
  const NfsStatus sequence = ahead == 0   ? NfsStatus::NFS4ERR_RETRY_UNCACHED_REP
                             : ahead != 1 ? NfsStatus::NFS4ERR_SEQ_MISORDERED
                                          : NfsStatus::NFS4_OK;
  const bool executes = sequence == NfsStatus::NFS4_OK;
  if (executes) callback_seqid_ = seqid;
  const HolderSays says = executes ? execute(*operation) : HolderSays{.status = sequence};
  wire::Reply reply;
  wire::begin_reply(reply, call->xid);
  reply.put_u32(static_cast<uint32_t>(says.status));
  reply.put_u32(0);
  reply.put_u32(executes ? 2 : 1);
  reply.put_u32(static_cast<uint32_t>(CallbackOp::sequence));
  reply.put_u32(static_cast<uint32_t>(sequence));
  if (executes) {
    reply.put_opaque_fixed(session);
    for (const uint32_t value : {seqid, 0U, 0U, 0U}) reply.put_u32(value);
    put_result(reply, *operation, says);
  }
  world_.trace("{}: callback {}", name_, seqid);
  world_.network().send(connection, reply.flatten());
}

ClientEnd& Client::accepted(uint64_t connection) {
  return callback_ends_.try_emplace(connection, *this, connection).first->second;
}

// CB_NULL, or CB_COMPOUND of one operation (RFC 7530 §15), which may come twice.
void Client::called40(uint64_t connection, const wire::CallHeader& call) {
  wire::Reply reply;
  wire::begin_reply(reply, call.xid);
  if (call.procedure != 0) {
    wire::XdrDecoder in(call.arguments);
    in.get_opaque(1024);
    const uint32_t minor_version = in.get_u32(), ident = in.get_u32(), operations = in.get_u32();
    const std::optional<CalledOperation> operation = parse_operation(in);
    if (!operation || minor_version != 0 || ident != bench::callback_ident || operations != 1)
      return world_.fail("{}: a callback that it does not understand", name_);
    const HolderSays says = execute(*operation);
    reply.put_u32(static_cast<uint32_t>(says.status));
    reply.put_u32(0);
    reply.put_u32(1);
    put_result(reply, *operation, says);
  }
  world_.trace("{}: called back", name_);
  world_.network().send(connection, reply.flatten());
}

void Client::told(uint32_t status_flags) {
  constexpr uint32_t path_down = 0x1 | 0x200, state_revoked = 0x40;
  if ((status_flags & path_down) != 0 && options_.back_channel && state_ == State::ready) bind();
  if ((status_flags & state_revoked) != 0 && on_revoked) on_revoked();
}

void Client::answer_control(Bytes results) {
  control_waiting_ = false;
  control_answer_.assign(results.begin(), results.end());
  control_reply_ = Reply(Bytes(control_answer_));
  std::exchange(control_waiter_, nullptr).resume();
}

// The same request again. If its connection is lost meanwhile, ready() does it.
void Client::send_later(Slot& slot, env::Duration later) {
  world_.after(later,
               [this, alive = std::weak_ptr(alive_), &slot, xid = slot.xid_, connection = connection_] {
                 if (alive.expired() || state_ != State::ready || connection_ != connection) return;
                 if (slot.waiting_ && slot.xid_ == xid) send(slot.call_.bytes());
               });
}

// The same operations in a new request: the last one has changed nothing.
void Client::make_again(Slot& slot, env::Duration later) {
  slot.waiting_ = false;
  if (options_.version40)
    slot.call_.patch_xid(slot.xid_ = new_xid(slot.number_));
  else
    slot.call_.patch_sequence(slot.sequence_);
  world_.after(later, [this, alive = std::weak_ptr(alive_), &slot] {
    if (!alive.expired() && state_ != State::dead) ask(slot);
  });
}

// Of an answer. False: it is none.
bool Client::take_sequence(Slot& slot) {
  Reply::Sequence sequence;
  if (slot.reply_.sequence(sequence)) {
    if (sequence.session != session_ || sequence.seqid != slot.sequence_ || sequence.slot != slot.number_) {
      world_.fail("{}: SEQUENCE answers another one", name_);
      return false;
    }
    told(sequence.status_flags);
  } else if (slot.reply_.error() == NfsStatus::NFS4ERR_DELAY) {
    send_later(slot, delay);
    return false;
  } else if (slot.reply_.error() != NfsStatus::NFS4ERR_RETRY_UNCACHED_REP) {
    fail("SEQUENCE: " + bench::status_name(slot.reply_.error()));
    return false;
  }
  ++slot.sequence_;
  return true;
}

void Client::answer(Slot& slot, Bytes results) {
  slot.answer_.assign(results.begin(), results.end());
  slot.reply_ = Reply(Bytes(slot.answer_));
  const auto status = static_cast<NfsStatus>(wire::load_u32(slot.answer_.data()));
  if (!options_.version40 && !take_sequence(slot)) return;
  slot.answered_at_ = world_.moment();
  slot.life_ = world_.network().life_of(connection_);
  if (slot.reply_.failed()) return make_again(slot, microseconds(1));
  if (status == NfsStatus::NFS4ERR_DELAY && !options_.sees_delay) return make_again(slot, delay);
  if (status == NfsStatus::NFS4ERR_IO && world_.profile().disks_fail()) return make_again(slot, delay);
  slot.waiting_ = false;
  std::exchange(slot.waiter_, nullptr).resume();
}

}  // namespace perdure::sim
