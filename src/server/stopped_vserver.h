// StoppedVserver: the tables of a stopped server as its next start would restore them, read from its files
// without changing anything (env/linux/read_only_env.h): the checkpoint, with the log behind it redone in
// memory. For `perdure check`.
//
// While it lives no server can start on the files. Rows of the checkpoint stay there until they are read.
#pragma once

#include <memory>

#include "client/client_state.h"
#include "env/linux/read_only_env.h"
#include "env/plain_file.h"
#include "fs/file_system.h"
#include "processor/transaction.h"
#include "server/config.h"
#include "store/kv_store.h"

namespace perdure::log {
class LogRing;
}

namespace perdure::server {

class StoppedVserver {
 public:
  // `busy`: a server runs on it. not_found: nothing was ever served from there.
  static Result<std::unique_ptr<StoppedVserver>> open(const Config& config);
  ~StoppedVserver();

  state::Database& database() { return *database_; }
  fs::FileSystem& fs() { return *fs_; }
  client::ClientState& clients() { return *clients_; }
  state::Table<processor::TransactionRow>& transactions() { return *transactions_; }
  uint64_t blocks() const { return blocks_->capacity(); }
  // Of file data.
  Result<void> read_blocks(BlockNo first, MutableBytes into) const;

  struct Figures {
    Lsn applied, end;      // redone: what lies between
    uint64_t records = 0;  // redone
  };
  const Figures& figures() const { return figures_; }

 private:
  explicit StoppedVserver(const Config& config) : config_(config) {}
  Result<void> open_files();
  Result<void> redo();
  Result<void> read_identity();
  Result<void> find_epoch();
  // Makes an asynchronous call and runs until it has completed.
  template <class T, class Call>
  Result<T> wait(Call call);

  const Config config_;
  env::ReadOnlyEnv env_;
  std::unique_ptr<store::KvStore> store_;
  std::unique_ptr<log::LogRing> ring_;  // null: durability level memory
  std::unique_ptr<store::BlockStore> blocks_;
  std::unique_ptr<env::PlainFile> data_;
  std::unique_ptr<state::Database> database_;
  std::unique_ptr<fs::FileSystem> fs_;
  std::unique_ptr<client::ClientState> clients_;
  std::unique_ptr<state::Table<processor::TransactionRow>> transactions_;
  std::unique_ptr<state::TableBase> vservers_, epochs_;
  Figures figures_;
};

}  // namespace perdure::server
