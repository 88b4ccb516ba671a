#include "server/check.h"

#include <algorithm>

#include "client/expire.h"
#include "fs/reclaim.h"
#include "nfs4/async_copy.h"
#include "nfs4/lock_wait.h"
#include "nfs4/machine.h"
#include "nfs4/recall.h"
#include "server/operation_name.h"
#include "state/row_reader.h"

namespace perdure::server {

namespace {

// What the transactions in flight are at work on.
struct InFlight {
  uint64_t count = 0;
  client::CheckSurroundings clients;
  std::vector<InodeId> reclaims;
};

// False: the machine cannot be read.
bool take(InFlight& in_flight, TransactionId id, const processor::TransactionRow& row) {
  switch (row.kind) {
    case processor::Kind::compound: {
      const auto machine = nfs4::decode_machine(row.machine);
      if (machine && machine->registers.slot)
        in_flight.clients.slots.push_back({machine->registers.slot, id});
      return machine.has_value();
    }
    case processor::Kind::reclaim: {
      fs::ReclaimRegisters registers;
      if (!state::decode(row.machine, registers)) return false;
      in_flight.reclaims.push_back(registers.inode);
      return true;
    }
    case processor::Kind::expire_client: {
      client::ExpireRegisters registers;
      if (!state::decode(row.machine, registers)) return false;
      in_flight.clients.expiring.push_back(registers.client);
      return true;
    }
    case processor::Kind::recall: {
      nfs4::RecallRegisters registers;
      if (!state::decode(row.machine, registers)) return false;
      in_flight.clients.recalls.push_back({registers.inode, registers.number});
      return true;
    }
    case processor::Kind::lock_wait: {
      nfs4::LockWaitRegisters registers;
      return state::decode(row.machine, registers);
    }
    case processor::Kind::async_copy: {
      nfs4::AsyncCopyRegisters registers;
      return state::decode(row.machine, registers);
    }
    case processor::Kind::unlogged:
      return false;
  }
  return false;
}

Result<InFlight> check_transactions(const CheckArguments& arguments, state::Findings& findings) {
  InFlight in_flight;
  const auto damaged = [&](const std::string& what) { findings.add("{}", what); };
  state::RowReader<processor::TransactionRow> rows(arguments.transactions, damaged);
  while (TRY(rows.next())) {
    const TransactionId id = rows.key().transaction;
    ++in_flight.count;
    in_flight.clients.transactions.push_back(id);
    if (!take(in_flight, id, rows.row()))
      findings.add("transaction {:#x} ({}): its machine cannot be read, it could not go on", id.value,
                   operation_name(rows.row().control.operation));
    if (id.value >> transaction_counter_bits > arguments.fs.epoch().value)
      findings.add("transaction {:#x}: of a later start of the server", id.value);
  }
  std::ranges::sort(in_flight.reclaims);
  std::ranges::sort(in_flight.clients.expiring);
  std::ranges::sort(in_flight.clients.recalls);
  return in_flight;
}

}  // namespace

Result<CheckFigures> check(const CheckArguments& arguments, state::Findings& findings) {
  CheckFigures figures;
  const InFlight in_flight = TRY(check_transactions(arguments, findings));
  figures.transactions = in_flight.count;
  client::Checked clients = TRY(client::check(arguments.clients, in_flight.clients, findings));
  figures.clients = clients.figures;
  const fs::CheckSurroundings surroundings{.open = std::move(clients.open),
                                           .reclaims = in_flight.reclaims,
                                           .blocks = arguments.blocks,
                                           .read_blocks = arguments.read_blocks};
  figures.fs = TRY(fs::check(arguments.fs, surroundings, findings));
  return figures;
}

}  // namespace perdure::server
