// LogView: the state machine log for people (and for programs: one JSON object per line). Takes the records
// in order and gives lines.
//
// Beside the records it tells where a server process began to write, which transactions were in flight when
// the one before had ended, and that they went on: batches carry the start number of their process, and the
// machines of transactions in flight are rows.
#pragma once

#include <absl/container/btree_map.h>

#include <functional>
#include <optional>
#include <string>

#include "client/stateid.h"
#include "log/log_follower.h"
#include "log/record.h"

namespace perdure::server {

struct LogFilter {
  std::optional<TransactionId> transaction;
  // A client id (0x... or decimal), or a part of a client's owner or implementation name. Empty: all.
  std::string client;
};

class LogView {
 public:
  using Show = std::function<void(const std::string& line)>;
  LogView(LogFilter filter, bool json, Show show);

  // A client that the log may not tell of, because it was there before.
  void know_client(client::ClientId client, std::string name);
  // Corrupt if the record is not one.
  Result<void> record(const log::LogFollower::Batch& batch, Bytes record, Lsn lsn);
  void lost(Lsn from, Lsn to);
  // There are no more records for now. `last_start`: as the ring's superblock says.
  void end(Lsn end, StartNumber last_start);

 private:
  struct InFlight {
    log::ControlValues control;
    uint64_t client = 0;
    bool goes_on = false;  // by a later process than the one that began it, and told so
  };
  void begin_start(StartNumber start, Lsn lsn);
  void learn(const log::RecordView& record);
  void follow(const log::RecordView& record);
  bool wanted(const log::RecordHeader& header) const;
  bool wanted(TransactionId transaction, uint64_t client) const;
  std::string client_words(const log::RecordView& record) const;
  std::string in_flight_words(const char* lead) const;
  void show_words(const log::LogFollower::Batch& batch, const log::RecordView& record, bool goes_on);
  void show_json(const log::LogFollower::Batch& batch, const log::RecordView& record, bool goes_on);
  void note(const char* event, const std::string& words, uint64_t value);

  const LogFilter filter_;
  const bool json_;
  const Show show_;
  std::optional<uint64_t> client_id_;  // of the filter, if it is a number
  std::optional<StartNumber> start_;   // of the last batch
  absl::btree_map<uint64_t, std::string> clients_;
  absl::btree_map<TransactionId, InFlight> in_flight_;  // as far as the records so far tell
};

}  // namespace perdure::server
