// EXCHANGE_ID: RFC 8881 §18.35.
#pragma once

#include <string_view>

#include "client/client_state.h"

namespace perdure::client {

struct ExchangeIdArgs {
  Bytes owner = {};                 // co_ownerid, 1 to 1024 bytes
  uint64_t verifier = 0;            // co_verifier
  std::string_view principal = {};  // who calls
  std::string_view implementation = {};
  bool update = false;  // EXCHGID4_FLAG_UPD_CONFIRMED_REC_A
};

struct ExchangedId {
  ClientId client = {};
  uint32_t create_seqid = 0;  // eir_sequenceid
  bool confirmed = false;     // EXCHGID4_FLAG_CONFIRMED_R
};

// State protection is SP4_NONE. Flags are the caller's affair.
//   client_in_use                          case 3 of §18.35.4 ¶7: the owner is another principal's
//   no_entry, not_same, not_permitted      cases 7, 8 and 9: there is nothing to update, or not for this
//   caller delay                                  too many clients
// An error changes nothing.
Outcome<ExchangedId> exchange_id(ClientState& cs, Run& run, const ExchangeIdArgs& args);

}  // namespace perdure::client
