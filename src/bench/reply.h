// Reply: reads a COMPOUND's results, one method per operation in the order of the call. Each returns true if
// the result is of that operation, NFS4_OK and well formed; then its values are filled in. The first false
// ends it: error() and error_op() say what and where, and every further method returns false. So a chain of
// && is one check.
//
// A Reply is a view: valid as long as the bytes it was made from.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/nfs.h"
#include "wire/xdr_decoder.h"

namespace perdure::bench {

class Reply {
 public:
  Reply() : decoder_(Bytes{}) {}
  // `results`: what follows the RPC reply header.
  explicit Reply(Bytes results);
  explicit Reply(ByteVector&&) = delete;  // its bytes would be gone

  NfsStatus error() const { return error_; }
  Op error_op() const { return error_op_; }
  bool failed() const { return error_ != NfsStatus::NFS4_OK; }

  // An operation whose result is its status alone: PUTFH, SAVEFH, LOOKUP, ...
  bool plain(Op op) { return next(op); }
  bool putfh() { return next(Op::PUTFH); }
  bool getfh(FileHandle& fh);
  bool getattr(Attributes& attributes);
  bool access(uint32_t& supported, uint32_t& granted);
  bool readlink(std::string_view& target);
  bool create(ChangeInfo& directory);
  bool remove(ChangeInfo& directory);
  bool rename(ChangeInfo& source, ChangeInfo& target);
  bool link(ChangeInfo& directory);
  bool setattr();
  bool open(Stateid& stateid, ChangeInfo& directory);
  // The OPEN that was read last wants OPEN_CONFIRM (NFSv4.0).
  bool must_confirm() const { return (open_flags_ & 2U) != 0; }
  enum class Delegation : uint8_t { none, read, write };
  // What the OPEN that was read last was given.
  Delegation delegation(Stateid& stateid) const {
    stateid = delegation_stateid_;
    return delegation_;
  }
  bool open_downgrade(Stateid& stateid);
  bool close();
  bool read(Bytes& data, bool& eof);
  bool write(uint32_t& count, StableHow& stable, Verifier& verifier);
  bool commit(Verifier& verifier);
  bool seek(uint64_t& offset, bool& eof);
  // `copy`: the stateid of an asynchronous one.
  bool copy(uint64_t& count, StableHow& stable, Verifier& verifier, std::optional<Stateid>& copy);
  // `ended`: with which status.
  bool offload_status(uint64_t& count, std::optional<NfsStatus>& ended);
  // READ_PLUS: the segments are read with next_segment() until it returns false.
  bool read_plus(bool& eof);
  struct Segment {
    bool hole = false;
    uint64_t offset = 0, length = 0;
    Bytes data;
  };
  bool next_segment(Segment& segment);
  bool lock(Stateid& stateid);
  bool locku(Stateid& stateid);
  bool test_stateid(std::vector<NfsStatus>& statuses);

  bool getxattr(Bytes& value);
  bool setxattr(ChangeInfo& object);
  // Names are added to those that are there.
  bool listxattrs(uint64_t& cookie, std::vector<std::string>& names, bool& eof);
  bool removexattr(ChangeInfo& object);

  // READDIR: the entries are read with next_entry() until it returns false; then `eof` is set.
  bool readdir(Verifier& verifier);
  struct Entry {
    uint64_t cookie = 0;
    std::string_view name;
    Attributes attributes;
  };
  bool next_entry(Entry& entry, bool& eof);

  struct Sequence {
    SessionId session;
    uint32_t seqid = 0;
    uint32_t slot = 0;
    uint32_t highest_slot = 0;
    uint32_t target_highest_slot = 0;
    uint32_t status_flags = 0;
  };
  bool sequence(Sequence& sequence);
  struct ServerOwner {
    uint64_t minor = 0;
    std::string major, scope;
  };
  bool exchange_id(uint64_t& clientid, uint32_t& sequence, uint32_t& flags, ServerOwner* owner = nullptr);
  struct Session {
    SessionId id;
    uint32_t flags = 0;
    uint32_t request_bytes_max = 0;
    uint32_t response_bytes_max = 0;
    uint32_t response_bytes_cached_max = 0;
    uint32_t operations_max = 0;
    uint32_t requests_max = 0;
  };
  bool create_session(Session& session);
  bool setclientid(uint64_t& clientid, uint64_t& confirm);
  bool open_confirm(Stateid& stateid);
  bool bind_conn_to_session();

  // For a test of the caller's own: the reply is not what it should be.
  bool fail(NfsStatus status, Op op);

 private:
  bool next(Op op);
  bool done();  // the body was read: well formed?
  void get_stateid(Stateid& stateid);
  void get_delegation();
  void get_change_info(ChangeInfo& info);
  uint64_t get_bitmap();
  void get_attributes(Attributes& attributes);
  template <size_t n>
  void get_array(std::array<std::byte, n>& to);

  wire::XdrDecoder decoder_;
  uint32_t left_ = 0;
  uint32_t segments_left_ = 0;
  uint32_t open_flags_ = 0;
  Delegation delegation_ = Delegation::none;
  Stateid delegation_stateid_;
  Op op_ = Op::SEQUENCE;
  Op error_op_ = Op::SEQUENCE;
  NfsStatus error_ = NfsStatus::malformed;
};

// The RPC header of a reply: its transaction id, and the results if the call was accepted and executed.
// Nothing for `results` if it was refused; nothing at all if it is no reply.
struct RpcReply {
  uint32_t xid = 0;
  std::optional<Bytes> results;
};
std::optional<RpcReply> parse_rpc_reply(Bytes message);

}  // namespace perdure::bench
