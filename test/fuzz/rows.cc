// Rows of any content, in the checkpoint and in records whose checksums are right: redo and loading refuse
// what is no row; `perdure log` and `perdure check` say something of everything else. With bit 0 of the first
// byte a whole vserver starts on them.
//
// The rest of the input are events as in traffic.h, of which those with bytes count. The number is the table;
// the bytes are what is done with it (1 byte, Action), the key's length (1 byte), the key, the row.
#include "env/testing/test_env.h"
#include "fuzz/fuzz.h"
#include "fuzz/traffic.h"
#include "server/check.h"
#include "server/vserver.h"
#include "store/testing/memory_kv_store.h"

namespace perdure::fuzz {

namespace {

using store::testing::MemoryKvImage;
using store::testing::MemoryKvStore;

enum class Action : uint8_t {
  put,       // in a record
  put_more,  // in a record that goes on
  erase,
  keep,   // in the checkpoint
  plain,  // the bytes are a record
};
constexpr uint8_t actions = 5;

struct Change {
  Action action{};
  uint8_t table = 0;
  Bytes key, row;
};
Change change_of(const Event& event) {
  Bytes bytes = event.bytes;
  Change change{.action = static_cast<Action>(static_cast<uint8_t>(bytes[0]) % actions),
                .table = event.number};
  bytes = bytes.subspan(1);
  if (change.action == Action::plain) {
    change.row = bytes;
  } else if (!bytes.empty()) {
    const size_t n = std::min(static_cast<size_t>(bytes[0]), bytes.size() - 1);
    change.key = bytes.subspan(1, n);
    change.row = bytes.subspan(1 + n);
  }
  return change;
}

class World {
 public:
  World() : env_(1), image_(std::make_shared<MemoryKvImage>()) {}

  // What the checkpoint holds.
  void fill_store(const std::vector<Change>& kept) {
    store::testing::KvMap rows;
    for (const Change& c : kept) {
      if (c.action != Action::keep || c.table == 0) continue;  // no table: the store's own
      ByteVector key{std::byte{c.table}};
      key.insert(key.end(), c.key.begin(), c.key.end());
      rows[key] = ByteVector(c.row.begin(), c.row.end());
    }
    std::vector<store::Change> changes;
    for (auto& [key, row] : rows) changes.push_back({key, row});
    MemoryKvStore store(env_, image_);
    const Result<void> applied =
        wait<void>([&](auto done) { store.apply(std::move(changes), store::Applied{}, std::move(done)); });
    CHECK(applied);
  }

  // As `perdure check` does, and `perdure log`.
  void look(const std::vector<Change>& changes) {
    MemoryKvStore store(env_, image_);
    std::unique_ptr<store::BlockStore> blocks = open_blocks();
    state::Database database(env_, store);
    state::Table<server::VserverRow> vservers(database);
    state::Table<server::EpochRow> epochs(database);
    state::Table<processor::TransactionRow> transactions(database);
    fs::FileSystem fs(env_, database, *blocks, fs::FileSystem::Hooks{});
    fs.set_epoch(Epoch(9));
    client::ClientState clients(env_, database, client::ClientState::Options{}, client::ClientState::Hooks{});
    if (!redo(database, changes)) return;
    state::Findings findings([](const std::string& line) { CHECK(!line.empty()); });
    (void)server::check({.fs = fs,
                         .clients = clients,
                         .transactions = transactions,
                         .blocks = blocks->capacity(),
                         .read_blocks = {}},
                        findings);
  }

  void serve() {
    server::Vserver::Parts parts;
    parts.store = std::make_unique<MemoryKvStore>(env_, image_);
    parts.blocks = open_blocks();
    server::VserverOptions options;
    options.epoch = Epoch(9);
    options.memory_bytes = 64U << 20U;
    bool failed = false;
    auto vserver = wait<std::unique_ptr<server::Vserver>>([&](auto done) {
      server::Vserver::start(
          env_, std::move(parts), options, [&failed](Error) { failed = true; }, std::move(done));
    });
    if (!vserver) return;
    for (int i = 0; i < 10 && !failed; ++i) env_.advance(std::chrono::seconds(30));
    env_.crash();
  }

 private:
  template <class T, class Call>
  Result<T> wait(Call call) {
    std::optional<Result<T>> result;
    env_.post([&] { call([&](Result<T> r) { result.emplace(std::move(r)); }); });
    const env::Instant end = env_.now() + std::chrono::minutes(1);
    while (!result && env_.now() < end)
      if (!env_.run_one()) env_.advance(std::chrono::microseconds(100));
    CHECK(result);
    return *std::move(result);
  }

  std::unique_ptr<store::BlockStore> open_blocks() {
    auto blocks = wait<std::unique_ptr<store::BlockStore>>([&](auto done) {
      store::open_block_file(env_, "blocks",
                             {.bytes_max = 64U << 20U, .step_bytes = 16U << 20U, .keep_free_bytes = 0},
                             std::move(done));
    });
    CHECK(blocks);
    return std::move(*blocks);
  }

  // False: a record was refused, as it would be by a start.
  static bool redo(state::Database& database, const std::vector<Change>& changes) {
    log::RecordBuilder builder;
    Lsn lsn(64);
    bool open = false;
    for (const Change& c : changes) {
      if (state::TableBase* table = database.table(c.table)) {
        (void)table->describe_row(c.key, c.row);
        (void)table->describe_row(c.key, std::nullopt);
      }
      if (c.action == Action::keep) continue;
      if (c.action == Action::plain) {
        const Result<Bytes> record = log::first_record(c.row);
        if (record && !database.redo(*record, lsn)) return false;
        continue;
      }
      if (!std::exchange(open, true)) {
        builder.begin(TransactionId(1), 0, 0);
        builder.begin_step({});
      }
      if (c.action == Action::erase)
        builder.erase(c.table, c.key);
      else
        builder.put(c.table, c.key, c.row);
      if (c.action == Action::put_more) continue;
      open = false;
      const Bytes record = builder.finish(lsn, Epoch(1));
      if (!database.redo(record, lsn)) return false;
      lsn += Lsn(log::aligned_record_bytes(record.size()));
    }
    return true;
  }

  env::TestEnv env_;
  std::shared_ptr<MemoryKvImage> image_;
};

}  // namespace

void fuzz(Bytes input) {
  if (input.empty()) return;
  const bool serves = (static_cast<uint8_t>(input[0]) & 1U) != 0;
  input = input.subspan(1);
  std::vector<Event> events;
  while (std::optional<Event> event = take_event(input))
    if (!event->bytes.empty()) events.push_back(std::move(*event));
  std::vector<Change> changes;
  for (const Event& event : events) changes.push_back(change_of(event));
  if (serves)
    for (Change& c : changes) c.action = Action::keep;
  World world;
  world.fill_store(changes);
  if (serves)
    world.serve();
  else
    world.look(changes);
}

}  // namespace perdure::fuzz
