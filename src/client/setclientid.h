// SETCLIENTID: RFC 7530 §16.33. SETCLIENTID_CONFIRM: §16.34. RENEW: §16.28.
#pragma once

#include <string_view>

#include "client/client_state.h"

namespace perdure::client {

struct SetclientidArgs {
  Bytes owner = {};  // nfs_client_id4.id
  uint64_t verifier = 0;
  std::string_view principal = {};  // who calls
  Bytes callback = {};              // how it is called back, as nfs4/ writes it
};

struct SetClientid {
  ClientId client;
  uint64_t confirm = 0;  // setclientid_confirm
};

//   client_in_use     another principal has this id, and state
//   delay             too many clients
//   invalid_argument  the id is empty
// An error changes nothing.
Outcome<SetClientid> setclientid(ClientState& cs, Run& run, const SetclientidArgs& args);

//   stale_client     there is nothing to confirm under these numbers
//   client_in_use    not the principal that made the record
Outcome<void> setclientid_confirm(ClientState& cs, Run& run, const SetClientid& named,
                                  std::string_view principal);

// The record of an NFSv4.0 client that is confirmed; its lease is renewed.
//   expired         it has been there
//   stale_client    it never was, as far as can be told
Outcome<const ClientRow*> find_client40(ClientState& cs, Run& run, ClientId client);

}  // namespace perdure::client
