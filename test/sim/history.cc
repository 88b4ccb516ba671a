#include "sim/history.h"

#include <optional>

#include "log/record.h"
#include "log/ring_format.h"
#include "server/row_types.h"
#include "server/vserver.h"
#include "sim/world.h"
#include "state/row_reader.h"

namespace perdure::sim {

void History::written(uint64_t offset, Bytes bytes) {
  if (offset < log::area_begin) {
    const auto superblock = log::decode_superblock(bytes.first(log::sector_bytes));
    if (superblock && *superblock) salt_ = (*superblock)->salt;
    return;
  }
  if (bytes.size() < log::batch_header_bytes) return;
  if (!partial_.empty() && offset == log::area_begin) {
    partial_.insert(partial_.end(), bytes.begin(), bytes.end());
  } else {
    partial_.assign(bytes.begin(), bytes.end());
  }
  const auto header = log::decode_batch_header(partial_, salt_);
  if (!header) return partial_.clear();                // zeros, when the ring is made
  if (header->lsn < redone_) return partial_.clear();  // written again by a start
  if (partial_.size() < log::batch_bytes(header->payload_bytes)) return;
  batches_[header->lsn] = std::exchange(partial_, {});
}

void History::redo(Bytes batch) {
  const auto header = log::decode_batch_header(batch, salt_);
  CHECK(header);
  const Bytes payload = batch.subspan(log::batch_header_bytes, header->payload_bytes);
  const Result<void> redone =
      log::for_each_record(*header, payload, Lsn(0), [this](Bytes record, Lsn lsn) -> Result<void> {
        const log::RecordView view = TRY(log::parse_record(record, lsn));
        for (const log::StepView& step : view.steps) {
          for (const log::RowChange& change : step.changes) {
            ByteVector key{std::byte{change.table}};
            key.insert(key.end(), change.key.begin(), change.key.end());
            if (change.erased)
              rows_.erase(key);
            else
              rows_.insert_or_assign(std::move(key), ByteVector(change.row.begin(), change.row.end()));
          }
        }
        return {};
      });
  if (!redone) world_.fail("a batch that was written cannot be read: {}", redone.error().message);
}

namespace {

template <class Row>
void add_rows(state::Database& database, AllRows& rows) {
  state::TableBase* base = database.table(static_cast<uint8_t>(Row::table));
  CHECK(base != nullptr);
  state::RowReader<Row> reader(static_cast<state::Table<Row>&>(*base), [](const std::string&) {});
  for (;;) {
    const Result<bool> more = reader.next();
    if (!more || !*more) return;
    Encoder key;
    key.put(static_cast<uint8_t>(Row::table));
    state::encode_key(key, reader.key());
    Encoder row;
    state::encode(row, reader.row());
    rows.emplace(key.copy(), row.copy());
  }
}

template <class... Rows>
struct Collect {
  static void from(state::Database& database, AllRows& rows) { (add_rows<Rows>(database, rows), ...); }
};

}  // namespace

AllRows all_rows(state::Database& database) {
  AllRows rows;
  server::WithAllRows<Collect>::from(database, rows);
  return rows;
}

std::string first_difference(const AllRows& wanted, const AllRows& found, state::Database& database) {
  const auto differs = [&](const ByteVector& key, const char* how) {
    const state::TableBase* base = database.table(static_cast<uint8_t>(key[0]));
    return fmt::format("{} {}: {}", base != nullptr ? base->name() : "table of no name",
                       base != nullptr ? base->describe_row(Bytes(key).subspan(1), std::nullopt) : "", how);
  };
  for (const auto& [key, row] : wanted) {
    auto it = found.find(key);
    if (it == found.end()) return differs(key, "is missing");
    if (it->second != row) return differs(key, "is another");
  }
  for (const auto& [key, row] : found)
    if (!wanted.contains(key)) return differs(key, "is there");
  return {};
}

void History::compare(server::Vserver& vserver) {
  const Lsn end = vserver.ring()->position();
  for (const auto& [lsn, batch] : batches_)
    if (lsn < end) redo(batch);
  batches_.clear();
  partial_.clear();
  redone_ = end;
  state::Database& database = vserver.database();
  const AllRows restored = all_rows(database);
  const std::string difference = first_difference(rows_, restored, database);
  if (!difference.empty()) world_.fail("restored rows are not those that were logged: {}", difference);
}

}  // namespace perdure::sim
