// The machine of a COMPOUND as the log and the `transactions` table have it: the registers, then the call and
// the reply so far (docs/formats/rows.md). Any bytes are safe to decode.
#pragma once

#include <optional>
#include <string>

#include "nfs4/compound.h"

namespace perdure::nfs4 {

struct CompoundMachine {
  Compound::Registers registers;
  uint32_t xid = 0;
  wire::Credential credential;
  wire::Address peer;
  Bytes arguments, reply;  // in what was decoded
};

void encode_machine(Encoder& out, const CompoundMachine& machine);
std::optional<CompoundMachine> decode_machine(Bytes bytes);
// The registers in words.
std::string describe(const CompoundMachine& machine);

}  // namespace perdure::nfs4
