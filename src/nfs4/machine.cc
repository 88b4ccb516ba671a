#include "nfs4/machine.h"

#include "state/codec.h"

namespace perdure::nfs4 {

namespace {

template <class Registers, class V>
void visit_registers(Registers& r, V&& v) {
  v("started", r.started), v("ended", r.ended), v("in_progress", r.in_progress),
      v("cache_this", r.cache_this);
  v("step", r.step), v("minor_version", r.minor_version), v("operation", r.operation);
  v("operations", r.operations), v("reply_bytes_max", r.reply_bytes_max), v("arguments_at", r.arguments_at);
  v("status", r.status), v("current", r.current), v("saved", r.saved);
  v("current_stateid", r.current_stateid), v("saved_stateid", r.saved_stateid);
  v("slot", r.slot), v("client", r.client);
}

template <size_t i = 0>
bool decode_own(Decoder& in, size_t index, OperationRegisters& own) {
  if constexpr (i == std::variant_size_v<OperationRegisters>) {
    return false;
  } else {
    if (index != i) return decode_own<i + 1>(in, index, own);
    own.emplace<i>();
    if constexpr (i != 0) state::codec::decode_value(in, std::get<i>(own));
    return in.ok();
  }
}

template <class F>
void visit_own(const OperationRegisters& own, F&& f) {
  std::visit(
      [&](const auto& registers) {
        if constexpr (!std::is_same_v<std::remove_cvref_t<decltype(registers)>, std::monostate>) f(registers);
      },
      own);
}

}  // namespace

void encode_machine(Encoder& out, const CompoundMachine& machine) {
  visit_registers(machine.registers, [&](const char*, const auto& field) { state::encode(out, field); });
  out.put(static_cast<uint8_t>(machine.registers.own.index()));
  visit_own(machine.registers.own, [&](const auto& own) { state::encode(out, own); });
  const wire::Credential& who = machine.credential;
  out.put(machine.xid);
  out.put(who.flavor);
  out.put(who.uid);
  out.put(who.gid);
  out.put(static_cast<uint32_t>(who.gids.size()));
  for (const uint32_t gid : who.gids) out.put(gid);
  out.put(machine.peer.is_v6);
  out.put_bytes(std::as_bytes(std::span(machine.peer.ip)));
  out.put_string(machine.arguments);
  out.put_string(machine.reply);
}

std::optional<CompoundMachine> decode_machine(Bytes bytes) {
  Decoder in(bytes);
  CompoundMachine machine;
  Compound::Registers& registers = machine.registers;
  visit_registers(registers, [&](const char*, auto& field) { state::codec::decode_value(in, field); });
  if (!decode_own(in, in.get<uint8_t>(), registers.own)) return std::nullopt;
  machine.xid = in.get<uint32_t>();
  machine.credential.flavor = in.get<wire::AuthFlavor>();
  machine.credential.uid = in.get<uint32_t>();
  machine.credential.gid = in.get<uint32_t>();
  const auto gids = in.get<uint32_t>();
  if (gids > wire::auth_sys_gids_max) return std::nullopt;
  for (uint32_t i = 0; i < gids; ++i) machine.credential.gids.push_back(in.get<uint32_t>());
  machine.peer.is_v6 = in.get<uint8_t>() != 0;
  const Bytes ip = in.get_bytes(machine.peer.ip.size());
  if (ip.size() != machine.peer.ip.size()) return std::nullopt;
  std::memcpy(machine.peer.ip.data(), ip.data(), ip.size());
  machine.arguments = in.get_string();
  machine.reply = in.get_string();
  if (!in.finished() || registers.arguments_at > machine.arguments.size()) return std::nullopt;
  return machine;
}

std::string describe(const CompoundMachine& machine) {
  const Compound::Registers& r = machine.registers;
  std::string out = fmt::format("operation {} of {}", r.operation + 1, r.operations);
  visit_registers(r, [&](const char* name, const auto& field) {
    const std::string_view known = name;
    if (known == "operation" || known == "operations" || known == "started" || known == "status") return;
    out += fmt::format(" {}=", name);
    if constexpr (state::HasFields<std::remove_cvref_t<decltype(field)>>) {
      out += '(';
      state::codec::describe_value(out, field);
      out += ')';
    } else {
      state::codec::describe_value(out, field);
    }
  });
  visit_own(r.own, [&](const auto& own) {
    out += " own=(";
    state::codec::describe_value(out, own);
    out += ')';
  });
  out += fmt::format(" xid={:x} uid={} gid={} arguments=<{} bytes> reply=<{} bytes>", machine.xid,
                     machine.credential.uid, machine.credential.gid, machine.arguments.size(),
                     machine.reply.size());
  return out;
}

}  // namespace perdure::nfs4
