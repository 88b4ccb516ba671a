// Rows and machines of the log in words, for `perdure log`. Any bytes are safe.
#pragma once

#include <optional>
#include <string>

#include "base/bytes.h"
#include "client/rows.h"
#include "processor/transaction.h"

namespace perdure::server {

// "inode", or "table 99".
std::string table_name(uint8_t table);
// "inode=7: file mode=0644 size=3 ..."; without `row`: the key alone. Of a table that is not known: "<20
// bytes>".
std::string describe_row(uint8_t table, Bytes key, std::optional<Bytes> row);

// "Linux NFSv4.2 host, kernel 6.1": the owner and the implementation of a client.
std::string client_name(const client::ClientRow& row);

// "12.345": start number and counter. The reverse also takes the whole number, decimal or 0x...
std::string transaction_name(TransactionId id);
std::optional<TransactionId> parse_transaction(std::string_view text);

// "COMMIT, step placing", "reclaim, run 3".
std::string step_words(const log::ControlValues& control);
// The data values of a transaction in flight.
std::string machine_words(const processor::TransactionRow& row);

// "2026-11-22 19:24:41.123456" UTC.
std::string time_words(int64_t time_ns);

}  // namespace perdure::server
