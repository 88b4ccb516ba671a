#include "bench/call.h"

#include <utility>

#include "wire/xdr_decoder.h"

namespace perdure::bench {

using wire::padded;
using wire::store_u32;
using wire::store_u64;

namespace {

constexpr std::string_view machine_name = "perdure-bench";
constexpr uint32_t last_fragment = 0x80000000;
constexpr uint32_t claim_null = 0, claim_fh = 4;
constexpr uint32_t procedure_compound = 1;

}  // namespace

void Call::begin(uint32_t xid, const Identity& who, uint32_t minor_version) {
  encoder_.clear();
  list_.clear();
  put_u32(0);  // the record mark, see finish()
  put_u32(xid);
  put_u32(0);  // CALL
  put_u32(2);  // RPC version
  put_u32(nfs_program);
  put_u32(nfs_version);
  put_u32(procedure_compound);
  put_u32(1);  // AUTH_SYS: stamp, machine name, uid, gid, no further groups
  put_u32(static_cast<uint32_t>(4 + 4 + padded(machine_name.size()) + 4 + 4 + 4));
  put_u32(0);
  put_string(machine_name);
  put_u32(who.uid);
  put_u32(who.gid);
  put_u32(0);
  put_u64(0);  // verifier: AUTH_NONE, empty
  put_u32(0);  // tag
  put_u32(minor_version);
  minor_version_ = minor_version;
  seqid_ = lock_seqid_ = 0;
  operations_at_ = encoder_.size();
  put_u32(0);
}

void Call::finish() {
  std::byte word[4];
  store_u32(word, static_cast<uint32_t>(encoder_.size() - 4) | last_fragment);
  encoder_.patch(0, std::bit_cast<uint32_t>(word));
  store_u32(word, static_cast<uint32_t>(list_.size()));
  encoder_.patch(operations_at_, std::bit_cast<uint32_t>(word));
}

Call& Call::sequence(const SessionId& session, uint32_t seqid, uint32_t slot, uint32_t highest_slot,
                     bool cache_this) {
  op(Op::SEQUENCE);
  put_fixed(session);
  sequence_at_ = encoder_.size();
  put_u32(seqid);
  put_u32(slot);
  put_u32(highest_slot);
  put_bool(cache_this);
  return *this;
}

void Call::patch_sequence(uint32_t seqid) {
  std::byte word[4];
  store_u32(word, seqid);
  encoder_.patch(sequence_at_, std::bit_cast<uint32_t>(word));
}

void Call::patch_xid(uint32_t xid) {
  std::byte word[4];
  store_u32(word, xid);
  encoder_.patch(4, std::bit_cast<uint32_t>(word));
}

Call& Call::in_order(uint32_t seqid, uint32_t lock_seqid) {
  seqid_ = seqid;
  lock_seqid_ = lock_seqid;
  return *this;
}

Call& Call::putfh(const FileHandle& fh) {
  op(Op::PUTFH);
  put_opaque(fh.bytes());
  return *this;
}

Call& Call::lookup(std::string_view name) {
  op(Op::LOOKUP);
  put_string(name);
  return *this;
}

Call& Call::getattr(uint64_t attributes) {
  op(Op::GETATTR);
  put_bitmap(attributes);
  return *this;
}

Call& Call::access(uint32_t bits) {
  op(Op::ACCESS);
  put_u32(bits);
  return *this;
}

Call& Call::readdir(uint64_t cookie, const Verifier& verifier, uint32_t bytes_max, uint64_t attributes) {
  op(Op::READDIR);
  put_u64(cookie);
  put_fixed(verifier);
  put_u32(bytes_max);  // of names and cookies alone
  put_u32(bytes_max);
  put_bitmap(attributes);
  return *this;
}

Call& Call::mkdir(std::string_view name, uint32_t mode) {
  op(Op::CREATE);
  put_u32(std::to_underlying(FileType::NF4DIR));
  put_string(name);
  put_mode_attribute(mode);
  return *this;
}

Call& Call::fifo(std::string_view name, uint32_t mode) {
  op(Op::CREATE);
  put_u32(std::to_underlying(FileType::NF4FIFO));
  put_string(name);
  put_mode_attribute(mode);
  return *this;
}

Call& Call::symlink(std::string_view name, std::string_view target) {
  op(Op::CREATE);
  put_u32(std::to_underlying(FileType::NF4LNK));
  put_string(target);
  put_string(name);
  put_mode_attribute(0777);
  return *this;
}

Call& Call::remove(std::string_view name) {
  op(Op::REMOVE);
  put_string(name);
  return *this;
}

Call& Call::rename(std::string_view from, std::string_view to) {
  op(Op::RENAME);
  put_string(from);
  put_string(to);
  return *this;
}

Call& Call::link(std::string_view name) {
  op(Op::LINK);
  put_string(name);
  return *this;
}

Call& Call::getxattr(std::string_view name) {
  op(Op::GETXATTR);
  put_string(name);
  return *this;
}

Call& Call::setxattr(XattrHow how, std::string_view name, Bytes value) {
  op(Op::SETXATTR);
  put_u32(std::to_underlying(how));
  put_string(name);
  put_opaque(value);
  return *this;
}

Call& Call::listxattrs(uint64_t cookie, uint32_t bytes_max) {
  op(Op::LISTXATTRS);
  put_u64(cookie);
  put_u32(bytes_max);
  return *this;
}

Call& Call::removexattr(std::string_view name) {
  op(Op::REMOVEXATTR);
  put_string(name);
  return *this;
}

Call& Call::set_size(const Stateid& stateid, uint64_t size) {
  op(Op::SETATTR);
  put_stateid(stateid);
  put_bitmap(attr::SIZE);
  put_u32(8);
  put_u64(size);
  return *this;
}

Call& Call::set_mode(uint32_t mode) {
  op(Op::SETATTR);
  put_stateid({});
  put_mode_attribute(mode);
  return *this;
}

Call& Call::set_acl(std::span<const Ace> acl) {
  op(Op::SETATTR);
  put_stateid({});
  put_bitmap(attr::ACL);
  size_t bytes = 4;
  for (const Ace& ace : acl) bytes += 16 + padded(ace.who.size());
  put_u32(static_cast<uint32_t>(bytes));
  put_u32(static_cast<uint32_t>(acl.size()));
  for (const Ace& ace : acl) {
    put_u32(ace.type), put_u32(ace.flags), put_u32(ace.mask);
    put_string(ace.who);
  }
  return *this;
}

Call& Call::open(const Owner& owner, const Share& share, std::string_view name) {
  begin_open(owner, share);
  put_u32(0);  // OPEN4_NOCREATE
  put_u32(claim_null);
  put_string(name);
  return *this;
}

Call& Call::open_create(const Owner& owner, const Share& share, std::string_view name, CreateMode how,
                        uint32_t mode, uint64_t verifier) {
  begin_open(owner, share);
  put_u32(1);  // OPEN4_CREATE
  put_u32(std::to_underlying(how));
  if (how == CreateMode::EXCLUSIVE4_1) put_u64(verifier);
  put_mode_attribute(mode);
  put_u32(claim_null);
  put_string(name);
  return *this;
}

Call& Call::open_current(const Owner& owner, const Share& share) {
  begin_open(owner, share);
  put_u32(0);  // OPEN4_NOCREATE
  put_u32(claim_fh);
  return *this;
}

Call& Call::open_truncate(const Owner& owner, const Share& share, std::string_view name) {
  begin_open(owner, share);
  put_u32(1);  // OPEN4_CREATE
  put_u32(std::to_underlying(CreateMode::UNCHECKED4));
  put_bitmap(attr::SIZE);
  put_u32(8);
  put_u64(0);
  put_u32(claim_null);
  put_string(name);
  return *this;
}

Call& Call::open_downgrade(const Stateid& stateid, const Share& share) {
  op(Op::OPEN_DOWNGRADE);
  put_stateid(stateid);
  put_u32(seqid_);
  put_u32(share.access);
  put_u32(share.deny);
  return *this;
}

Call& Call::close(const Stateid& stateid) {
  op(Op::CLOSE);
  put_u32(seqid_);
  put_stateid(stateid);
  return *this;
}

Call& Call::read(const Stateid& stateid, uint64_t offset, uint32_t length) {
  op(Op::READ);
  put_stateid(stateid);
  put_u64(offset);
  put_u32(length);
  return *this;
}

MutableBytes Call::write(const Stateid& stateid, uint64_t offset, StableHow stable, uint32_t length) {
  CHECK(length % 4 == 0);
  op(Op::WRITE);
  put_stateid(stateid);
  put_u64(offset);
  put_u32(std::to_underlying(stable));
  put_u32(length);
  return {encoder_.extend(length), length};
}

Call& Call::commit(uint64_t offset, uint32_t length) {
  op(Op::COMMIT);
  put_u64(offset);
  put_u32(length);
  return *this;
}

Call& Call::delegreturn(const Stateid& stateid) {
  op(Op::DELEGRETURN);
  put_stateid(stateid);
  return *this;
}

Call& Call::read_plus(const Stateid& stateid, uint64_t offset, uint32_t length) {
  op(Op::READ_PLUS);
  put_stateid(stateid);
  put_u64(offset);
  put_u32(length);
  return *this;
}

Call& Call::seek(const Stateid& stateid, uint64_t offset, bool hole) {
  op(Op::SEEK);
  put_stateid(stateid);
  put_u64(offset);
  put_u32(hole ? 1 : 0);
  return *this;
}

Call& Call::range_op(Op number, const Stateid& stateid, uint64_t offset, uint64_t length) {
  op(number);
  put_stateid(stateid);
  put_u64(offset);
  put_u64(length);
  return *this;
}

Call& Call::allocate(const Stateid& stateid, uint64_t offset, uint64_t length) {
  return range_op(Op::ALLOCATE, stateid, offset, length);
}

Call& Call::deallocate(const Stateid& stateid, uint64_t offset, uint64_t length) {
  return range_op(Op::DEALLOCATE, stateid, offset, length);
}

void Call::put_copy(const Stateid& from, const Stateid& to, const CopyRange& range) {
  put_stateid(from);
  put_stateid(to);
  put_u64(range.from);
  put_u64(range.to);
  put_u64(range.length);
}

Call& Call::clone(const Stateid& from, const Stateid& to, const CopyRange& range) {
  op(Op::CLONE);
  put_copy(from, to, range);
  return *this;
}

Call& Call::copy(const Stateid& from, const Stateid& to, const CopyRange& range, bool synchronous) {
  op(Op::COPY);
  put_copy(from, to, range);
  put_bool(true);  // consecutive
  put_bool(synchronous);
  put_u32(0);  // no other servers
  return *this;
}

Call& Call::offload_status(const Stateid& stateid) {
  op(Op::OFFLOAD_STATUS);
  put_stateid(stateid);
  return *this;
}

Call& Call::offload_cancel(const Stateid& stateid) {
  op(Op::OFFLOAD_CANCEL);
  put_stateid(stateid);
  return *this;
}

Call& Call::lock_new(const Stateid& open, const Owner& owner, LockType type, uint64_t offset,
                     uint64_t length) {
  op(Op::LOCK);
  put_u32(std::to_underlying(type));
  put_bool(false);  // reclaim
  put_u64(offset);
  put_u64(length);
  put_bool(true);  // a new lock owner
  put_u32(seqid_);
  put_stateid(open);
  put_u32(lock_seqid_);
  put_owner(owner);
  return *this;
}

Call& Call::lock_more(const Stateid& lock, LockType type, uint64_t offset, uint64_t length) {
  op(Op::LOCK);
  put_u32(std::to_underlying(type));
  put_bool(false);
  put_u64(offset);
  put_u64(length);
  put_bool(false);
  put_stateid(lock);
  put_u32(seqid_);
  return *this;
}

Call& Call::lockt(const Owner& owner, LockType type, uint64_t offset, uint64_t length) {
  op(Op::LOCKT);
  put_u32(std::to_underlying(type));
  put_u64(offset);
  put_u64(length);
  put_owner(owner);
  return *this;
}

Call& Call::free_stateid(const Stateid& stateid) {
  op(Op::FREE_STATEID);
  put_stateid(stateid);
  return *this;
}

Call& Call::test_stateid(std::span<const Stateid> stateids) {
  op(Op::TEST_STATEID);
  put_u32(static_cast<uint32_t>(stateids.size()));
  for (const Stateid& stateid : stateids) put_stateid(stateid);
  return *this;
}

Call& Call::locku(const Stateid& lock, uint64_t offset, uint64_t length) {
  op(Op::LOCKU);
  put_u32(std::to_underlying(LockType::WRITE_LT));
  put_u32(seqid_);
  put_stateid(lock);
  put_u64(offset);
  put_u64(length);
  return *this;
}

Call& Call::exchange_id(const Verifier& verifier, std::string_view owner) {
  op(Op::EXCHANGE_ID);
  put_fixed(verifier);
  put_string(owner);
  put_u32(0);  // flags
  put_u32(0);  // SP4_NONE
  put_u32(0);  // no implementation id
  return *this;
}

Call& Call::create_session(uint64_t clientid, uint32_t sequence, uint32_t flags, const Channel& fore) {
  op(Op::CREATE_SESSION);
  put_u64(clientid);
  put_u32(sequence);
  put_u32(flags);
  put_channel(fore);
  put_channel({.request_bytes_max = 4096,
               .response_bytes_max = 4096,
               .response_bytes_cached_max = 4096,
               .operations_max = 2,
               .requests_max = 1});
  put_u32(callback_program);
  put_u32(1);
  put_u32(0);  // AUTH_NONE
  return *this;
}

Call& Call::bind_conn_to_session(const SessionId& session, bool back) {
  op(Op::BIND_CONN_TO_SESSION);
  put_fixed(session);
  put_u32(back ? 7 : 1);  // CDFC4_BACK_OR_BOTH, CDFC4_FORE
  put_bool(false);
  return *this;
}

Call& Call::backchannel_ctl(uint32_t program) {
  op(Op::BACKCHANNEL_CTL);
  put_u32(program);
  put_u32(1);
  put_u32(0);  // AUTH_NONE
  return *this;
}

Call& Call::destroy_session(const SessionId& session) {
  op(Op::DESTROY_SESSION);
  put_fixed(session);
  return *this;
}

Call& Call::destroy_clientid(uint64_t clientid) {
  op(Op::DESTROY_CLIENTID);
  put_u64(clientid);
  return *this;
}

Call& Call::reclaim_complete() {
  op(Op::RECLAIM_COMPLETE);
  put_bool(false);
  return *this;
}

Call& Call::op(Op op) {
  list_.push_back(op);
  put_u32(std::to_underlying(op));
  return *this;
}

void Call::put_u32(uint32_t value) {
  store_u32(encoder_.extend(4), value);
}
void Call::put_u64(uint64_t value) {
  store_u64(encoder_.extend(8), value);
}

void Call::put_fixed(Bytes bytes) {
  encoder_.put_bytes(bytes);
  const size_t padding = padded(bytes.size()) - bytes.size();
  if (padding != 0) std::memset(encoder_.extend(padding), 0, padding);
}

void Call::put_opaque(Bytes bytes) {
  put_u32(static_cast<uint32_t>(bytes.size()));
  put_fixed(bytes);
}

void Call::put_stateid(const Stateid& stateid) {
  put_u32(stateid.seqid);
  put_fixed(stateid.other);
}

void Call::put_owner(const Owner& owner) {
  put_u64(owner.clientid);
  put_string(owner.name);
}

void Call::begin_open(const Owner& owner, const Share& share) {
  op(Op::OPEN);
  put_u32(seqid_);
  const bool can_decline = minor_version_ != 0;
  put_u32(share.access | (share.delegation || !can_decline ? 0 : share_access_want_no_deleg));
  put_u32(share.deny);
  put_owner(owner);
}

void Call::put_bitmap(uint64_t attributes) {
  const auto low = static_cast<uint32_t>(attributes);
  const auto high = static_cast<uint32_t>(attributes >> 32);
  put_u32(high != 0 ? 2 : 1);
  put_u32(low);
  if (high != 0) put_u32(high);
}

void Call::put_mode_attribute(uint32_t mode) {
  put_bitmap(attr::MODE);
  put_u32(4);
  put_u32(mode);
}

void Call::put_channel(const Channel& channel) {
  put_u32(0);  // header padding
  put_u32(channel.request_bytes_max);
  put_u32(channel.response_bytes_max);
  put_u32(channel.response_bytes_cached_max);
  put_u32(channel.operations_max);
  put_u32(channel.requests_max);
  put_u32(0);  // no RDMA
}

Call& Call::setclientid(const Verifier& verifier, std::string_view id, std::string_view callback_address) {
  op(Op::SETCLIENTID);
  put_fixed(verifier);
  put_string(id);
  put_u32(callback_program);
  put_string("tcp");
  put_string(callback_address);
  put_u32(callback_ident);
  return *this;
}

Call& Call::setclientid_confirm(uint64_t clientid, uint64_t confirm) {
  op(Op::SETCLIENTID_CONFIRM);
  put_u64(clientid);
  put_u64(confirm);
  return *this;
}

Call& Call::renew(uint64_t clientid) {
  op(Op::RENEW);
  put_u64(clientid);
  return *this;
}

Call& Call::open_confirm(const Stateid& stateid) {
  op(Op::OPEN_CONFIRM);
  put_stateid(stateid);
  put_u32(seqid_);
  return *this;
}

Call& Call::release_lockowner(const Owner& owner) {
  op(Op::RELEASE_LOCKOWNER);
  put_owner(owner);
  return *this;
}

}  // namespace perdure::bench
