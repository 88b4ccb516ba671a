// What an RPC program (NFSv4, NFSv3, MOUNT ...) implements to be called, and how replies to its own calls
// come back.
#pragma once

#include "wire/request.h"
#include "wire/rpc.h"

namespace perdure::wire {

// One call whose header and credential are in order. `arguments` lies in `chunk`. A call counts against its
// connection's limit of requests in flight until `ticket` is destroyed: keep it until the reply is sent, or
// is known never to be. A call that waits for other clients (and not just for a disk) copies what it needs
// and lets go of both.
struct RpcCall {
  uint32_t xid = 0;
  uint32_t program = 0;
  uint32_t version = 0;
  uint32_t procedure = 0;
  Credential credential;
  Bytes arguments;
  size_t message_bytes = 0;  // of all of it, header included
  ChunkRef chunk;
  Ticket ticket;
  ConnectionId connection;
  Address peer;
};

class RpcProgram {
 public:
  virtual ~RpcProgram() = default;
  // On the loop. The reply begins with begin_reply(reply, call.xid) and goes to Transport::send(), now or
  // later. It may be that none is ever sent: the client then repeats its call.
  virtual void call(RpcCall&& call) = 0;
  // The connection is gone; what is sent to it from now on is dropped. Not called from inside call() or
  // send().
  virtual void closed(ConnectionId connection) = 0;
};

// Gets the replies to calls that were sent to clients with Transport::send(). Nobody but the client vouches
// for the xid.
class CallbackSink {
 public:
  virtual ~CallbackSink() = default;
  virtual void reply(ConnectionId connection, const ReplyHeader& reply) = 0;
};

}  // namespace perdure::wire
