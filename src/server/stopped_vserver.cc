#include "server/stopped_vserver.h"

#include "log/ring.h"
#include "server/vserver.h"
#include "state/database.h"
#include "state/row_reader.h"

namespace perdure::server {

namespace {
constexpr uint64_t cache_bytes = 64U << 20U;
}

StoppedVserver::~StoppedVserver() = default;

template <class T, class Call>
Result<T> StoppedVserver::wait(Call call) {
  std::optional<Result<T>> result;
  call([&result](Result<T> r) { result.emplace(std::move(r)); });
  env_.run();
  CHECK(result);
  return *std::move(result);
}

Result<std::unique_ptr<StoppedVserver>> StoppedVserver::open(const Config& config) {
  std::unique_ptr<StoppedVserver> stopped(new StoppedVserver(config));
  TRY(stopped->open_files());
  TRY(stopped->redo());
  TRY(stopped->read_identity());
  TRY(stopped->find_epoch());
  return stopped;
}

// In the order in which a server opens them, so that one that starts meanwhile is met at the same place.
Result<void> StoppedVserver::open_files() {
  store_ = TRY(store::open_rocksdb_read_only(env_, config_.data + "/store", cache_bytes));
  if (config_.durability != Durability::memory) {
    ring_ = TRY(wait<std::unique_ptr<log::LogRing>>(
        [this](auto done) { log::LogRing::open(env_, config_.log_path, std::move(done)); }));
  }
  blocks_ = TRY(wait<std::unique_ptr<store::BlockStore>>([this](auto done) {
    store::open_block_file(env_, config_.block_path, {.keep_free_bytes = 0}, std::move(done));
  }));
  data_ = TRY(env::PlainFile::open(config_.block_path));
  return {};
}

Result<void> StoppedVserver::redo() {
  database_ = std::make_unique<state::Database>(env_, *store_);
  vservers_ = std::make_unique<state::Table<VserverRow>>(*database_);
  epochs_ = std::make_unique<state::Table<EpochRow>>(*database_);
  transactions_ = std::make_unique<state::Table<processor::TransactionRow>>(*database_);
  fs_ = std::make_unique<fs::FileSystem>(env_, *database_, *blocks_, fs::FileSystem::Hooks{});
  clients_ = std::make_unique<client::ClientState>(env_, *database_, client::ClientState::Options{},
                                                   client::ClientState::Hooks{});
  const store::Applied applied = store_->applied();
  figures_.applied = figures_.end = applied.lsn;
  if (ring_ == nullptr) return {};
  figures_.end = TRY(wait<Lsn>([&](auto done) {
    ring_->read(
        applied.read_from, applied.lsn, applied.start,
        [this](Bytes record, Lsn lsn) -> Result<void> {
          ++figures_.records;
          return database_->redo(record, lsn);
        },
        std::move(done));
  }));
  return {};
}

// Owners are found by hashes under the vserver's secret.
Result<void> StoppedVserver::read_identity() {
  std::string damage;
  state::RowReader<VserverRow> rows(static_cast<state::Table<VserverRow>&>(*vservers_),
                                    [&damage](const std::string& what) { damage = what; });
  if (TRY(rows.next())) clients_->set_key(rows.row().secret);
  if (!damage.empty()) return error(ErrorKind::corrupt, "{}", damage);
  return {};
}

// The newest that gave any numbers. Without a log there is none, and none is checked.
Result<void> StoppedVserver::find_epoch() {
  Epoch epoch(UINT64_MAX >> fs::change_counter_bits);
  if (ring_ != nullptr) {
    epoch = std::max(Epoch(ring_->start_number().value), ring_->last_epoch());
    state::RowReader<EpochRow> rows(static_cast<state::Table<EpochRow>&>(*epochs_),
                                    [](const std::string&) {});
    while (TRY(rows.next())) epoch = std::max(epoch, rows.key().epoch);
  }
  fs_->set_epoch(epoch);
  return {};
}

Result<void> StoppedVserver::read_blocks(BlockNo first, MutableBytes into) const {
  return data_->read(first.value * block_bytes, into);
}

}  // namespace perdure::server
