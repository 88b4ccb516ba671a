#include "server/rpc_front.h"

#include <algorithm>
#include <utility>

namespace perdure::server {

using wire::AcceptStat;

void RpcFront::add_program(uint32_t program, uint32_t version_min, uint32_t version_max, uint32_t procedures,
                           wire::RpcProgram& handler) {
  CHECK(version_min <= version_max && procedures > 0);
  programs_.push_back({program, version_min, version_max, procedures, &handler});
}

void RpcFront::handle(wire::Request&& request) {
  switch (wire::message_type(request.message).value_or(wire::MessageType::REPLY)) {
    case wire::MessageType::CALL:
      return handle_call(std::move(request));
    case wire::MessageType::REPLY: {
      const std::optional<wire::ReplyHeader> reply = wire::parse_reply(request.message);
      if (!reply || callback_sink_ == nullptr) return transport_->close(request.connection);
      return callback_sink_->reply(request.connection, *reply);
    }
  }
}

void RpcFront::handle_call(wire::Request&& request) {
  auto call = wire::parse_call(request.message);
  if (!call) {
    if (call.error().kind == wire::CallError::Kind::not_a_call) return transport_->close(request.connection);
    return transport_->send(request.connection, wire::error_reply(call.error()));
  }
  const Program* program = find(*call);
  if (program == nullptr) return transport_->send(request.connection, no_such_program(*call));
  if (call->procedure >= program->procedures)
    return transport_->send(request.connection, wire::error_reply(call->xid, AcceptStat::PROC_UNAVAIL));
  if (call->procedure == 0) {
    wire::Reply reply;
    wire::begin_reply(reply, call->xid);
    return transport_->send(request.connection, std::move(reply));
  }
  program->handler->call({call->xid, call->program, call->version, call->procedure,
                          std::move(call->credential), call->arguments, request.message.size(),
                          std::move(request.chunk), std::move(request.ticket), request.connection,
                          request.peer});
}

const RpcFront::Program* RpcFront::find(const wire::CallHeader& call) const {
  for (const Program& p : programs_) {
    if (p.program == call.program && p.version_min <= call.version && call.version <= p.version_max)
      return &p;
  }
  return nullptr;
}

wire::Reply RpcFront::no_such_program(const wire::CallHeader& call) const {
  uint32_t low = UINT32_MAX;
  uint32_t high = 0;
  for (const Program& p : programs_) {
    if (p.program != call.program) continue;
    low = std::min(low, p.version_min);
    high = std::max(high, p.version_max);
  }
  if (low > high) return wire::error_reply(call.xid, AcceptStat::PROG_UNAVAIL);
  return wire::program_mismatch_reply(call.xid, low, high);
}

void RpcFront::closed(wire::ConnectionId connection) {
  // A handler that is registered twice is told once.
  for (size_t i = 0; i < programs_.size(); ++i) {
    const auto before = programs_.begin() + static_cast<ptrdiff_t>(i);
    const auto same = [&](const Program& p) { return p.handler == programs_[i].handler; };
    if (std::none_of(programs_.begin(), before, same)) programs_[i].handler->closed(connection);
  }
}

}  // namespace perdure::server
