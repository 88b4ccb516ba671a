// COMPOUND4res taken apart: an independent reading of the protocol's XDR, so that every reply that a test
// gets is known to be well-formed, also where the test does not look.
#pragma once

#include <string>
#include <vector>

#include "conformance/ops.h"

namespace perdure::conformance {

struct Reply {
  struct Result {
    Opnum4 operation{};
    Nfsstat4 status{};
    ByteVector body;  // what follows the status
  };
  Nfsstat4 status{};
  std::string tag;
  std::vector<Result> results;
  ByteVector bytes;
  std::string problem;  // empty: well-formed

  // The body of the last result of this operation; of no bytes if there is none.
  wire::XdrDecoder in(Opnum4 operation) const;
};

Reply parse_reply(ByteVector bytes);

Stateid stateid_of(const Reply& reply, Opnum4 operation);
ByteVector handle_of(const Reply& reply);  // GETFH's
// What READ has read.
struct ReadData {
  bool eof = false;
  std::string data;
};
ReadData data_of(const Reply& reply);
// The value of the one attribute that GETATTR was asked for; empty if it was not given.
ByteVector attribute_of(const Reply& reply);
uint32_t as_u32(Bytes value);
uint64_t as_u64(Bytes value);
std::string as_text(Bytes value);  // of an opaque or string

struct Listing {
  struct Entry {
    uint64_t cookie = 0;
    std::string name;
    ByteVector values;  // of its attributes
  };
  uint64_t verifier = 0;
  std::vector<Entry> entries;
  bool eof = false;
};
Listing listing_of(const Reply& reply);

}  // namespace perdure::conformance
