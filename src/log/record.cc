#include "log/record.h"

#include "base/crc32c.h"

namespace perdure::log {

namespace {

// The layout of docs/formats/record.md. Copied as a whole: little-endian, no padding.
struct HeaderFormat {
  uint32_t bytes;  // of the record, this header included
  uint32_t crc;    // CRC-32C of everything but this field
  uint64_t lsn;
  uint64_t epoch;
  uint64_t transaction;
  uint64_t client;
  int64_t time_ns;
  uint32_t steps;
  uint32_t zero;
};
static_assert(sizeof(HeaderFormat) == 56);

struct StepFormat {
  uint32_t bytes;  // of the step, this header included
  uint32_t changes;
  uint16_t operation;
  uint16_t step;
  uint32_t status;
  uint64_t current;
  uint64_t saved;
};
static_assert(sizeof(StepFormat) == 32);

struct ChangeFormat {
  uint8_t table;
  uint8_t kind;
  uint16_t key_bytes;
  uint32_t row_bytes;
};
static_assert(sizeof(ChangeFormat) == 8);
constexpr uint8_t kind_put = 0;
constexpr uint8_t kind_erase = 1;

uint32_t crc_of(Bytes record) {
  constexpr size_t crc_at = offsetof(HeaderFormat, crc);
  return crc32c(record.subspan(crc_at + sizeof(uint32_t)), crc32c(record.first(crc_at)));
}

template <class T>
void append(Encoder& out, const T& format) {
  std::memcpy(out.extend(sizeof format), &format, sizeof format);
}

// False at the end of the input.
template <class T>
bool take(Decoder& in, T& format) {
  const Bytes b = in.get_bytes(sizeof format);
  if (!in.ok()) return false;
  std::memcpy(&format, b.data(), sizeof format);
  return true;
}

// Walks over a record. `on_step(control, changes)` and `on_change(change)` see each part once its bounds are
// known.
template <class OnStep, class OnChange>
Result<RecordHeader> walk(Bytes record, OnStep on_step, OnChange on_change) {
  HeaderFormat h;
  Decoder in(record);
  if (!take(in, h)) return error(ErrorKind::corrupt, "log record of {} bytes", record.size());
  auto bad = [&h](const char* what) {
    return error(ErrorKind::corrupt, "log record at LSN {}: {}", h.lsn, what);
  };
  if (h.bytes != record.size()) return bad("length differs");
  if (h.zero != 0) return bad("reserved field is not zero");
  for (uint32_t i = 0; i < h.steps; ++i) {
    StepFormat s;
    if (!take(in, s) || s.bytes < sizeof s) return bad("step header is cut off");
    Decoder step(in.get_bytes(s.bytes - sizeof s));
    if (!in.ok()) return bad("step is cut off");
    on_step(ControlValues{s.operation, s.step, s.status, InodeId(s.current), InodeId(s.saved)}, s.changes);
    for (uint32_t j = 0; j < s.changes; ++j) {
      ChangeFormat c;
      if (!take(step, c)) return bad("change header is cut off");
      if (c.kind > kind_erase || (c.kind == kind_erase && c.row_bytes != 0))
        return bad("unknown kind of change");
      const Bytes key = step.get_bytes(c.key_bytes);
      const Bytes row = step.get_bytes(c.row_bytes);
      if (!step.ok()) return bad("change is cut off");
      on_change(RowChange{c.table, c.kind == kind_erase, key, row});
    }
    if (!step.finished()) return bad("bytes behind a step's last change");
  }
  if (!in.finished()) return bad("bytes behind the last step");
  return RecordHeader{Lsn(h.lsn), Epoch(h.epoch), TransactionId(h.transaction), h.client, h.time_ns};
}

}  // namespace

void RecordBuilder::begin(TransactionId transaction, uint64_t client, int64_t time_ns) {
  out_.clear();
  step_at_ = change_at_ = row_at_ = 0;
  steps_ = step_changes_ = changes_ = 0;
  append(out_, HeaderFormat{.bytes = 0,
                            .crc = 0,
                            .lsn = 0,
                            .epoch = 0,
                            .transaction = transaction.value,
                            .client = client,
                            .time_ns = time_ns,
                            .steps = 0,
                            .zero = 0});
}

void RecordBuilder::set_client(uint64_t client) {
  out_.patch(offsetof(HeaderFormat, client), client);
}

void RecordBuilder::begin_step(const ControlValues& control) {
  end_step();
  step_at_ = out_.size();
  ++steps_;
  append(out_, StepFormat{.bytes = 0,
                          .changes = 0,
                          .operation = control.operation,
                          .step = control.step,
                          .status = control.status,
                          .current = control.current.value,
                          .saved = control.saved.value});
}

void RecordBuilder::put(uint8_t table, Bytes key, Bytes row) {
  begin_put(table);
  out_.put_bytes(key);
  key_done();
  out_.put_bytes(row);
  put_done();
}

void RecordBuilder::erase(uint8_t table, Bytes key) {
  begin_put(table);
  out_.put_bytes(key);
  key_done();
  put_done();
  out_.patch(change_at_ + offsetof(ChangeFormat, kind), kind_erase);
}

void RecordBuilder::begin_put(uint8_t table) {
  CHECK(step_at_ != 0 && row_at_ == 0);
  change_at_ = out_.size();
  append(out_, ChangeFormat{.table = table, .kind = kind_put, .key_bytes = 0, .row_bytes = 0});
}

void RecordBuilder::key_done() {
  CHECK(change_at_ != 0 && row_at_ == 0);
  row_at_ = out_.size();
  const size_t key_bytes = row_at_ - change_at_ - sizeof(ChangeFormat);
  CHECK(key_bytes <= UINT16_MAX);
  out_.patch(change_at_ + offsetof(ChangeFormat, key_bytes), static_cast<uint16_t>(key_bytes));
}

void RecordBuilder::put_done() {
  CHECK(row_at_ != 0);
  const size_t row_bytes = out_.size() - row_at_;
  CHECK(row_bytes <= record_bytes_max);
  out_.patch(change_at_ + offsetof(ChangeFormat, row_bytes), static_cast<uint32_t>(row_bytes));
  row_at_ = 0;
  ++step_changes_;
  ++changes_;
}

void RecordBuilder::end_step() {
  CHECK(row_at_ == 0);
  if (step_at_ == 0) return;
  CHECK(out_.size() <= record_bytes_max);
  out_.patch(step_at_ + offsetof(StepFormat, bytes), static_cast<uint32_t>(out_.size() - step_at_));
  out_.patch(step_at_ + offsetof(StepFormat, changes), step_changes_);
  step_changes_ = 0;
  change_at_ = 0;
}

Bytes RecordBuilder::finish(Lsn lsn, Epoch epoch) {
  end_step();
  step_at_ = 0;
  out_.patch(offsetof(HeaderFormat, bytes), static_cast<uint32_t>(out_.size()));
  out_.patch(offsetof(HeaderFormat, lsn), lsn.value);
  out_.patch(offsetof(HeaderFormat, epoch), epoch.value);
  out_.patch(offsetof(HeaderFormat, steps), steps_);
  out_.patch(offsetof(HeaderFormat, crc), crc_of(out_.bytes()));
  return out_.bytes();
}

Result<RecordView> parse_record(Bytes record, Lsn expected_lsn) {
  HeaderFormat h;
  Decoder in(record);
  if (!take(in, h) || h.bytes != record.size() || record.size() > record_bytes_max)
    return error(ErrorKind::corrupt, "log record at LSN {}: length differs", expected_lsn);
  if (h.crc != crc_of(record))
    return error(ErrorKind::corrupt, "log record at LSN {}: checksum differs", expected_lsn);
  if (h.lsn != expected_lsn.value)
    return error(ErrorKind::corrupt, "log record at LSN {} says that it is the one at LSN {}", expected_lsn,
                 h.lsn);

  RecordView view;
  view.header = TRY(walk(
      record, [&view](const ControlValues& control, uint32_t) { view.steps.push_back({control, {}}); },
      [&view](const RowChange& change) { view.steps.back().changes.push_back(change); }));
  return view;
}

Result<RecordHeader> for_each_change(Bytes record, const std::function<void(const RowChange&)>& change) {
  return walk(record, [](const ControlValues&, uint32_t) {}, change);
}

Result<Bytes> first_record(Bytes bytes) {
  uint32_t n = 0;
  if (bytes.size() >= sizeof(HeaderFormat)) std::memcpy(&n, bytes.data(), sizeof n);
  if (n < sizeof(HeaderFormat) || n > bytes.size() || n > record_bytes_max)
    return error(ErrorKind::corrupt, "log record of {} bytes in a batch that has {} left", n, bytes.size());
  return bytes.first(n);
}

}  // namespace perdure::log
