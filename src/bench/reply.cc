#include "bench/reply.h"

namespace perdure::bench {
namespace {

constexpr uint32_t tag_bytes_max = 1024;
constexpr uint32_t bitmap_words_max = 8;
constexpr uint32_t attributes_bytes_max = 1 << 16;
constexpr uint32_t io_bytes_max = 1 << 26;
constexpr uint32_t name_bytes_max = 4096;
constexpr uint32_t xattrs_max = 1 << 16;

// Bytes of a fixed-size attribute; 0 for those of variable size.
size_t attribute_bytes(uint64_t bit) {
  switch (bit) {
    case attr::TYPE:
    case attr::MODE:
    case attr::NUMLINKS:
      return 4;
    case attr::CHANGE:
    case attr::SIZE:
    case attr::FILEID:
    case attr::RAWDEV:
    case attr::SPACE_AVAIL:
    case attr::SPACE_FREE:
    case attr::SPACE_USED:
    case attr::MOUNTED_ON_FILEID:
      return 8;
    case attr::TIME_ACCESS:
    case attr::TIME_METADATA:
    case attr::TIME_MODIFY:
      return 12;
    case attr::FSID:
      return 16;
    default:
      return 0;
  }
}

}  // namespace

Reply::Reply(Bytes results) : decoder_(results) {
  const auto status = static_cast<NfsStatus>(decoder_.get_u32());
  decoder_.get_opaque(tag_bytes_max);
  left_ = decoder_.get_count(1024, 8);
  if (!decoder_.ok()) return;
  // An error without a result: the COMPOUND as a whole was refused.
  error_ = left_ == 0 ? status : NfsStatus::NFS4_OK;
}

bool Reply::next(Op op) {
  if (failed()) return false;
  op_ = op;
  if (left_ == 0) return fail(NfsStatus::malformed, op);
  --left_;
  const uint32_t number = decoder_.get_u32();
  const auto status = static_cast<NfsStatus>(decoder_.get_u32());
  if (!decoder_.ok() || number != static_cast<uint32_t>(op)) return fail(NfsStatus::malformed, op);
  if (status != NfsStatus::NFS4_OK) return fail(status, op);
  return true;
}

bool Reply::fail(NfsStatus status, Op op) {
  error_ = status;
  error_op_ = op;
  return false;
}

bool Reply::done() {
  return decoder_.ok() || fail(NfsStatus::malformed, op_);
}

bool Reply::getfh(FileHandle& fh) {
  if (!next(Op::GETFH)) return false;
  const Bytes b = decoder_.get_opaque(filehandle_bytes_max);
  fh.size = static_cast<uint32_t>(b.size());
  if (!b.empty()) std::memcpy(fh.data.data(), b.data(), b.size());
  return done();
}

bool Reply::getattr(Attributes& attributes) {
  if (!next(Op::GETATTR)) return false;
  get_attributes(attributes);
  return done();
}

bool Reply::access(uint32_t& supported, uint32_t& granted) {
  if (!next(Op::ACCESS)) return false;
  supported = decoder_.get_u32();
  granted = decoder_.get_u32();
  return done();
}

bool Reply::readlink(std::string_view& target) {
  if (!next(Op::READLINK)) return false;
  target = decoder_.get_string(name_bytes_max);
  return done();
}

bool Reply::create(ChangeInfo& directory) {
  if (!next(Op::CREATE)) return false;
  get_change_info(directory);
  get_bitmap();
  return done();
}

bool Reply::remove(ChangeInfo& directory) {
  if (!next(Op::REMOVE)) return false;
  get_change_info(directory);
  return done();
}

bool Reply::rename(ChangeInfo& source, ChangeInfo& target) {
  if (!next(Op::RENAME)) return false;
  get_change_info(source);
  get_change_info(target);
  return done();
}

bool Reply::link(ChangeInfo& directory) {
  if (!next(Op::LINK)) return false;
  get_change_info(directory);
  return done();
}

bool Reply::getxattr(Bytes& value) {
  if (!next(Op::GETXATTR)) return false;
  value = decoder_.get_opaque(io_bytes_max);
  return done();
}

bool Reply::setxattr(ChangeInfo& object) {
  if (!next(Op::SETXATTR)) return false;
  get_change_info(object);
  return done();
}

bool Reply::listxattrs(uint64_t& cookie, std::vector<std::string>& names, bool& eof) {
  if (!next(Op::LISTXATTRS)) return false;
  cookie = decoder_.get_u64();
  for (uint32_t n = decoder_.get_count(xattrs_max, 4); n > 0; --n)
    names.emplace_back(decoder_.get_string(name_bytes_max));
  eof = decoder_.get_bool();
  return done();
}

bool Reply::removexattr(ChangeInfo& object) {
  if (!next(Op::REMOVEXATTR)) return false;
  get_change_info(object);
  return done();
}

// SETATTR alone has a body after an error as well (the attributes that were set); nothing follows an error.
bool Reply::setattr() {
  if (!next(Op::SETATTR)) return false;
  get_bitmap();
  return done();
}

bool Reply::open(Stateid& stateid, ChangeInfo& directory) {
  if (!next(Op::OPEN)) return false;
  get_stateid(stateid);
  get_change_info(directory);
  open_flags_ = decoder_.get_u32();
  get_bitmap();
  get_delegation();
  return done();
}

// open_delegation4
void Reply::get_delegation() {
  constexpr uint32_t none = 0, read = 1, write = 2, none_ext = 3;
  delegation_ = Delegation::none;
  const uint32_t type = decoder_.get_u32();
  if (type == none_ext) {  // why; two of the reasons carry a flag
    const uint32_t why = decoder_.get_u32();
    if (why == 1 || why == 2) decoder_.get_bool();
  } else if (type == read || type == write) {
    delegation_ = type == write ? Delegation::write : Delegation::read;
    get_stateid(delegation_stateid_);
    decoder_.get_bool();                               // recalled already
    if (type == write) decoder_.get_opaque_fixed(12);  // limit of space
    decoder_.get_opaque_fixed(12);                     // an ACE
    decoder_.get_string(1024);
  } else if (type != none) {
    decoder_.fail();
  }
}

bool Reply::open_downgrade(Stateid& stateid) {
  if (!next(Op::OPEN_DOWNGRADE)) return false;
  get_stateid(stateid);
  return done();
}

bool Reply::close() {
  if (!next(Op::CLOSE)) return false;
  Stateid ignored;
  get_stateid(ignored);
  return done();
}

bool Reply::read(Bytes& data, bool& eof) {
  if (!next(Op::READ)) return false;
  eof = decoder_.get_bool();
  data = decoder_.get_opaque(io_bytes_max);
  return done();
}

bool Reply::write(uint32_t& count, StableHow& stable, Verifier& verifier) {
  if (!next(Op::WRITE)) return false;
  count = decoder_.get_u32();
  stable = static_cast<StableHow>(decoder_.get_u32());
  get_array(verifier);
  return done();
}

bool Reply::commit(Verifier& verifier) {
  if (!next(Op::COMMIT)) return false;
  get_array(verifier);
  return done();
}

bool Reply::seek(uint64_t& offset, bool& eof) {
  if (!next(Op::SEEK)) return false;
  eof = decoder_.get_bool();
  offset = decoder_.get_u64();
  return done();
}

bool Reply::copy(uint64_t& count, StableHow& stable, Verifier& verifier, std::optional<Stateid>& copy) {
  if (!next(Op::COPY)) return false;
  copy.reset();
  if (decoder_.get_count(1, 16) != 0) get_stateid(copy.emplace());
  count = decoder_.get_u64();
  stable = static_cast<StableHow>(decoder_.get_u32());
  get_array(verifier);
  decoder_.get_bool();
  decoder_.get_bool();
  return done();
}

bool Reply::offload_status(uint64_t& count, std::optional<NfsStatus>& ended) {
  if (!next(Op::OFFLOAD_STATUS)) return false;
  count = decoder_.get_u64();
  ended.reset();
  if (decoder_.get_count(1, 4) != 0) ended = static_cast<NfsStatus>(decoder_.get_u32());
  return done();
}

bool Reply::read_plus(bool& eof) {
  if (!next(Op::READ_PLUS)) return false;
  eof = decoder_.get_bool();
  segments_left_ = decoder_.get_count(UINT32_MAX, 16);
  return done();
}

bool Reply::next_segment(Segment& segment) {
  if (segments_left_ == 0) return false;
  --segments_left_;
  const uint32_t kind = decoder_.get_u32();
  segment.offset = decoder_.get_u64();
  segment.hole = kind == 1;
  segment.data = segment.hole ? Bytes{} : decoder_.get_opaque(decoder_.remaining());
  segment.length = segment.hole ? decoder_.get_u64() : segment.data.size();
  if (kind > 1) return fail(NfsStatus::malformed, Op::READ_PLUS);
  return done();
}

bool Reply::lock(Stateid& stateid) {
  if (!next(Op::LOCK)) return false;
  get_stateid(stateid);
  return done();
}

bool Reply::locku(Stateid& stateid) {
  if (!next(Op::LOCKU)) return false;
  get_stateid(stateid);
  return done();
}

bool Reply::test_stateid(std::vector<NfsStatus>& statuses) {
  if (!next(Op::TEST_STATEID)) return false;
  statuses.clear();
  for (uint32_t count = decoder_.get_count(1024, 4); count > 0; --count)
    statuses.push_back(static_cast<NfsStatus>(decoder_.get_u32()));
  return done();
}

bool Reply::readdir(Verifier& verifier) {
  if (!next(Op::READDIR)) return false;
  get_array(verifier);
  return done();
}

bool Reply::next_entry(Entry& entry, bool& eof) {
  if (failed()) return false;
  if (!decoder_.get_bool()) {
    eof = decoder_.get_bool();
    done();
    return false;
  }
  entry.cookie = decoder_.get_u64();
  entry.name = decoder_.get_string(name_bytes_max);
  get_attributes(entry.attributes);
  return done();
}

bool Reply::sequence(Sequence& sequence) {
  if (!next(Op::SEQUENCE)) return false;
  get_array(sequence.session);
  sequence.seqid = decoder_.get_u32();
  sequence.slot = decoder_.get_u32();
  sequence.highest_slot = decoder_.get_u32();
  sequence.target_highest_slot = decoder_.get_u32();
  sequence.status_flags = decoder_.get_u32();
  return done();
}

// The server's implementation follows; nobody here needs it, and the result is the COMPOUND's last.
bool Reply::exchange_id(uint64_t& clientid, uint32_t& sequence, uint32_t& flags, ServerOwner* owner) {
  if (!next(Op::EXCHANGE_ID)) return false;
  clientid = decoder_.get_u64();
  sequence = decoder_.get_u32();
  flags = decoder_.get_u32();
  if (owner == nullptr) return done();
  decoder_.get_u32();  // SP4_NONE
  owner->minor = decoder_.get_u64();
  owner->major = decoder_.get_string(1024);  // NFS4_OPAQUE_LIMIT
  owner->scope = decoder_.get_string(1024);
  return done();
}

bool Reply::setclientid(uint64_t& clientid, uint64_t& confirm) {
  if (!next(Op::SETCLIENTID)) return false;
  clientid = decoder_.get_u64();
  confirm = decoder_.get_u64();
  return done();
}

bool Reply::open_confirm(Stateid& stateid) {
  if (!next(Op::OPEN_CONFIRM)) return false;
  get_stateid(stateid);
  return done();
}

bool Reply::create_session(Session& session) {
  if (!next(Op::CREATE_SESSION)) return false;
  get_array(session.id);
  decoder_.get_u32();  // sequence
  session.flags = decoder_.get_u32();
  decoder_.get_u32();  // header padding
  session.request_bytes_max = decoder_.get_u32();
  session.response_bytes_max = decoder_.get_u32();
  session.response_bytes_cached_max = decoder_.get_u32();
  session.operations_max = decoder_.get_u32();
  session.requests_max = decoder_.get_u32();
  return done();
}

bool Reply::bind_conn_to_session() {
  if (!next(Op::BIND_CONN_TO_SESSION)) return false;
  SessionId ignored;
  get_array(ignored);
  decoder_.get_u32();
  decoder_.get_bool();
  return done();
}

void Reply::get_stateid(Stateid& stateid) {
  stateid.seqid = decoder_.get_u32();
  get_array(stateid.other);
}

void Reply::get_change_info(ChangeInfo& info) {
  info.atomic = decoder_.get_bool();
  info.before = decoder_.get_u64();
  info.after = decoder_.get_u64();
}

uint64_t Reply::get_bitmap() {
  const uint32_t words = decoder_.get_count(bitmap_words_max, 4);
  uint64_t bits = 0;
  for (uint32_t i = 0; i < words; ++i) {
    const uint64_t word = decoder_.get_u32();
    if (i < 2)
      bits |= word << (32 * i);
    else if (word != 0)
      decoder_.fail();  // attributes that nobody asked for
  }
  return bits;
}

namespace {

void get_acl(wire::XdrDecoder& in, std::vector<Ace>& acl) {
  constexpr uint32_t entries_max = 4096;
  acl.resize(in.get_count(entries_max, 16));
  for (Ace& ace : acl) {
    ace.type = in.get_u32(), ace.flags = in.get_u32(), ace.mask = in.get_u32();
    ace.who = std::string(in.get_string(name_bytes_max));
  }
}

}  // namespace

void Reply::get_attributes(Attributes& attributes) {
  attributes = {};
  attributes.present = get_bitmap();
  wire::XdrDecoder values(decoder_.get_opaque(attributes_bytes_max));
  for (uint64_t rest = attributes.present; rest != 0; rest &= rest - 1) {
    const uint64_t bit = rest & -rest;
    if (bit == attr::TYPE)
      attributes.type = static_cast<FileType>(values.get_u32());
    else if (bit == attr::CHANGE)
      attributes.change = values.get_u64();
    else if (bit == attr::SIZE)
      attributes.size = values.get_u64();
    else if (bit == attr::FILEID)
      attributes.fileid = values.get_u64();
    else if (bit == attr::MODE)
      attributes.mode = values.get_u32();
    else if (bit == attr::NUMLINKS)
      attributes.numlinks = values.get_u32();
    else if (bit == attr::SPACE_AVAIL)
      attributes.space_avail = values.get_u64();
    else if (bit == attr::SPACE_USED)
      attributes.space_used = values.get_u64();
    else if (bit == attr::ACL)
      get_acl(values, attributes.acl);
    else if (bit == attr::OWNER || bit == attr::OWNER_GROUP || bit == attr::FILEHANDLE)
      values.get_opaque(name_bytes_max);
    else if (const size_t n = attribute_bytes(bit); n != 0)
      values.get_opaque_fixed(n);
    else
      values.fail();
  }
  if (!values.finished()) decoder_.fail();
}

template <size_t n>
void Reply::get_array(std::array<std::byte, n>& to) {
  const Bytes b = decoder_.get_opaque_fixed(n);
  if (b.size() == n)
    std::memcpy(to.data(), b.data(), n);
  else
    to.fill(std::byte{0});
}

std::optional<RpcReply> parse_rpc_reply(Bytes message) {
  wire::XdrDecoder d(message);
  RpcReply reply;
  reply.xid = d.get_u32();
  const uint32_t type = d.get_u32();
  const uint32_t denied = d.get_u32();
  if (!d.ok() || type != 1 || denied > 1) return std::nullopt;
  if (denied == 1) return reply;
  d.get_u32();  // verifier
  d.get_opaque(400);
  const uint32_t accept_status = d.get_u32();
  if (!d.ok()) return std::nullopt;
  if (accept_status == 0) reply.results = d.rest();
  return reply;
}

}  // namespace perdure::bench
