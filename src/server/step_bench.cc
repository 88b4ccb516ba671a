// The cost of a step: COMPOUNDs of a client on their way through service, processor and log generator,
// without network and disk. A turn executes 16 calls, as with 16 requests in flight; what is measured is the
// turn, with the batch's checksum. The disk behind it is simulated, outside the measured time.
#include <benchmark/benchmark.h>

#include "base/crc32c.h"
#include "log/log_file.h"
#include "server/testing/vserver_fixture.h"

namespace perdure::server {
namespace {

using nfs4::Opnum4;
using testing::CompoundBuilder;
using testing::TestClient;
using testing::VserverFixture;

constexpr int turn_calls = 16;

struct Bench {
  VserverFixture server;
  std::unique_ptr<TestClient> client;
  ByteVector directory;
  uint64_t calls = 0;

  Bench() {
    server.log_bytes = 256U << 20U;
    server.start();
    client = std::make_unique<TestClient>(server, "bench");
    client->connect();
    auto made = client->ok(client->sequence().putrootfh().mkdir("d").getfh());
    made.next(Opnum4::OP_PUTROOTFH);
    made.next(Opnum4::OP_CREATE);
    made.in().get_u32();  // change info
    made.in().get_u64(), made.in().get_u64();
    for (uint32_t words = made.in().get_u32(); words > 0; --words) made.in().get_u32();
    made.next(Opnum4::OP_GETFH);
    const Bytes handle = made.in().get_opaque(128);
    directory.assign(handle.begin(), handle.end());
  }

  // SEQUENCE, PUTFH, OPEN (create, guarded), GETFH: a file of a new name in a directory of its own.
  CompoundBuilder open_create(uint32_t slot) {
    return client->sequence(slot)
        .putfh(directory)
        .create_file("file" + std::to_string(++calls), "owner")
        .getfh();
  }

  // Lets all that is not measured happen: the log's writes, replies, checkpoints.
  void settle() {
    server.env.run_until_idle();
    server.forget_replies();
  }
};

// What the log generator does, of the same records: it extracts steps and rows, and appends.
struct LogShare {
  std::vector<ByteVector> records;
  size_t bytes = 0;

  explicit LogShare(VserverFixture& server) {
    const ByteVector disk = server.env.content("log");
    const log::ReadAt read_at = [&disk](uint64_t offset, MutableBytes into) -> Result<void> {
      std::ranges::copy(Bytes(disk).subspan(offset, into.size()), into.begin());
      return {};
    };
    CHECK(log::read_log(read_at, disk.size(), "log", Lsn(0), [this](Bytes record, Lsn) -> Result<void> {
      records.emplace_back(record.begin(), record.end());
      return {};
    }));
    if (records.size() > 1024) records.erase(records.begin(), records.end() - 1024);
    for (const ByteVector& record : records) bytes += record.size();
    bytes /= records.size();
  }
};

void open_create(benchmark::State& state) {
  Bench b;
  for (auto _ : state) {
    state.PauseTiming();
    for (int i = 0; i < turn_calls; ++i) b.server.send(b.open_create(static_cast<uint32_t>(i)).finish());
    state.ResumeTiming();
    for (int i = 0; i < turn_calls; ++i) CHECK(b.server.env.run_one());
    CHECK(b.server.env.run_one());  // the end of the turn
    state.PauseTiming();
    b.settle();
    state.ResumeTiming();
  }
  state.SetItemsProcessed(turn_calls * static_cast<int64_t>(state.iterations()));
  state.counters["record_bytes"] = static_cast<double>(LogShare(b.server).bytes);
}
BENCHMARK(open_create)->Unit(benchmark::kMicrosecond);

// The log generator's share of it.
void log_generator(benchmark::State& state) {
  Bench b;
  for (int turn = 0; turn < 64; ++turn) {
    for (int i = 0; i < turn_calls; ++i) b.server.send(b.open_create(static_cast<uint32_t>(i)).finish());
    b.settle();
  }
  const LogShare share(b.server);
  std::vector<log::RecordView> views;
  for (const ByteVector& record : share.records) {
    Lsn lsn;
    std::memcpy(&lsn, record.data() + 8, sizeof lsn);
    auto view = log::parse_record(record, lsn);
    CHECK(view);
    views.push_back(std::move(*view));
  }
  env::TestEnv env;
  log::GroupCommit commit(env, nullptr, Epoch(1), [](const Error&) { CHECK(false); });
  log::RecordBuilder builder;
  std::vector<std::byte> batch;
  size_t next = 0;
  for (auto _ : state) {
    batch.clear();
    for (int i = 0; i < turn_calls; ++i) {
      const log::RecordView& view = views[next++ % views.size()];
      builder.begin(view.header.transaction, view.header.client, view.header.time_ns);
      for (const log::StepView& step : view.steps) {
        builder.begin_step(step.control);
        for (const log::RowChange& change : step.changes) {
          if (change.erased)
            builder.erase(change.table, change.key);
          else
            builder.put(change.table, change.key, change.row);
        }
      }
      const Bytes record = builder.finish(commit.next_lsn(), Epoch(1));
      commit.append(record);
      batch.insert(batch.end(), record.begin(), record.end());
    }
    benchmark::DoNotOptimize(crc32c(batch));
    commit.flush();
  }
  state.SetItemsProcessed(turn_calls * static_cast<int64_t>(state.iterations()));
}
BENCHMARK(log_generator)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace perdure::server
