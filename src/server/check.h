// The consistency checker of a whole vserver: fs/check.h, client/check.h, and the transactions in flight
// between them.
//
// Runs on the tables of a vserver that is not executing anything: stopped (StoppedVserver), or restored and
// not yet serving. Blocks.
#pragma once

#include "client/check.h"
#include "fs/check.h"
#include "processor/transaction.h"

namespace perdure::server {

struct CheckArguments {
  fs::FileSystem& fs;
  client::ClientState& clients;
  state::Table<processor::TransactionRow>& transactions;
  uint64_t blocks = 0;  // BlockStore::capacity()
  // Left out: file data is not checked (fs::CheckSurroundings).
  std::function<Result<void>(BlockNo first, MutableBytes into)> read_blocks = {};
};

struct CheckFigures {
  fs::CheckFigures fs;
  client::CheckFigures clients;
  uint64_t transactions = 0;
};

// An error means that the rows cannot be read at all.
Result<CheckFigures> check(const CheckArguments& arguments, state::Findings& findings);

}  // namespace perdure::server
