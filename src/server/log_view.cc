#include "server/log_view.h"

#include <nlohmann/json.hpp>

#include "client/rows.h"
#include "server/operation_name.h"
#include "server/row_words.h"

namespace perdure::server {

namespace {

constexpr auto transaction_table = static_cast<uint8_t>(state::TableId::transaction);
constexpr auto client_table = static_cast<uint8_t>(state::TableId::client);

std::optional<uint64_t> number_of(std::string_view text) {
  const auto id = parse_transaction(text);
  if (!id || text.find('.') != text.npos) return std::nullopt;
  return id->value;
}

// Whether a change of the record leaves its transaction in flight (true) or ends it (false).
std::optional<bool> continues(const log::RecordView& record) {
  std::optional<bool> result;
  for (const log::StepView& step : record.steps)
    for (const log::RowChange& change : step.changes) {
      processor::TransactionRow::Key key;
      if (change.table != transaction_table || !state::decode_key(change.key, key) ||
          key.transaction != record.header.transaction)
        continue;
      result = !change.erased;
    }
  return result;
}

std::string handles(const log::ControlValues& control) {
  std::string out;
  if (control.current != InodeId(0)) out += fmt::format("  current file handle: inode {}", control.current);
  if (control.saved != InodeId(0)) out += fmt::format("  saved: inode {}", control.saved);
  return out;
}

}  // namespace

LogView::LogView(LogFilter filter, bool json, Show show)
    : filter_(std::move(filter)),
      json_(json),
      show_(std::move(show)),
      client_id_(number_of(filter_.client)) {}

void LogView::know_client(client::ClientId client, std::string name) {
  clients_.try_emplace(client.value, std::move(name));
}

Result<void> LogView::record(const log::LogFollower::Batch& batch, Bytes bytes, Lsn lsn) {
  const log::RecordView record = TRY(log::parse_record(bytes, lsn));
  if (start_ != batch.start) begin_start(batch.start, lsn);
  learn(record);
  auto known = in_flight_.find(record.header.transaction);
  const bool goes_on = known != in_flight_.end() && std::exchange(known->second.goes_on, false);
  if (wanted(record.header)) {
    if (json_)
      show_json(batch, record, goes_on);
    else
      show_words(batch, record, goes_on);
  }
  follow(record);
  return {};
}

// The names of clients.
void LogView::learn(const log::RecordView& record) {
  for (const log::StepView& step : record.steps)
    for (const log::RowChange& change : step.changes) {
      client::ClientRow::Key key;
      client::ClientRow row;
      if (change.table == client_table && !change.erased && state::decode_key(change.key, key) &&
          state::decode(change.row, row))
        clients_[key.client.value] = client_name(row);
    }
}

// Who is in flight behind this record. A transaction's row is changed by its own records, but for one that is
// started by another one.
void LogView::follow(const log::RecordView& record) {
  for (const log::StepView& step : record.steps)
    for (const log::RowChange& change : step.changes) {
      processor::TransactionRow::Key key;
      processor::TransactionRow row;
      if (change.table != transaction_table || !state::decode_key(change.key, key)) continue;
      if (change.erased)
        in_flight_.erase(key.transaction);
      else if (state::decode(change.row, row))
        in_flight_[key.transaction] = {row.control, record.header.client, false};
    }
}

void LogView::begin_start(StartNumber start, Lsn lsn) {
  std::string words = fmt::format("==== server process {} writes from LSN {} on", start, lsn);
  if (start_) {
    words += in_flight_words("; in flight when the one before ended, and resumed by this one");
    for (auto& [id, transaction] : in_flight_) transaction.goes_on = true;
  }
  start_ = start;
  note("start", words, start.value);
}

std::string LogView::in_flight_words(const char* lead) const {
  std::string words;
  size_t count = 0;
  for (const auto& [id, transaction] : in_flight_) {
    if (!wanted(id, transaction.client)) continue;
    ++count;
    words +=
        fmt::format("\n       transaction {}: {}", transaction_name(id), step_words(transaction.control));
  }
  if (count == 0)
    return filter_.transaction || !filter_.client.empty() ? "" : "; no transaction was in flight";
  return fmt::format("{}: {}{}", lead, count, words);
}

void LogView::lost(Lsn from, Lsn to) {
  in_flight_.clear();
  note("lost", fmt::format("==== overtaken: the records from LSN {} to {} have been overwritten", from, to),
       from.value);
}

void LogView::end(Lsn end, StartNumber last_start) {
  std::string words = fmt::format("==== the log ends at LSN {}", end);
  words += in_flight_words("; in flight there");
  if (start_ && *start_ != last_start)
    words += fmt::format("\n     process {} was started since, and has written nothing", last_start);
  note("end", words, end.value);
}

void LogView::note(const char* event, const std::string& words, uint64_t value) {
  if (!json_) return show_(words);
  nlohmann::json j{{"event", event}, {"value", value}};
  nlohmann::json& all = j["in_flight"] = nlohmann::json::array();
  for (const auto& [id, transaction] : in_flight_)
    if (wanted(id, transaction.client)) all.push_back(transaction_name(id));
  show_(j.dump());
}

// ------------------------------------------------------------------------------------------------ filter

bool LogView::wanted(const log::RecordHeader& header) const {
  return wanted(header.transaction, header.client);
}

bool LogView::wanted(TransactionId transaction, uint64_t client) const {
  if (filter_.transaction && *filter_.transaction != transaction) return false;
  if (filter_.client.empty()) return true;
  if (client_id_) return client == *client_id_;
  auto it = clients_.find(client);
  return it != clients_.end() && it->second.find(filter_.client) != std::string::npos;
}

std::string LogView::client_words(const log::RecordView& record) const {
  const uint64_t client = record.header.client;
  if (client == 0)
    return !record.steps.empty() && is_internal(record.steps[0].control.operation) ? "the server itself"
                                                                                   : "no session yet";
  auto it = clients_.find(client);
  return it == clients_.end() ? fmt::format("client {:#x}", client)
                              : fmt::format("client {:#x} ({})", client, it->second);
}

// ------------------------------------------------------------------------------------------------ output

void LogView::show_words(const log::LogFollower::Batch& batch, const log::RecordView& record, bool goes_on) {
  const log::RecordHeader& h = record.header;
  const std::optional<bool> state = continues(record);
  std::string out = fmt::format("{}  epoch {}  {}  transaction {}  {}{}{}", h.lsn, batch.epoch,
                                time_words(h.time_ns), transaction_name(h.transaction), client_words(record),
                                goes_on ? "  GOES ON after the restart" : "",
                                !state   ? ""
                                : *state ? "  waits"
                                         : "  finished");
  for (const log::StepView& step : record.steps) {
    const log::ControlValues& c = step.control;
    out += fmt::format("\n    {}{}{}", step_words(c),
                       c.status == 0 ? "" : fmt::format("  status {}", c.status), handles(c));
    for (const log::RowChange& change : step.changes)
      out += fmt::format(
          "\n        {}{} {}", change.erased ? "erased " : "", table_name(change.table),
          describe_row(change.table, change.key, change.erased ? std::nullopt : std::optional(change.row)));
  }
  show_(out);
}

void LogView::show_json(const log::LogFollower::Batch& batch, const log::RecordView& record, bool goes_on) {
  const log::RecordHeader& h = record.header;
  nlohmann::json steps = nlohmann::json::array();
  for (const log::StepView& step : record.steps) {
    const log::ControlValues& c = step.control;
    nlohmann::json rows = nlohmann::json::array();
    for (const log::RowChange& change : step.changes)
      rows.push_back({{"table", table_name(change.table)},
                      {"erased", change.erased},
                      {"row", describe_row(change.table, change.key,
                                           change.erased ? std::nullopt : std::optional(change.row))}});
    steps.push_back({{"operation", operation_name(c.operation)},
                     {"step", c.step},
                     {"status", c.status},
                     {"current", c.current.value},
                     {"saved", c.saved.value},
                     {"rows", std::move(rows)}});
  }
  const std::optional<bool> state = continues(record);
  nlohmann::json j{{"lsn", h.lsn.value},
                   {"epoch", h.epoch.value},
                   {"start", batch.start.value},
                   {"time_ns", h.time_ns},
                   {"time", time_words(h.time_ns)},
                   {"transaction", transaction_name(h.transaction)},
                   {"client", fmt::format("{:#x}", h.client)},
                   {"waits", state.value_or(false)},
                   {"goes_on", goes_on},
                   {"steps", std::move(steps)}};
  if (auto it = clients_.find(h.client); it != clients_.end()) j["client_name"] = it->second;
  show_(j.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace));
}

}  // namespace perdure::server
