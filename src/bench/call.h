// Call: one COMPOUND request as the bytes of an RPC record, built in place and sent from where it lies. The
// bytes stay until the next begin(), so that an unanswered request can be sent again exactly as it was.
//
// begin(), then one method per operation in the order of the COMPOUND, then finish(). The memory is used
// again for the next request: nothing is allocated once the largest one was built.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "bench/nfs.h"

namespace perdure::bench {

// Who the requests come from: AUTH_SYS.
struct Identity {
  uint32_t uid = 0;
  uint32_t gid = 0;
};

class Call {
 public:
  void begin(uint32_t xid, const Identity& who, uint32_t minor_version);
  void finish();
  Bytes bytes() const { return encoder_.bytes(); }
  bool empty() const { return encoder_.size() == 0; }
  size_t operations() const { return list_.size(); }
  const std::vector<Op>& list() const { return list_; }

  Call& sequence(const SessionId& session, uint32_t seqid, uint32_t slot, uint32_t highest_slot,
                 bool cache_this);
  // Writes over the sequence id of a finished call. Only for planted errors: a client never does this.
  void patch_sequence(uint32_t seqid);
  // Makes a finished call another request, without a session.
  void patch_xid(uint32_t xid);
  // NFSv4.0: the sequence id of the next operation, in its owner's order; `lock_seqid`: of a new lock owner.
  Call& in_order(uint32_t seqid, uint32_t lock_seqid = 0);

  Call& putrootfh() { return op(Op::PUTROOTFH); }
  Call& putfh(const FileHandle& fh);
  Call& savefh() { return op(Op::SAVEFH); }
  Call& restorefh() { return op(Op::RESTOREFH); }
  Call& getfh() { return op(Op::GETFH); }
  Call& lookup(std::string_view name);
  Call& getattr(uint64_t attributes);
  Call& access(uint32_t bits);
  Call& readdir(uint64_t cookie, const Verifier& verifier, uint32_t bytes_max, uint64_t attributes);
  Call& readlink() { return op(Op::READLINK); }

  Call& mkdir(std::string_view name, uint32_t mode);
  Call& fifo(std::string_view name, uint32_t mode);
  Call& symlink(std::string_view name, std::string_view target);
  Call& remove(std::string_view name);
  Call& rename(std::string_view from, std::string_view to);  // saved handle: old directory, current: new one
  Call& link(std::string_view name);                         // saved handle: the file, current: the directory
  Call& set_size(const Stateid& stateid, uint64_t size);
  Call& set_mode(uint32_t mode);
  Call& set_acl(std::span<const Ace> acl);

  Call& getxattr(std::string_view name);
  Call& setxattr(XattrHow how, std::string_view name, Bytes value);
  Call& listxattrs(uint64_t cookie, uint32_t bytes_max);
  Call& removexattr(std::string_view name);

  struct Owner {
    uint64_t clientid = 0;
    std::string_view name;
  };
  struct Share {
    uint32_t access = share_access_both;
    uint32_t deny = 0;
    bool delegation = false;  // it may be given one
  };
  Call& open(const Owner& owner, uint32_t share_access, std::string_view name) {
    return open(owner, Share{share_access, 0}, name);
  }
  Call& open(const Owner& owner, const Share& share, std::string_view name);
  Call& open_create(const Owner& owner, std::string_view name, CreateMode how, uint32_t mode,
                    uint64_t verifier) {
    return open_create(owner, Share{}, name, how, mode, verifier);
  }
  Call& open_create(const Owner& owner, const Share& share, std::string_view name, CreateMode how,
                    uint32_t mode, uint64_t verifier);
  // Creates it, or cuts what is there to nothing.
  Call& open_truncate(const Owner& owner, const Share& share, std::string_view name);
  Call& open_current(const Owner& owner, const Share& share);  // CLAIM_FH
  Call& open_downgrade(const Stateid& stateid, const Share& share);
  Call& close(const Stateid& stateid);
  Call& delegreturn(const Stateid& stateid);
  Call& read(const Stateid& stateid, uint64_t offset, uint32_t length);
  // The place for `length` bytes of data, to be filled before anything else is appended. A multiple of 4.
  MutableBytes write(const Stateid& stateid, uint64_t offset, StableHow stable, uint32_t length);
  Call& commit(uint64_t offset, uint32_t length);
  // NFSv4.2.
  Call& read_plus(const Stateid& stateid, uint64_t offset, uint32_t length);
  Call& seek(const Stateid& stateid, uint64_t offset, bool hole);
  Call& allocate(const Stateid& stateid, uint64_t offset, uint64_t length);
  Call& deallocate(const Stateid& stateid, uint64_t offset, uint64_t length);
  // Saved handle: the source; current: the target. Length 0: to the source's end.
  struct CopyRange {
    uint64_t from = 0, to = 0, length = 0;
  };
  Call& clone(const Stateid& from, const Stateid& to, const CopyRange& range);
  Call& copy(const Stateid& from, const Stateid& to, const CopyRange& range, bool synchronous = true);
  Call& offload_status(const Stateid& stateid);
  Call& offload_cancel(const Stateid& stateid);
  // The first lock of a lock owner on a file, through its open; and further ones.
  Call& lock_new(const Stateid& open, const Owner& owner, LockType type, uint64_t offset, uint64_t length);
  Call& lock_more(const Stateid& lock, LockType type, uint64_t offset, uint64_t length);
  Call& lockt(const Owner& owner, LockType type, uint64_t offset, uint64_t length);
  Call& locku(const Stateid& lock, uint64_t offset, uint64_t length);
  Call& free_stateid(const Stateid& stateid);
  Call& test_stateid(std::span<const Stateid> stateids);

  Call& exchange_id(const Verifier& verifier, std::string_view owner);
  struct Channel {
    uint32_t request_bytes_max = 0;
    uint32_t response_bytes_max = 0;
    uint32_t response_bytes_cached_max = 0;
    uint32_t operations_max = 0;
    uint32_t requests_max = 0;
  };
  Call& create_session(uint64_t clientid, uint32_t sequence, uint32_t flags, const Channel& fore);
  // `back`: as a back channel, too.
  Call& bind_conn_to_session(const SessionId& session, bool back = false);
  Call& backchannel_ctl(uint32_t program);
  Call& destroy_session(const SessionId& session);
  Call& destroy_clientid(uint64_t clientid);
  Call& reclaim_complete();
  // NFSv4.0.
  // `callback_address`: a universal address (RFC 5665 §5.2.3.3) where callbacks of callback_ident are taken.
  Call& setclientid(const Verifier& verifier, std::string_view id,
                    std::string_view callback_address = "0.0.0.0.0.0");
  Call& setclientid_confirm(uint64_t clientid, uint64_t confirm);
  Call& renew(uint64_t clientid);
  Call& open_confirm(const Stateid& stateid);
  Call& release_lockowner(const Owner& owner);

 private:
  Call& op(Op op);
  void put_u32(uint32_t value);
  void put_u64(uint64_t value);
  void put_bool(bool value) { put_u32(value ? 1 : 0); }
  void put_fixed(Bytes bytes);
  void put_opaque(Bytes bytes);
  void put_string(std::string_view text) { put_opaque(bytes_of(text)); }
  void put_stateid(const Stateid& stateid);
  void put_owner(const Owner& owner);
  Call& range_op(Op op, const Stateid& stateid, uint64_t offset, uint64_t length);
  void put_copy(const Stateid& from, const Stateid& to, const CopyRange& range);
  void begin_open(const Owner& owner, const Share& share);
  void put_bitmap(uint64_t attributes);
  void put_mode_attribute(uint32_t mode);
  void put_channel(const Channel& channel);

  Encoder encoder_;
  std::vector<Op> list_;
  size_t operations_at_ = 0;
  size_t sequence_at_ = 0;
  uint32_t minor_version_ = 0;
  uint32_t seqid_ = 0, lock_seqid_ = 0;
};

}  // namespace perdure::bench
