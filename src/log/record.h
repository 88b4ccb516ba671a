// A record: one run in the state machine log. Its layout is docs/formats/record.md.
//
//   record = header, step*          step = control values, row change*
//
// A machine's data values are a row like any other. This directory knows bytes, not renames: table numbers,
// keys and rows are encoded by state/.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"

namespace perdure::log {

// What a step was, and where its transaction stood after it: the control values of DESIGN.md §1. Fixed size.
struct ControlValues {
  uint16_t operation = 0;  // processor/operation_names.h: NFSv4 operation number, or an internal operation
  uint16_t step = 0;       // the operation's own enum class Step; 0 for an operation of one step
  uint32_t status = 0;     // the operation's status on the wire; 0 while it goes on
  InodeId current;         // current and saved file handle, 0 if none
  InodeId saved;
};

struct RecordHeader {
  Lsn lsn;  // of its first byte
  Epoch epoch;
  TransactionId transaction;
  uint64_t client = 0;  // NFS client id, 0 for the server's own transactions
  int64_t time_ns = 0;  // the run's now(), nanoseconds since 1970
};

// Builds one record at a time; made to be used again. The order of calls is
// begin, (begin_step, (put | erase)*)*, finish. A key is at most 65535 bytes long.
class RecordBuilder {
 public:
  void begin(TransactionId transaction, uint64_t client, int64_t time_ns);
  // Whose run it is may become known in it: a COMPOUND's client by its SEQUENCE.
  void set_client(uint64_t client);
  void begin_step(const ControlValues& control);
  // A row's absolute new value. `table` is a state::TableId.
  void put(uint8_t table, Bytes key, Bytes row);
  void erase(uint8_t table, Bytes key);
  // The same without a copy: begin_put, write the key into encoder(), key_done, write the row, put_done.
  void begin_put(uint8_t table);
  void key_done();
  void put_done();
  Encoder& encoder() { return out_; }

  bool has_changes() const { return changes_ != 0; }
  uint32_t steps() const { return steps_; }
  // Completes the header. The result is valid until the next begin().
  Bytes finish(Lsn lsn, Epoch epoch);

 private:
  void end_step();
  Encoder out_;
  size_t step_at_ = 0;                 // 0: no step yet
  size_t change_at_ = 0, row_at_ = 0;  // 0: no change open / its key is not done
  uint32_t steps_ = 0, step_changes_ = 0, changes_ = 0;
};

struct RowChange {
  uint8_t table;
  bool erased;
  Bytes key, row;
};
struct StepView {
  ControlValues control;
  std::vector<RowChange> changes;
};
struct RecordView {
  RecordHeader header;
  std::vector<StepView> steps;
};

inline constexpr size_t record_bytes_max = 8U << 20U;

// Parses and checks one record (length, CRC, LSN, structure). Views into `record`. Corrupt if anything is
// off.
Result<RecordView> parse_record(Bytes record, Lsn expected_lsn);

// For redo: calls `change(const RowChange&)` for each change in order, without building vectors. Checks the
// structure but not the CRC: LogRing::read() has checked that of the whole batch. Any bytes are safe; if they
// are corrupt, some changes may have been given before that is found.
Result<RecordHeader> for_each_change(Bytes record, const std::function<void(const RowChange&)>& change);

// The record at the beginning of `bytes` (a batch's payload, or what is left of it), by its length field.
// Records start at multiples of record_alignment from each other. Corrupt if it does not fit.
inline constexpr size_t record_alignment = 8;
Result<Bytes> first_record(Bytes bytes);
constexpr size_t aligned_record_bytes(size_t n) {
  return (n + record_alignment - 1) / record_alignment * record_alignment;
}

}  // namespace perdure::log
