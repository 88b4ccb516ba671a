// Builds the COMPOUNDs of the conformance set, operation after operation.
#pragma once

#include <initializer_list>
#include <map>
#include <string>
#include <vector>

#include "nfs4/attributes.h"
#include "nfs4/types.h"
#include "wire/xdr.h"

namespace perdure::conformance {

using nfs4::Attribute;
using nfs4::Nfsstat4;
using nfs4::Opnum4;
using enum nfs4::Nfsstat4;
using enum nfs4::Opnum4;

// stateid4: seqid and `other`, as it is on the wire.
using Stateid = ByteVector;
// RFC 8881 §8.2.3: all of `other` is this byte.
Stateid special_stateid(uint32_t seqid, int other_byte);
inline Stateid anonymous() {
  return special_stateid(0, 0);
}
inline Stateid read_bypass() {
  return special_stateid(UINT32_MAX, 0xff);
}
inline Stateid current_stateid() {
  return special_stateid(1, 0);
}
// The same state with another seqid.
Stateid with_seqid(Stateid stateid, uint32_t seqid);
uint32_t seqid_of(const Stateid& stateid);

// fattr4, in the order of the attributes' numbers however it is built.
class Fattr {
 public:
  Fattr& u32(Attribute a, uint32_t v);
  Fattr& u64(Attribute a, uint64_t v);
  Fattr& text(Attribute a, std::string_view v);
  Fattr& raw(Attribute a, Bytes v);
  Fattr& client_time(Attribute a, int64_t seconds, uint32_t ns);
  Fattr& server_time(Attribute a) { return u32(a, 0); }
  Fattr& mode_umask(uint32_t mode, uint32_t umask);
  void put(wire::XdrEncoder& out) const;

 private:
  std::map<uint32_t, ByteVector> values_;
};
inline Fattr mode(uint32_t bits) {
  return Fattr().u32(Attribute::mode, bits);
}
inline Fattr file_size(uint64_t bytes) {
  return Fattr().u64(Attribute::size, bytes);
}

// createhow4 and opentype4.
enum class How : uint8_t { unchecked = 0, guarded = 1, exclusive = 2, exclusive_41 = 3, no_create };

struct OpenCall {
  std::string name;  // CLAIM_NULL
  How how = How::no_create;
  uint32_t access = 3, deny = 0;
  std::string owner = "owner";
  Fattr attributes;
  uint64_t verifier = 0;
  uint32_t claim = 0;
  uint32_t seqid = 0;  // of its owner, and whose that is (NFSv4.0)
  uint64_t client = 0;
};

enum LockKind : uint8_t { read_lock = 1, write_lock = 2, read_lock_waiting = 3, write_lock_waiting = 4 };

// setxattr_option4
enum SetXattrHow : uint8_t { set_either = 0, set_create = 1, set_replace = 2 };

class Ops {
 public:
  explicit Ops(uint32_t minor_version = 2, std::string tag = "")
      : minor_version_(minor_version), tag_(std::move(tag)) {}
  Ops(const Ops& other) { *this = other; }
  Ops& operator=(const Ops& other);

  Ops& op(Opnum4 number);
  Ops& u32(uint32_t v) { return args_.put_u32(v), *this; }
  Ops& u64(uint64_t v) { return args_.put_u64(v), *this; }
  Ops& text(std::string_view v) { return args_.put_string(v), *this; }
  Ops& opaque(Bytes v) { return args_.put_opaque(v), *this; }
  Ops& fixed(Bytes v) { return args_.put_opaque_fixed(v), *this; }
  Ops& fattr(const Fattr& v) { return v.put(args_), *this; }
  Ops& bitmap(std::initializer_list<Attribute> attributes);

  Ops& sequence(Bytes session, uint32_t seqid, uint32_t slot, uint32_t highest, bool cache_this);
  Ops& root() { return op(OP_PUTROOTFH); }
  Ops& fh(Bytes handle) { return op(OP_PUTFH).opaque(handle); }
  Ops& getfh() { return op(OP_GETFH); }
  Ops& savefh() { return op(OP_SAVEFH); }
  Ops& restorefh() { return op(OP_RESTOREFH); }
  Ops& lookup(std::string_view name) { return op(OP_LOOKUP).text(name); }
  Ops& lookupp() { return op(OP_LOOKUPP); }
  Ops& secinfo(std::string_view name) { return op(OP_SECINFO).text(name); }
  Ops& secinfo_no_name(uint32_t style) { return op(OP_SECINFO_NO_NAME).u32(style); }

  // nfs_ftype4 of what has no arguments of its own.
  Ops& create(uint32_t type, std::string_view name, const Fattr& attributes = {}) {
    return op(OP_CREATE).u32(type).text(name).fattr(attributes);
  }
  Ops& mkdir(std::string_view name, const Fattr& attributes = {}) { return create(2, name, attributes); }
  Ops& symlink(std::string_view name, std::string_view target) {
    return op(OP_CREATE).u32(5).text(target).text(name).fattr({});
  }
  Ops& device(uint32_t type, std::string_view name, uint32_t major, uint32_t minor) {
    return op(OP_CREATE).u32(type).u32(major).u32(minor).text(name).fattr({});
  }
  Ops& remove(std::string_view name) { return op(OP_REMOVE).text(name); }
  Ops& rename(std::string_view from, std::string_view to) { return op(OP_RENAME).text(from).text(to); }
  Ops& link(std::string_view name) { return op(OP_LINK).text(name); }
  Ops& readlink() { return op(OP_READLINK); }

  Ops& getattr(std::initializer_list<Attribute> attributes) { return op(OP_GETATTR).bitmap(attributes); }
  Ops& setattr(const Fattr& attributes, const Stateid& stateid = anonymous()) {
    return op(OP_SETATTR).fixed(stateid).fattr(attributes);
  }
  Ops& verify(const Fattr& attributes) { return op(OP_VERIFY).fattr(attributes); }
  Ops& nverify(const Fattr& attributes) { return op(OP_NVERIFY).fattr(attributes); }
  Ops& access(uint32_t wanted) { return op(OP_ACCESS).u32(wanted); }
  Ops& readdir(uint64_t cookie, uint64_t verifier, uint32_t dircount, uint32_t maxcount,
               std::initializer_list<Attribute> attributes = {}) {
    return op(OP_READDIR).u64(cookie).u64(verifier).u32(dircount).u32(maxcount).bitmap(attributes);
  }

  Ops& open(const OpenCall& call);
  Ops& close(const Stateid& stateid) { return op(OP_CLOSE).u32(0).fixed(stateid); }
  Ops& downgrade(const Stateid& stateid, uint32_t access, uint32_t deny) {
    return op(OP_OPEN_DOWNGRADE).fixed(stateid).u32(0).u32(access).u32(deny);
  }
  Ops& read(const Stateid& stateid, uint64_t offset, uint32_t count) {
    return op(OP_READ).fixed(stateid).u64(offset).u32(count);
  }
  Ops& write(const Stateid& stateid, uint64_t offset, std::string_view data, uint32_t stable = 2) {
    return op(OP_WRITE).fixed(stateid).u64(offset).u32(stable).text(data);
  }
  Ops& commit(uint64_t offset, uint32_t count) { return op(OP_COMMIT).u64(offset).u32(count); }

  Ops& getxattr(std::string_view name) { return op(OP_GETXATTR).text(name); }
  Ops& setxattr(SetXattrHow how, std::string_view name, std::string_view value) {
    return op(OP_SETXATTR).u32(how).text(name).text(value);
  }
  Ops& listxattrs(uint64_t cookie, uint32_t maxcount) { return op(OP_LISTXATTRS).u64(cookie).u32(maxcount); }
  Ops& removexattr(std::string_view name) { return op(OP_REMOVEXATTR).text(name); }

  // By a lock-owner that is new to the file.
  Ops& lock_new(uint32_t kind, uint64_t offset, uint64_t length, const Stateid& open, std::string_view owner,
                bool reclaim = false);
  Ops& lock(uint32_t kind, uint64_t offset, uint64_t length, const Stateid& stateid);
  Ops& lockt(uint32_t kind, uint64_t offset, uint64_t length, std::string_view owner) {
    return op(OP_LOCKT).u32(kind).u64(offset).u64(length).u64(0).text(owner);
  }
  Ops& locku(uint32_t kind, uint64_t offset, uint64_t length, const Stateid& stateid) {
    return op(OP_LOCKU).u32(kind).u32(0).fixed(stateid).u64(offset).u64(length);
  }
  Ops& test_stateids(const std::vector<Stateid>& stateids);
  Ops& free_stateid(const Stateid& stateid) { return op(OP_FREE_STATEID).fixed(stateid); }

  ByteVector finish() const;

 private:
  uint32_t minor_version_ = 2, operations_ = 0;
  std::string tag_;
  wire::XdrEncoder args_;
};

}  // namespace perdure::conformance
