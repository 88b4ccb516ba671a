#include "nfs4/data_place.h"

#include "base/ids.h"
#include "nfs4/types.h"
#include "wire/rpc.h"

namespace perdure::nfs4 {

namespace {

constexpr uint32_t operations_looked_at = 4;

void skip(wire::XdrDecoder& in, size_t bytes) {
  in.get_opaque_fixed(bytes);
}

// Up to the arguments of WRITE; what does not decode fails.
void skip_operation(wire::XdrDecoder& in, Opnum4 operation) {
  switch (operation) {
    case Opnum4::OP_SEQUENCE:
      return skip(in, 16 + 4 * 4);
    case Opnum4::OP_PUTFH:
      in.get_opaque(128);
      return;
    default:
      return in.fail();
  }
}

}  // namespace

std::optional<wire::DataPlace> find_write_data(Bytes beginning) {
  const auto call = wire::parse_call(beginning);
  if (!call || call->program != nfs4_program || call->version != 4 || call->procedure != 1) return {};
  const size_t header = beginning.size() - call->arguments.size();
  wire::XdrDecoder in(call->arguments);
  in.get_opaque(1024);  // tag
  skip(in, 4);          // minor version
  const uint32_t operations = std::min(in.get_u32(), operations_looked_at);
  for (uint32_t i = 0; i < operations && in.ok(); ++i) {
    const auto operation = static_cast<Opnum4>(in.get_u32());
    if (operation != Opnum4::OP_WRITE) {
      skip_operation(in, operation);
      continue;
    }
    skip(in, 16);  // stateid
    const uint64_t offset = in.get_u64();
    skip(in, 4 + 4);  // stable_how4, and the length of the data
    if (!in.ok()) return {};
    return wire::DataPlace{header + in.position(), offset % block_bytes};
  }
  return {};
}

}  // namespace perdure::nfs4
