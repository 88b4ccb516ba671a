// Slots: exactly-once execution (RFC 8881 §2.10.6; DESIGN.md §5, §10 rule 14).
//
// A slot is a row (SlotRow) plus a volatile twin (SlotTwin). A request that changes anything moves both: its
// seqid, its reply and its effect are one record. One that changes nothing moves the twin alone. So after a
// restoration the twin starts as the row says, which may lag behind the client; then the slot accepts one
// jump forward.
//
//   sequence()                     the request is new: the slot is in flight
//   [ mark_in_progress() ]         it waits, and has changed something: the row says so
//   finish()                       with the end of the run the slot is free, and its reply cached
#pragma once

#include "client/stateid.h"

namespace perdure::client {

// The place of a request in flight: given by sequence(), kept in the machine of its transaction.
struct SlotHandle {
  SessionNumber session;  // 0: none
  uint32_t slot = 0, seqid = 0, checksum = 0;
  explicit operator bool() const { return session.value != 0; }
  template <class Self, class V>
  static void fields(Self& h, V&& v) {
    v("session", h.session), v("slot", h.slot), v("seqid", h.seqid), v("checksum", h.checksum);
  }
};

}  // namespace perdure::client
