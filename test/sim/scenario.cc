#include "sim/scenario.h"

#include "base/crc32c.h"

namespace perdure::sim {

using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {
constexpr uint32_t io_bytes_max = 512U << 10U;

std::string words(const std::vector<bench::Ace>& acl) {
  std::string out;
  for (const bench::Ace& ace : acl)
    out += fmt::format("{}:{:x}:{}:{:x} ", ace.type, ace.flags, ace.who, ace.mask);
  return out;
}

// What the file has that a holder may write.
constexpr uint64_t holders_bytes = 54321;
}  // namespace

std::vector<Scenario> all_scenarios() {
  std::vector<Scenario> all;
  for (auto part : {name_scenarios, xattr_scenarios, data_scenarios, open_scenarios, session_scenarios,
                    job_scenarios, version40_scenarios})
    for (const Scenario& scenario : part()) all.push_back(scenario);
  return all;
}

Stage::Stage(World& world) : Workload(world, "stage") {
  subject_ = &add_client({.slots = 3, .may_expire = true});
  observer_ = &add_client({.slots = 2});
  bare_ = &add_client({.slots = 1});
  old_ = &add_client({.slots = 1, .may_expire = true, .version40 = true});
  holder_ = &add_client({.slots = 2, .back_channel = true});
  holder40_ = &add_client({.slots = 1, .back_channel = true, .version40 = true});
}

Stage::~Stage() = default;

Task<> Stage::setup() {
  co_await subject_->start();
  co_await observer_->start();
  bare_->connect();
}

// ------------------------------------------------------------------------------------------- requests

Call& Stage::call_bare() {
  bare_call_ = &bare_->begin_control();
  return *bare_call_;
}

// Of a client that fails if its requests do.
void Stage::note(const Call& call) {
  if (!acting_) return;
  for (const Op op : call.list()) operations_.set(std::to_underlying(op));
}

Task<> Stage::ask() {
  Slot& slot = subject_->slot(0);
  if (acting_) operations_.set(std::to_underlying(Op::SEQUENCE));
  const std::vector<Op> list(slot.call().list().begin() + 1, slot.call().list().end());
  Reply& reply = co_await slot.ask();
  read_answer(reply, list);
}

Task<> Stage::ask_old() {
  Slot& slot = old_->slot(0);
  const std::vector<Op> list = slot.call().list();
  Reply& reply = co_await slot.ask();
  read_answer(reply, list);
}

Task<> Stage::ask_bare(NfsStatus done_before) {
  const std::vector<Op> list = bare_call_->list();
  const uint64_t deaths = blade().deaths();
  for (;;) {
    Reply& reply = co_await bare_->control();
    Reply first = reply;
    const bool ok = first.plain(list.front());
    if (ok || first.error() != NfsStatus::NFS4ERR_DELAY) {
      // Executed before the crash, so that a repetition finds nothing more to do.
      const bool repeated = !ok && first.error() == done_before && blade().deaths() != deaths;
      if (!repeated) read_answer(reply, list);
      if (repeated) say("{}: NFS4_OK", bench::op_name(list.front()));
      if (repeated) status = NfsStatus::NFS4_OK;
      co_return;
    }
    co_await bare_->sleep(milliseconds(5));
  }
}

void Stage::read_answer(Reply& reply, const std::vector<Op>& list) {
  status = NfsStatus::NFS4_OK;
  for (const Op op : list) {
    if (read_result(reply, op)) {
      if (acting_) operations_.set(std::to_underlying(op));
      continue;
    }
    status = reply.error();
    if (status == NfsStatus::malformed) fail("a malformed answer to {}", bench::op_name(op));
    say("{}: {}", bench::op_name(op), bench::status_name(status));
    return;
  }
}

// Says what of it does not depend on when the server was started.
bool Stage::read_result(Reply& reply, Op op) {  // NOLINT(readability-function-size): a table
  bench::ChangeInfo change, other;
  const auto ok = [&](bool read, const std::string& words = "") {
    if (read) say("{}: NFS4_OK{}", bench::op_name(op), words);
    return read;
  };
  const auto changes = [](const bench::ChangeInfo& c) {
    return fmt::format(" {}{}", c.atomic ? "atomic" : "not atomic", c.after == c.before ? ", unchanged" : "");
  };
  const auto with_seqid = [&](bool read) { return ok(read, fmt::format(" seqid {}", stateid.seqid)); };
  switch (op) {
    case Op::GETFH:
      return ok(reply.getfh(handle));
    case Op::GETATTR: {
      Attributes a;
      const bool read = reply.getattr(a);
      return ok(read, fmt::format(" type {} size {} mode {:o} links {}", std::to_underlying(a.type), a.size,
                                  a.mode, a.numlinks));
    }
    case Op::CREATE: {
      const bool read = reply.create(change);
      return ok(read, changes(change));
    }
    case Op::REMOVE: {
      const bool read = reply.remove(change);
      return ok(read, changes(change));
    }
    case Op::SETXATTR: {
      const bool read = reply.setxattr(change);
      return ok(read, changes(change));
    }
    case Op::REMOVEXATTR: {
      const bool read = reply.removexattr(change);
      return ok(read, changes(change));
    }
    case Op::LINK: {
      const bool read = reply.link(change);
      return ok(read, changes(change));
    }
    case Op::RENAME: {
      const bool read = reply.rename(change, other);
      return ok(read, changes(change) + changes(other));
    }
    case Op::SETATTR:
      return ok(reply.setattr());
    case Op::OPEN: {
      const bool read = reply.open(stateid, change);
      return ok(read, changes(change) + fmt::format(" seqid {}", stateid.seqid));
    }
    case Op::SETCLIENTID:
      return ok(reply.setclientid(client_id, confirm));
    case Op::OPEN_CONFIRM:
      return with_seqid(reply.open_confirm(stateid));
    case Op::OPEN_DOWNGRADE:
      return with_seqid(reply.open_downgrade(stateid));
    case Op::CLOSE:
      return ok(reply.close());
    case Op::LOCK:
      return with_seqid(reply.lock(stateid));
    case Op::LOCKU:
      return with_seqid(reply.locku(stateid));
    case Op::ALLOCATE:
    case Op::DEALLOCATE:
    case Op::CLONE:
      return ok(reply.plain(op));
    case Op::SEEK: {
      uint64_t offset = 0;
      bool eof = false;
      const bool read = reply.seek(offset, eof);
      return ok(read, fmt::format(" {}{}", offset, eof ? ", the end" : ""));
    }
    case Op::COPY: {
      uint64_t count = 0;
      bench::StableHow stable{};
      std::optional<Stateid> asynchronous;
      const bool read = reply.copy(count, stable, verifier, asynchronous);
      return ok(read, fmt::format(" {} bytes, level {}", count, std::to_underlying(stable)));
    }
    case Op::READ: {
      Bytes data;
      bool eof = false;
      const bool read = reply.read(data, eof);
      return ok(read, fmt::format(" {} bytes {:08x}{}", data.size(), crc32c(data), eof ? ", the end" : ""));
    }
    case Op::WRITE: {
      uint32_t count = 0;
      bench::StableHow stable{};
      const bool read = reply.write(count, stable, verifier);
      return ok(read, fmt::format(" {} bytes, level {}", count, std::to_underlying(stable)));
    }
    case Op::COMMIT:
      return ok(reply.commit(verifier));
    case Op::EXCHANGE_ID: {
      uint32_t flags = 0;
      const bool read = reply.exchange_id(client_id, client_sequence, flags);
      return ok(read, fmt::format(" sequence {} flags {:x}", client_sequence, flags));
    }
    case Op::CREATE_SESSION: {
      Reply::Session s;
      const bool read = reply.create_session(s);
      session = s.id;
      return ok(read, fmt::format(" flags {} slots {}", s.flags, s.requests_max));
    }
    case Op::SEQUENCE: {
      Reply::Sequence s;
      const bool read = reply.sequence(s);
      return ok(read, fmt::format(" seqid {} slot {} flags {:x}", s.seqid, s.slot, s.status_flags));
    }
    default:
      return ok(reply.plain(op));
  }
}

void Stage::add_write(Call& call, const Stateid& stateid, uint64_t offset, bench::StableHow how,
                      uint32_t bytes, uint64_t value) {
  const MutableBytes data = call.write(stateid, offset, how, bytes);
  for (size_t i = 0; i < data.size(); i += 8) {
    ++value;
    std::memcpy(data.data() + i, &value, std::min<size_t>(8, data.size() - i));
  }
}

// --------------------------------------------------------------------------------------- preparations

Task<> Stage::make_file(const char* name, uint64_t blocks) {
  const std::string file_name = name, owner_name = "maker";
  Slot& slot = observer_->slot(0);
  OpenFile file = co_await create_file(slot, root(), file_name, owner_name);
  handles[file_name] = file.handle;
  for (uint64_t at = 0; at < blocks && !world_.failed(); at += io_bytes_max / block) {
    const uint64_t n = std::min<uint64_t>(blocks - at, io_bytes_max / block);
    Call& c = slot.begin().putfh(file.handle);
    add_write(c, file.stateid, at * block, bench::StableHow::FILE_SYNC4, static_cast<uint32_t>(n * block),
              at << 20U);
    Reply& reply = co_await slot.ask();
    uint32_t count = 0;
    bench::StableHow stable{};
    Verifier ignored;
    if (!(reply.putfh() && reply.write(count, stable, ignored) && count == n * block))
      fail("write: {}", bench::status_name(reply.error()));
  }
  co_await close_file(slot, file);
}

Task<> Stage::make_fragmented(const char* name, uint64_t blocks) {
  constexpr uint64_t at_once = 14;
  co_await make_file(name, 0);
  Slot& slot = observer_->slot(0);
  const FileHandle file = handles[name];
  for (uint64_t at = 0; at < blocks && !world_.failed(); at += at_once) {
    Call& c = slot.begin().putfh(file);
    for (uint64_t i = at; i < std::min(at + at_once, blocks); ++i)
      add_write(c, {}, i * 2 * block, bench::StableHow::FILE_SYNC4, block, i << 20U);
    Reply& reply = co_await slot.ask();
    uint32_t count = 0;
    bench::StableHow stable{};
    Verifier ignored;
    bool ok = reply.putfh();
    for (uint64_t i = at; i < std::min(at + at_once, blocks); ++i)
      ok = ok && reply.write(count, stable, ignored);
    if (!ok) fail("write: {}", bench::status_name(reply.error()));
  }
}

Task<> Stage::open_as(const char* name, const char* owner) {
  const std::string file_name = name, owner_name = owner;
  OpenFile file = co_await open_file(subject_->slot(0), root(), file_name, owner_name);
  handles[file_name] = file.handle;
  stateids[owner_name] = file.stateid;
}

Task<> Stage::make_bare_session() {
  call_bare().exchange_id({}, bare_->name());
  co_await ask_bare();
  call_bare().create_session(client_id, client_sequence, bench::create_session_persist, channel);
  co_await ask_bare();
}

Task<> Stage::set_xattrs(const char* name, int count, size_t bytes) {
  Slot& slot = observer_->slot(0);
  const FileHandle object = handles[name];
  for (int i = 0; i < count && !world_.failed(); ++i) {
    const std::string attribute = std::to_string(i);
    const ByteVector value(bytes, static_cast<std::byte>(i));
    slot.begin().putfh(object).setxattr(bench::XattrHow::CREATE, attribute, value);
    Reply& reply = co_await slot.ask();
    bench::ChangeInfo change;
    if (!(reply.putfh() && reply.setxattr(change))) fail("SETXATTR: {}", bench::status_name(reply.error()));
  }
}

Task<> Stage::delegate(const char* name, uint32_t access) {
  co_await holder_->start();
  Slot& slot = holder_->slot(0);
  const FileHandle file = handles[name];
  slot.begin().putfh(file).open_current({holder_->id(), "holder"}, {.access = access, .delegation = true});
  Reply& reply = co_await slot.ask();
  Stateid open, delegation;
  bench::ChangeInfo change;
  if (!(reply.putfh() && reply.open(open, change)) ||
      reply.delegation(delegation) == Reply::Delegation::none) {
    fail("no delegation: {}", bench::status_name(reply.error()));
    co_return;
  }
  give_back_when_recalled(*holder_, file, delegation, access == bench::share_access_both);
}

Task<> Stage::delegate40(const char* name, uint32_t access) {
  co_await holder40_->start();
  Slot& slot = holder40_->slot(0);
  const std::string file_name = name;
  const Call::Owner owner{holder40_->id(), "holder"};
  Stateid delegation;
  // Until its connection from the server is there.
  for (uint32_t seqid = 0; !world_.failed();) {
    Stateid open;
    bench::ChangeInfo change;
    slot.begin().putfh(root()).in_order(++seqid).open(owner, access, file_name);
    Reply& reply = co_await slot.ask();
    if (!(reply.putfh() && reply.open(open, change)))
      co_return fail("open: {}", bench::status_name(reply.error()));
    if (reply.delegation(delegation) != Reply::Delegation::none) break;
    if (seqid == 1) {
      slot.begin().putfh(handles[file_name]).in_order(++seqid).open_confirm(open);
      Reply& confirmed = co_await slot.ask();
      if (!(confirmed.putfh() && confirmed.open_confirm(open)))
        co_return fail("OPEN_CONFIRM: {}", bench::status_name(confirmed.error()));
    }
    slot.begin().putfh(handles[file_name]).in_order(++seqid).close(open);
    Reply& closed = co_await slot.ask();
    if (!(closed.putfh() && closed.close())) co_return fail("close: {}", bench::status_name(closed.error()));
    co_await holder40_->sleep(std::chrono::milliseconds(10));
  }
  give_back_when_recalled(*holder40_, handles[file_name], delegation, access == bench::share_access_both);
}

// A client of NFSv4.0 may be called twice.
void Stage::give_back_when_recalled(Client& client, const FileHandle& file, const Stateid& delegation,
                                    bool writes) {
  client.on_recall = [this, &client, file, delegation, writes](const Stateid& recalled) {
    if (recalled.other != delegation.other) return NfsStatus::NFS4ERR_BAD_STATEID;
    if (!std::exchange(gives_back_, true)) spawn(give_back(client, file, delegation, writes));
    return NfsStatus::NFS4_OK;
  };
  client.on_getattr = [](Bytes) { return Client::HolderSays{.change = 1, .size = holders_bytes}; };
}

Task<> Stage::give_back(Client& client, FileHandle file, Stateid delegation, bool writes) {
  Slot& slot = client.slot(0);
  slot.begin().putfh(file);
  if (writes)
    std::ranges::fill(slot.call().write(delegation, holders_bytes - 4, bench::StableHow::FILE_SYNC4, 4),
                      std::byte('h'));
  slot.call().delegreturn(delegation);
  note(slot.call());
  Reply& reply = co_await slot.ask();
  uint32_t count = 0;
  bench::StableHow stable{};
  Verifier now{};
  if (!(reply.putfh() && (!writes || reply.write(count, stable, now)) && reply.plain(Op::DELEGRETURN)))
    fail("DELEGRETURN: {}", bench::status_name(reply.error()));
}

Task<> Stage::open_as_holder(const char* name) {
  co_await holder_->start();
  if (world_.failed()) co_return;
  const std::string file = name, owner = "holder";
  const OpenFile opened = co_await open_file(holder_->slot(0), root(), file, owner);
  holders_open_ = opened.stateid;
}

Task<> Stage::wait_for_lock(const char* name) {
  const FileHandle file = handles[name];
  holder_->on_lock_free = [this, file](std::string_view) { spawn(holder_locks(file, NfsStatus::NFS4_OK)); };
  co_await holder_locks(file, NfsStatus::NFS4ERR_DENIED);
}

Task<> Stage::holder_locks(FileHandle file, NfsStatus expected) {
  Slot& slot = holder_->slot(0);
  slot.begin().putfh(file).lock_new(holders_open_, {holder_->id(), "waiter"}, bench::LockType::WRITEW_LT, 0,
                                    10);
  note(slot.call());
  Reply& reply = co_await slot.ask();
  Stateid lock;
  const bool locked = reply.putfh() && reply.lock(lock);
  if (reply.error() != expected) fail("LOCK that waits: {}", bench::status_name(reply.error()));
  holder_has_lock_ = locked;
}

Task<> Stage::until_holder_has_lock() {
  while (!holder_has_lock_ && !world_.failed()) co_await holder_->sleep(std::chrono::milliseconds(10));
}

Task<> Stage::start_holder() {
  holder_->on_copied = [this](const Stateid&, NfsStatus ended, uint64_t bytes) {
    say("copied: {}, {} bytes", bench::status_name(ended), bytes);
    copied_ = true;
  };
  return holder_->start();
}

// nullopt: it was done at once, because the server could not have called.
Task<std::optional<Stateid>> Stage::begin_copy(const char* from, const char* to, Call::CopyRange range) {
  Slot& slot = holder_->slot(0);
  slot.begin().putfh(handles[from]).savefh().putfh(handles[to]);
  slot.call().copy({}, {}, range, false);
  note(slot.call());
  Reply& reply = co_await slot.ask();
  uint64_t count = 0;
  bench::StableHow stable{};
  Verifier now{};
  std::optional<Stateid> copy;
  if (!(reply.putfh() && reply.plain(Op::SAVEFH) && reply.putfh() && reply.copy(count, stable, now, copy)))
    fail("COPY: {}", bench::status_name(reply.error()));
  else if (!copy)
    holder_->on_copied({}, NfsStatus::NFS4_OK, count);
  co_return copy;
}

Task<> Stage::copy_as_holder(const char* from, const char* to, Call::CopyRange range) {
  co_await begin_copy(from, to, range);
  while (!copied_ && !world_.failed()) co_await holder_->sleep(std::chrono::milliseconds(10));
}

Task<> Stage::copy_and_cancel(const char* from, const char* to, Call::CopyRange range) {
  holder_->on_copied = [](const Stateid&, NfsStatus, uint64_t) {};  // it may have ended before
  const std::optional<Stateid> copy = co_await begin_copy(from, to, range);
  if (world_.failed()) co_return;
  Slot& slot = holder_->slot(0);
  if (copy) {
    slot.begin().putfh(handles[to]).set_mode(0640).offload_cancel(*copy);
    note(slot.call());
    Reply& cancelled = co_await slot.ask();
    if (!(cancelled.putfh() && cancelled.setattr() && cancelled.plain(Op::OFFLOAD_CANCEL)) &&
        cancelled.error() != NfsStatus::NFS4ERR_BAD_STATEID)
      co_return fail("OFFLOAD_CANCEL: {}", bench::status_name(cancelled.error()));
  }
  slot.begin().putfh(handles[to]).set_mode(0640).set_size({}, 0);
  note(slot.call());
  Reply& cut = co_await slot.ask();
  if (!(cut.putfh() && cut.setattr() && cut.setattr())) fail("SETATTR: {}", bench::status_name(cut.error()));
}

Task<> Stage::write_unstable(const char* name, uint64_t blocks) {
  constexpr uint64_t at_once = 64;
  Slot& slot = subject_->slot(0);
  const FileHandle file = handles[name];
  for (uint64_t at = 0; at < blocks && !world_.failed(); at += at_once) {
    const uint64_t n = std::min(blocks - at, at_once);
    Call& c = slot.begin().putfh(file);
    add_write(c, {}, at * block, bench::StableHow::UNSTABLE4, static_cast<uint32_t>(n * block),
              (at << 20U) + 7);
    Reply& reply = co_await slot.ask();
    uint32_t count = 0;
    bench::StableHow stable{};
    Verifier now;
    if (!(reply.putfh() && reply.write(count, stable, now) && count == n * block))
      fail("write: {}", bench::status_name(reply.error()));
    // With another verifier than that of the first one, that may be lost.
    if (at == 0) verifiers[name] = now;
  }
}

Task<> Stage::commit_as_a_client_does(const char* name, uint64_t blocks) {
  Slot& slot = subject_->slot(0);
  const FileHandle file = handles[name];
  while (!world_.failed()) {
    slot.begin().putfh(file).commit(0, 0);
    note(slot.call());
    Reply& reply = co_await slot.ask();
    Verifier now;
    if (!(reply.putfh() && reply.commit(now))) {
      fail("commit: {}", bench::status_name(reply.error()));
      co_return;
    }
    if (now == verifiers[name]) co_return;
    co_await write_unstable(name, blocks);
  }
}

// Asked for again by whoever comes to life.
Task<> Stage::checkpoint() {
  const auto done = std::make_shared<bool>(false);
  uint64_t asked = 0;
  while (!*done && !world_.failed()) {
    if (blade().serving() && asked != blade().starts()) {
      asked = blade().starts();
      blade().post([this, done] {
        if (blade().serving()) blade().vserver().checkpointer().request([done] { *done = true; });
      });
    }
    co_await observer_->sleep(milliseconds(1));
  }
}

Task<> Stage::settle() {
  while (!world_.failed() && !blade().at_rest()) co_await observer_->sleep(milliseconds(1));
}

void Stage::fall_silent() {
  subject_->die();
  silent_since_ = world_.now();
}

Task<> Stage::let_lease_almost_end() {
  const env::Duration lease = seconds(world_.profile().lease_seconds);
  while (!world_.failed() && world_.now() - silent_since_ < lease - milliseconds(600)) {
    co_await observer_->sleep(milliseconds(500));
    observer_->slot(0).begin().putrootfh();
    co_await observer_->slot(0).ask();
  }
}

Task<> Stage::let_lease_end() {
  const env::Duration time = seconds(world_.profile().lease_seconds) + milliseconds(2100);
  for (uint64_t starts = blade().starts(); !world_.failed() && world_.now() - silent_since_ < time;) {
    co_await observer_->sleep(milliseconds(700));
    observer_->slot(0).begin().putrootfh();
    co_await observer_->slot(0).ask();
    // Leases begin anew with a start.
    if (std::exchange(starts, blade().starts()) != blade().starts()) silent_since_ = world_.now();
  }
}

// ----------------------------------------------------------------------------------------------- look

Task<> Stage::look() {
  seen_.clear();
  const std::string path;
  co_await look_at_directory(path, root());
  if (!subject_->stopped()) co_await look_at_subject();
}

Task<> Stage::look_at_directory(std::string path, FileHandle directory) {
  Slot& slot = observer_->slot(0);
  const Names names = co_await list(slot, directory);
  std::map<std::string, uint64_t> sorted(names.begin(), names.end());
  say("{}/: {} names", path, sorted.size());
  for (const auto& [name, id] : sorted) {
    const std::string inner = fmt::format("{}/{}", path, name);
    slot.begin().putfh(directory).lookup(name).getfh().getattr(attr::TYPE | attr::SIZE | attr::MODE |
                                                               attr::NUMLINKS | attr::ACL);
    Reply& reply = co_await slot.ask();
    FileHandle child;
    Attributes a;
    if (!(reply.putfh() && reply.plain(Op::LOOKUP) && reply.getfh(child) && reply.getattr(a))) {
      fail("{}: {}", inner, bench::status_name(reply.error()));
      co_return;
    }
    co_await look_at_xattrs(inner, child);
    const bool is_directory = a.type == bench::FileType::NF4DIR;
    say("{}: type {} mode {:o} links {} size {} list {}", inner, std::to_underlying(a.type), a.mode,
        a.numlinks, is_directory ? 0 : a.size, words(a.acl));
    if (is_directory) {
      co_await look_at_directory(inner, child);
      continue;
    }
    const auto [before, first] = seen_.emplace(id, inner);
    if (!first) {
      say("{}: the same as {}", inner, before->second);
      continue;
    }
    if (a.type == bench::FileType::NF4LNK) {
      slot.begin().putfh(child).readlink();
      Reply& link = co_await slot.ask();
      std::string_view target;
      const bool ok = link.putfh() && link.readlink(target);
      say("{}: to {}", inner, ok ? target : "nowhere");
      continue;
    }
    co_await look_at_file(inner, directory, name, a.size);
    co_await look_at_opens(inner, directory, name);
    co_await look_at_locks(inner, child);
  }
}

Task<> Stage::look_at_xattrs(std::string path, FileHandle object) {
  Slot& slot = observer_->slot(0);
  slot.begin().putfh(object).listxattrs(0, io_bytes_max);
  Reply& listing = co_await slot.ask();
  uint64_t cookie = 0;
  std::vector<std::string> names;
  bool eof = false;
  if (!(listing.putfh() && listing.listxattrs(cookie, names, eof) && eof))
    fail("{}: LISTXATTRS: {}", path, bench::status_name(listing.error()));
  std::ranges::sort(names);
  for (const std::string& name : names) {
    NfsStatus got{};
    do {
      slot.begin().putfh(object).getxattr(name);
      Reply& reply = co_await slot.ask();
      Bytes value;
      const bool ok = reply.putfh() && reply.getxattr(value);
      got = reply.error();
      if (ok) say("{}: attribute {} of {} bytes {:08x}", path, name, value.size(), crc32c(value));
      // It may have been asked for a reply to be kept, and of a large one none is.
    } while (got == NfsStatus::NFS4ERR_REP_TOO_BIG_TO_CACHE);
    if (got != NfsStatus::NFS4_OK) fail("{}: GETXATTR {}: {}", path, name, bench::status_name(got));
  }
}

Task<> Stage::look_at_file(std::string path, FileHandle directory, std::string name, uint64_t size) {
  Slot& slot = observer_->slot(0);
  Stateid bypass{.seqid = UINT32_MAX, .other = {}};  // share reservations (RFC 8881 §8.2.3)
  bypass.other.fill(std::byte{0xff});
  // An answer that is to be kept is short.
  uint32_t crc = 0;
  uint64_t at = 0;
  for (bool eof = false; !eof && !world_.failed();) {
    slot.begin().putfh(directory).lookup(name).read(bypass, at, io_bytes_max);
    Reply& reply = co_await slot.ask();
    Bytes data;
    if (!(reply.putfh() && reply.plain(Op::LOOKUP) && reply.read(data, eof))) {
      // The server may hold share reservations against the READ bypass stateid as well.
      if (reply.error() != NfsStatus::NFS4ERR_LOCKED) fail("{}: {}", path, bench::status_name(reply.error()));
      say("{}: {}", path, bench::status_name(reply.error()));
      co_return;
    }
    crc = crc32c(data, crc);
    at += data.size();
    if (at > size || (data.empty() && !eof)) fail("{}: {} bytes of {} were read", path, at, size);
  }
  say("{}: {} bytes {:08x}", path, at, crc);
}

// Which opens the opens of others allow.
Task<> Stage::look_at_opens(std::string path, FileHandle directory, std::string name) {
  Slot& slot = observer_->slot(0);
  static constexpr std::pair<uint32_t, uint32_t> probes[] = {{1, 0}, {2, 0}, {1, 1}, {1, 2}};
  std::string words;
  for (const auto& [access, deny] : probes) {
    const std::string_view prober = "prober";
    slot.begin().putfh(directory).open({observer_->id(), prober}, {access, deny}, name).close(current);
    Reply& reply = co_await slot.ask();
    Stateid opened;
    bench::ChangeInfo change;
    const bool ok = reply.putfh() && reply.open(opened, change) && reply.close();
    words += fmt::format(" {}/{} {}", access, deny, ok ? "yes" : bench::status_name(reply.error()));
  }
  say("{}: open{}", path, words);
}

Task<> Stage::look_at_locks(std::string path, FileHandle file) {
  Slot& slot = observer_->slot(0);
  static constexpr bench::LockType types[] = {bench::LockType::READ_LT, bench::LockType::WRITE_LT};
  std::string words;
  for (uint64_t at = 0; at < 40; at += 5) {
    for (const bench::LockType type : types) {
      const std::string_view prober = "prober";
      slot.begin().putfh(file).lockt({observer_->id(), prober}, type, at, 5);
      Reply& reply = co_await slot.ask();
      const bool free = reply.putfh() && reply.plain(Op::LOCKT);
      if (!free && reply.error() != NfsStatus::NFS4ERR_DENIED)
        fail("LOCKT: {}", bench::status_name(reply.error()));
      words += free ? "." : "x";
    }
  }
  say("{}: locked {}", path, words);
}

Task<> Stage::look_at_subject() {
  for (size_t i = 0; i < subject_->slots(); ++i) {
    Slot& slot = subject_->slot(i);
    slot.begin().putrootfh();
    Reply& reply = co_await slot.ask();
    const bool ok = reply.plain(Op::PUTROOTFH);
    say("slot {}: {}", i, bench::status_name(ok ? NfsStatus::NFS4_OK : reply.error()));
  }
  std::vector<Stateid> all;
  for (const auto& [name, id] : stateids) all.push_back(id);
  Slot& slot = subject_->slot(0);
  slot.begin().test_stateid(all);
  Reply& reply = co_await slot.ask();
  std::vector<NfsStatus> statuses;
  if (!reply.test_stateid(statuses)) fail("TEST_STATEID: {}", bench::status_name(reply.error()));
  auto tested = statuses.begin();
  for (const auto& [name, id] : stateids)
    if (tested != statuses.end()) say("stateid {}: {}", name, bench::status_name(*tested++));
}

void Stage::count() {
  const server::CheckFigures& f = blade().figures();
  say("{} inodes, {} directories, {} entries, {} xattrs; {} clients, {} sessions, {} opens, {} lock states, "
      "{} locks, {} transactions",
      f.fs.inodes, f.fs.directories, f.fs.entries, f.fs.xattrs, f.clients.clients, f.clients.sessions,
      f.clients.opens, f.clients.lock_states, f.clients.locks, f.transactions);
}

void Stage::count_blocks() {
  const server::CheckFigures& f = blade().figures();
  say("{} used blocks, {} page rows, {} verified blocks", f.fs.used_blocks, f.fs.page_rows,
      f.fs.verified_blocks);
}

}  // namespace perdure::sim
