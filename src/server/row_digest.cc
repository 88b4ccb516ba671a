#include "server/row_digest.h"

#include "base/crc32c.h"
#include "server/row_types.h"
#include "state/row_reader.h"

namespace perdure::server {

namespace {

template <class Row>
Result<TableDigest> digest_table(state::Database& database) {
  state::TableBase* table = database.table(static_cast<uint8_t>(Row::table));
  CHECK(table != nullptr);
  state::RowReader<Row> reader(static_cast<state::Table<Row>&>(*table), [](const std::string&) {});
  TableDigest digest{.table = Row::name};
  while (TRY(reader.next())) {
    Encoder out;
    state::encode_key(out, reader.key());
    state::encode(out, reader.row());
    digest.crc = crc32c(out.copy(), digest.crc);
    ++digest.rows;
  }
  return digest;
}

template <class... Rows>
struct DigestAll {
  static Result<void> of(state::Database& database, std::vector<TableDigest>& digests) {
    Result<void> result;
    const auto add = [&](Result<TableDigest> digest) {
      if (digest)
        digests.push_back(*digest);
      else
        result = std::move(digest).error();
    };
    (add(digest_table<Rows>(database)), ...);
    return result;
  }
};

}  // namespace

Result<std::vector<TableDigest>> digest_rows(state::Database& database) {
  std::vector<TableDigest> digests;
  TRY(WithAllRows<DigestAll>::of(database, digests));
  return digests;
}

}  // namespace perdure::server
