// RpcFront: between the connections and the RPC programs. Parses the header of each call, answers itself what
// is wrong on the level of RPC (RFC 5531 §9) and the NULL procedures, and hands everything else to its
// program. Replies to the server's own calls go to the callback sink. A message that is neither closes its
// connection.
//
// It knows no sockets: the simulator's network uses it as well.
#pragma once

#include <vector>

#include "server/front_end.h"
#include "wire/rpc_service.h"

namespace perdure::server {

class RpcFront final : public RequestHandler {
 public:
  // Procedures 0 ... procedures - 1 exist. The versions of a program may have handlers of their own: then
  // each is added. All of it before the first request comes.
  void add_program(uint32_t program, uint32_t version_min, uint32_t version_max, uint32_t procedures,
                   wire::RpcProgram& handler);
  void set_callback_sink(wire::CallbackSink& sink) { callback_sink_ = &sink; }
  // Where the answers go. Once.
  void attach(wire::Transport& transport) { transport_ = &transport; }

  void handle(wire::Request&& request) override;
  void closed(wire::ConnectionId connection) override;

 private:
  struct Program {
    uint32_t program;
    uint32_t version_min;
    uint32_t version_max;
    uint32_t procedures;
    wire::RpcProgram* handler;
  };

  void handle_call(wire::Request&& request);
  wire::Reply no_such_program(const wire::CallHeader& call) const;
  const Program* find(const wire::CallHeader& call) const;

  std::vector<Program> programs_;
  wire::CallbackSink* callback_sink_ = nullptr;
  wire::Transport* transport_ = nullptr;
};

}  // namespace perdure::server
