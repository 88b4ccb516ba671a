#include "server/row_words.h"

#include <bit>
#include <charconv>
#include <chrono>

#include "client/expire.h"
#include "client/rows.h"
#include "fs/commit.h"
#include "fs/reclaim.h"
#include "fs/rows.h"
#include "fs/words.h"
#include "fs/write.h"
#include "nfs4/async_copy.h"
#include "nfs4/lock_wait.h"
#include "nfs4/machine.h"
#include "nfs4/recall.h"
#include "server/operation_name.h"
#include "server/row_types.h"

namespace perdure::server {

namespace {

// What a row says, where its fields alone are hard to read.
template <class Row>
std::string words(const Row& row) {
  return state::describe(row);
}

std::string words(const fs::InodeRow& row) {
  std::string out = fmt::format("{} mode={:04o} owner={}:{} links={} size={} blocks={} change={}.{}",
                                fs::type_name(row.type), row.mode, row.uid, row.gid, row.links, row.size,
                                row.blocks, row.change >> fs::change_counter_bits,
                                row.change & ((uint64_t{1} << fs::change_counter_bits) - 1));
  if (row.type == fs::FileType::directory) out += fmt::format(" parent={}", row.parent);
  if (row.type == fs::FileType::block_device || row.type == fs::FileType::character_device)
    out += fmt::format(" device={}:{}", row.device_major, row.device_minor);
  out += fmt::format(" mtime={} ctime={}", time_words(row.mtime_ns), time_words(row.ctime_ns));
  if (row.dropped())
    out += " (removed, being freed)";
  else if (row.cut_stamp != 0)
    out += fmt::format(" (cut off at block {}, being freed)", row.cut_from);
  return out;
}

std::string words(const fs::AclRow& row) {
  return fs::acl_words(row);
}

std::string words(const fs::AllocationRow& row) {
  size_t used = 0;
  for (const uint64_t word : row.used) used += static_cast<size_t>(std::popcount(word));
  return fmt::format("{} of {} blocks in use", used, fs::AllocationRow::group_blocks);
}

std::string words(const fs::DirentRow& row) {
  return fmt::format("'{}' is inode {}, a {}", fs::printable(row.entry_name), row.inode,
                     fs::type_name(row.type));
}

std::string words(const fs::XattrRow& row) {
  return fmt::format("'{}', {} bytes", fs::printable(row.xattr_name), row.value.size());
}

std::string words(const fs::ExtentRow& row) {
  return fmt::format("file blocks from {} on are {} blocks at {}", row.first_block, row.crcs.size(),
                     row.block);
}

std::string words(const client::ClientRow& row) {
  return fmt::format("owner '{}' principal {} implementation '{}' {}confirmed create_seqid={}",
                     fs::printable(text_of(row.owner)), fs::printable(row.principal),
                     fs::printable(row.implementation), row.confirmed ? "" : "not ", row.create_seqid);
}

std::string words(const client::SlotRow& row) {
  if (row.in_progress != TransactionId(0))
    return fmt::format("seqid={} answered by transaction {}, in flight", row.seqid,
                       transaction_name(row.in_progress));
  return fmt::format("seqid={} answered, reply of {} bytes", row.seqid, row.reply.size());
}

std::string words(const processor::TransactionRow& row) {
  return fmt::format("waits: {}; {}", step_words(row.control), machine_words(row));
}

struct TableWords {
  uint8_t table;
  const char* name;
  std::string (*describe)(Bytes key, std::optional<Bytes> row);
};

template <class Row>
constexpr TableWords words_of() {
  return {static_cast<uint8_t>(Row::table), Row::name, [](Bytes key_bytes, std::optional<Bytes> row_bytes) {
            typename Row::Key key;
            if (!state::decode_key(key_bytes, key)) return std::string("invalid key");
            std::string out = state::describe(key);
            if constexpr (std::is_same_v<Row, processor::TransactionRow>)
              out = transaction_name(key.transaction);
            if (!row_bytes) return out;
            Row row;
            return out + ": " + (state::decode(*row_bytes, row) ? words(row) : "invalid row");
          }};
}

template <class... Rows>
struct WordsOf {
  static constexpr TableWords tables[] = {words_of<Rows>()...};
};
constexpr auto& tables = WithAllRows<WordsOf>::tables;

const TableWords* find_table(uint8_t table) {
  for (const TableWords& words : tables)
    if (words.table == table) return &words;
  return nullptr;
}

const char* commit_step(uint16_t step) {
  switch (static_cast<fs::CommitStep>(step)) {
    case fs::CommitStep::start:
      return "start";
    case fs::CommitStep::placing:
      return "placing";
    case fs::CommitStep::placed:
      return "placed";
  }
  return "unknown";
}

const char* write_step(uint16_t step) {
  switch (static_cast<fs::WriteStep>(step)) {
    case fs::WriteStep::start:
      return "start";
    case fs::WriteStep::placed:
      return "placed";
  }
  return "unknown";
}

}  // namespace

std::string table_name(uint8_t table) {
  const TableWords* words = find_table(table);
  return words != nullptr ? words->name : fmt::format("table {}", table);
}

std::string describe_row(uint8_t table, Bytes key, std::optional<Bytes> row) {
  const TableWords* words = find_table(table);
  if (words == nullptr) return fmt::format("<{} bytes>", key.size() + (row ? row->size() : 0));
  return words->describe(key, row);
}

std::string client_name(const client::ClientRow& row) {
  std::string name = fs::printable(text_of(row.owner));
  if (!row.implementation.empty()) name += ", " + fs::printable(row.implementation);
  return name;
}

std::string transaction_name(TransactionId id) {
  return fmt::format("{}.{}", id.value >> transaction_counter_bits,
                     id.value & ((uint64_t{1} << transaction_counter_bits) - 1));
}

std::optional<TransactionId> parse_transaction(std::string_view text) {
  const auto number = [](std::string_view digits) -> std::optional<uint64_t> {
    const bool hex = digits.starts_with("0x");
    if (hex) digits.remove_prefix(2);
    uint64_t value = 0;
    const auto [end, problem] =
        std::from_chars(digits.data(), digits.data() + digits.size(), value, hex ? 16 : 10);
    if (problem != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
    return value;
  };
  const size_t dot = text.find('.');
  const auto first = number(text.substr(0, dot));
  if (!first || dot == text.npos) return first ? std::optional(TransactionId(*first)) : std::nullopt;
  const auto counter = number(text.substr(dot + 1));
  if (!counter || *counter >> transaction_counter_bits != 0 || *first >> (64 - transaction_counter_bits) != 0)
    return std::nullopt;
  return TransactionId(*first << transaction_counter_bits | *counter);
}

std::string step_words(const log::ControlValues& control) {
  std::string name = operation_name(control.operation);
  if (control.step == 0) return name;
  if (is_internal(control.operation)) return fmt::format("{}, run {}", name, control.step);
  if (control.operation == static_cast<uint16_t>(nfs4::Opnum4::OP_COMMIT))
    return fmt::format("{}, step {}", name, commit_step(control.step));
  if (control.operation == static_cast<uint16_t>(nfs4::Opnum4::OP_WRITE))
    return fmt::format("{}, step {}", name, write_step(control.step));
  return fmt::format("{}, step {}", name, control.step);
}

namespace {
constexpr const char* unreadable_machine = "its machine cannot be read";

template <class Registers>
std::string registers_words(Bytes machine) {
  Registers registers;
  return state::decode(machine, registers) ? state::describe(registers) : unreadable_machine;
}
}  // namespace

std::string machine_words(const processor::TransactionRow& row) {
  switch (row.kind) {
    case processor::Kind::compound: {
      const auto machine = nfs4::decode_machine(row.machine);
      return machine ? nfs4::describe(*machine) : unreadable_machine;
    }
    case processor::Kind::reclaim:
      return registers_words<fs::ReclaimRegisters>(row.machine);
    case processor::Kind::expire_client:
      return registers_words<client::ExpireRegisters>(row.machine);
    case processor::Kind::recall:
      return registers_words<nfs4::RecallRegisters>(row.machine);
    case processor::Kind::lock_wait:
      return registers_words<nfs4::LockWaitRegisters>(row.machine);
    case processor::Kind::async_copy:
      return registers_words<nfs4::AsyncCopyRegisters>(row.machine);
    case processor::Kind::unlogged:
      break;
  }
  return "a machine of an unknown kind";
}

std::string time_words(int64_t time_ns) {
  using namespace std::chrono;
  const sys_time<nanoseconds> time{nanoseconds(time_ns)};
  const auto day = floor<days>(time);
  const year_month_day date(day);
  const hh_mm_ss clock(floor<microseconds>(time - day));
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:06}", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     clock.hours().count(), clock.minutes().count(), clock.seconds().count(),
                     clock.subseconds().count());
}

}  // namespace perdure::server
