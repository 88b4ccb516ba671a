#include "bench/crash/crash_worker.h"

#include <utility>

namespace perdure::bench {
namespace {

constexpr uint32_t names_in_directory = 24;
constexpr size_t depth_max = 3;
constexpr Nanoseconds patience = milliseconds(5);

size_t depth_of(const std::string& path) {
  return path.empty() ? 0 : static_cast<size_t>(std::ranges::count(path, '/')) + 1;
}

}  // namespace

std::string worker_directory(size_t worker) {
  return fmt::format("w{}", worker);
}
std::string counter_name(size_t counter) {
  return fmt::format("counter{}", counter);
}

CrashWorker::CrashWorker(CrashShared& shared, Slot& slot)
    : shared_(shared),
      slot_(slot),
      index_(slot.index()),
      owner_(fmt::format("crash-{}", slot.index())),
      random_(shared.options.seed * 1'000'003 + slot.index()),
      next_id_(uint64_t{slot.index() + 1} << 32),
      counters_(shared.options.counters) {}

Task<> CrashWorker::prepare() {
  Node& own = *model_.find("");
  const NfsStatus status = co_await mkdir(slot_, shared_.directory, worker_directory(index_), own.fh);
  if (status != NfsStatus::NFS4_OK) fail("making its directory: " + status_name(status));
}

Task<> CrashWorker::run() {
  while (!over()) co_await one();
}

// One operation, by weight in percent. With many names more is taken away than made.
Task<> CrashWorker::one() {
  const bool full = model_.nodes().size() > shared_.options.names_max;
  const uint64_t draw = random_.below(100);
  if (draw < 14) return full ? remove() : create_file();
  if (draw < 36) return write(true);
  if (draw < 42) return write(false);
  if (draw < 46) return truncate();
  if (draw < 51) return full ? rmdir() : make({.kind = Action::Kind::mkdir});
  if (draw < 54) return full ? remove() : make({.kind = Action::Kind::symlink});
  if (draw < 58) return rmdir();
  if (draw < 66) return remove();
  if (draw < 76) return rename();
  if (draw < 81) return full ? remove() : link();
  if (draw < 84) return refused();
  if (draw < 91) return read();
  if (draw < 94) return look_up();
  if (draw < 95) return list();
  return increment();
}

bool CrashWorker::unchanged(const Node& node, uint64_t found, const std::string& what) {
  if (!shared_.options.check_change || node.change == 0 || node.change == found) return true;
  fail(fmt::format("{}: its change attribute was {} and is {}: something was done twice", what, node.change,
                   found));
  return false;
}

Task<bool> CrashWorker::again(const Reply& reply) {
  if (reply.error() != NfsStatus::NFS4ERR_DELAY) co_return false;
  co_await shared_.client.sleep(patience);
  co_return true;
}

Task<bool> CrashWorker::read_again(const Reply& reply) {
  if (reply.error() == NfsStatus::NFS4ERR_RETRY_UNCACHED_REP) co_return true;
  co_return co_await again(reply);
}

void CrashWorker::ask(const Action& action) {
  CHECK(!pending_ && model_.possible(action));
  pending_ = action;
  shared_.journal.asked(index_, action);
}

void CrashWorker::acknowledge() {
  shared_.journal.acknowledged(index_);
  model_.apply(*pending_);
  const std::string text = to_text(*pending_);
  ++shared_.acknowledged[text.substr(0, text.find(' '))];
  pending_.reset();
}

void CrashWorker::fail(const std::string& what) {
  failed_ = true;
  std::string text = fmt::format("worker {}: {}", index_, what);
  if (slot_.times_sent() > 1)
    text += fmt::format(" (the last request was sent {} times)", slot_.times_sent());
  shared_.failures.push_back(std::move(text));
}

void CrashWorker::fail(const std::string& what, const Reply& reply) {
  fail(fmt::format("{}: {}: {}", what, op_name(reply.error_op()), status_name(reply.error())));
}

std::string CrashWorker::any(FileType type) {
  const std::vector<std::string> paths = model_.paths(type);
  return paths.empty() ? "" : paths[random_.below(paths.size())];
}

std::string CrashWorker::any_directory() {
  const std::vector<std::string> paths = model_.paths(FileType::NF4DIR);
  const uint64_t i = random_.below(paths.size() + 1);
  return i == paths.size() ? "" : paths[i];
}

// Names are used again and again, so what was removed would be noticed if it came back.
std::string CrashWorker::free_path() {
  for (int i = 0; i < 20; ++i) {
    const std::string directory = any_directory();
    if (depth_of(directory) >= depth_max) continue;
    std::string path = directory.empty() ? "" : directory + "/";
    path += fmt::format("n{}", random_.below(names_in_directory));
    if (model_.find(path) == nullptr) return path;
  }
  return "";
}

}  // namespace perdure::bench
