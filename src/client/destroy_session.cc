#include "client/destroy_session.h"

namespace perdure::client {

Outcome<void> destroy_session(ClientState& cs, Run& run, const SessionId& id) {
  const auto [number, row] = TRY(cs.find_session(run, id));
  for (const SlotTwin& slot : cs.session_twin(number)->slots)
    if (slot.in_flight != TransactionId(0) && slot.in_flight != run.transaction()) return Status::delay;
  const ClientId client = row->client;
  SlotRow::Key from{number, 0};
  const SlotRow::Key last{number, UINT32_MAX};
  for (auto found = TRY(cs.slots.first(run, from, last)); found;
       found = TRY(cs.slots.next(run, from, last))) {
    from = found.key;
    cs.slots.erase(run, from);
  }
  cs.erase_session(run, number, client);
  cs.drop_session(run, number, client);
  return {};
}

}  // namespace perdure::client
