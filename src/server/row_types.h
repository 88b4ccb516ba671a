// All kinds of rows that a vserver has, in one place.
#pragma once

#include "client/rows.h"
#include "fs/rows.h"
#include "processor/transaction.h"
#include "server/rows.h"

namespace perdure::server {

// F<each of them...>.
template <template <class...> class F>
using WithAllRows =
    F<fs::VolumeRow, fs::InodeRow, fs::DirentRow, fs::SymlinkRow, fs::XattrRow, fs::AclRow, fs::ExtentRow,
      fs::PageRow, fs::AllocationRow, fs::FreedRow, fs::BlockReferenceRow, client::ClientRow,
      client::ClientOwnerRow, client::SessionRow, client::SlotRow, client::OpenRow, client::LockStateRow,
      client::LockRow, client::DelegationRow, client::BackSlotRow, client::StateOwnerRow,
      client::ClosedOpenRow, processor::TransactionRow, VserverRow, EpochRow>;

}  // namespace perdure::server
