#include "conformance/ops.h"

namespace perdure::conformance {

Stateid special_stateid(uint32_t seqid, int other_byte) {
  wire::XdrEncoder out;
  out.put_u32(seqid);
  out.put_opaque_fixed(ByteVector(12, static_cast<std::byte>(other_byte)));
  return out.flatten();
}

Stateid with_seqid(Stateid stateid, uint32_t seqid) {
  wire::XdrEncoder out;
  out.put_u32(seqid);
  const ByteVector head = out.flatten();
  std::memcpy(stateid.data(), head.data(), head.size());
  return stateid;
}

uint32_t seqid_of(const Stateid& stateid) {
  return wire::XdrDecoder(stateid).get_u32();
}

Fattr& Fattr::u32(Attribute a, uint32_t v) {
  wire::XdrEncoder out;
  out.put_u32(v);
  return raw(a, out.flatten());
}

Fattr& Fattr::u64(Attribute a, uint64_t v) {
  wire::XdrEncoder out;
  out.put_u64(v);
  return raw(a, out.flatten());
}

Fattr& Fattr::text(Attribute a, std::string_view v) {
  wire::XdrEncoder out;
  out.put_string(v);
  return raw(a, out.flatten());
}

Fattr& Fattr::raw(Attribute a, Bytes v) {
  values_[static_cast<uint32_t>(a)].assign(v.begin(), v.end());
  return *this;
}

Fattr& Fattr::client_time(Attribute a, int64_t seconds, uint32_t ns) {
  wire::XdrEncoder out;
  out.put_u32(1);
  out.put_i64(seconds);
  out.put_u32(ns);
  return raw(a, out.flatten());
}

Fattr& Fattr::mode_umask(uint32_t mode_bits, uint32_t umask) {
  wire::XdrEncoder out;
  out.put_u32(mode_bits);
  out.put_u32(umask);
  return raw(Attribute::mode_umask, out.flatten());
}

namespace {
void put_words(wire::XdrEncoder& out, const std::vector<uint32_t>& attributes) {
  std::vector<uint32_t> words;
  for (const uint32_t a : attributes) {
    if (words.size() <= a / 32) words.resize(a / 32 + 1);
    words[a / 32] |= 1U << (a % 32);
  }
  out.put_u32(static_cast<uint32_t>(words.size()));
  for (const uint32_t word : words) out.put_u32(word);
}
}  // namespace

void Fattr::put(wire::XdrEncoder& out) const {
  std::vector<uint32_t> attributes;
  wire::XdrEncoder values;
  for (const auto& [attribute, value] : values_) {
    attributes.push_back(attribute);
    values.put_raw(value);
  }
  put_words(out, attributes);
  out.put_opaque(values.flatten());
}

Ops& Ops::operator=(const Ops& other) {
  if (this == &other) return *this;
  minor_version_ = other.minor_version_;
  operations_ = other.operations_;
  tag_ = other.tag_;
  CHECK(args_.size() == 0);
  args_.put_raw(other.args_.flatten());
  return *this;
}

Ops& Ops::op(Opnum4 number) {
  ++operations_;
  return u32(static_cast<uint32_t>(number));
}

Ops& Ops::bitmap(std::initializer_list<Attribute> attributes) {
  std::vector<uint32_t> numbers;
  for (const Attribute a : attributes) numbers.push_back(static_cast<uint32_t>(a));
  put_words(args_, numbers);
  return *this;
}

Ops& Ops::sequence(Bytes session, uint32_t seqid, uint32_t slot, uint32_t highest, bool cache_this) {
  return op(OP_SEQUENCE).fixed(session).u32(seqid).u32(slot).u32(highest).u32(cache_this ? 1 : 0);
}

Ops& Ops::open(const OpenCall& call) {
  op(OP_OPEN).u32(call.seqid).u32(call.access).u32(call.deny).u64(call.client).text(call.owner);
  u32(call.how == How::no_create ? 0 : 1);
  if (call.how != How::no_create) {
    u32(static_cast<uint32_t>(call.how));
    if (call.how == How::exclusive || call.how == How::exclusive_41) u64(call.verifier);
    if (call.how != How::exclusive) fattr(call.attributes);
  }
  u32(call.claim);
  if (call.claim == 0 || call.claim == 3) text(call.name);  // CLAIM_NULL, CLAIM_DELEGATE_PREV
  if (call.claim == 1) u32(0);                              // CLAIM_PREVIOUS: no delegation
  return *this;
}

Ops& Ops::lock_new(uint32_t kind, uint64_t offset, uint64_t length, const Stateid& open,
                   std::string_view owner, bool reclaim) {
  op(OP_LOCK).u32(kind).u32(reclaim ? 1 : 0).u64(offset).u64(length);
  return u32(1).u32(0).fixed(open).u32(0).u64(0).text(owner);
}

Ops& Ops::lock(uint32_t kind, uint64_t offset, uint64_t length, const Stateid& stateid) {
  return op(OP_LOCK).u32(kind).u32(0).u64(offset).u64(length).u32(0).fixed(stateid).u32(0);
}

Ops& Ops::test_stateids(const std::vector<Stateid>& stateids) {
  op(OP_TEST_STATEID).u32(static_cast<uint32_t>(stateids.size()));
  for (const Stateid& stateid : stateids) fixed(stateid);
  return *this;
}

ByteVector Ops::finish() const {
  wire::XdrEncoder all;
  all.put_string(tag_);
  all.put_u32(minor_version_);
  all.put_u32(operations_);
  all.put_raw(args_.flatten());
  return all.flatten();
}

}  // namespace perdure::conformance
