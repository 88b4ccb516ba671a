#include "bench/crash/journal.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>

#include "base/check.h"

namespace perdure::bench {
namespace {

constexpr std::string_view first_line = "perdure-crash-log 1";
constexpr size_t workers_max = 1 << 16;

Result<Expectation> parse_header(std::istream& file) {
  std::string line;
  if (!std::getline(file, line) || line != first_line)
    return error(ErrorKind::invalid, "not a log of a crash test");
  std::getline(file, line);
  std::istringstream words(line);
  std::string directory_word, workers_word, counters_word;
  Expectation e;
  size_t workers = 0;
  words >> directory_word >> e.directory >> workers_word >> workers >> counters_word >> e.counters;
  if (!words || directory_word != "directory" || workers == 0 || workers > workers_max)
    return error(ErrorKind::invalid, "its second line is not understood");
  e.models.resize(workers);
  e.pending.resize(workers);
  return e;
}

// False: not a line of a journal, or one that cannot follow what was before.
bool apply_line(const std::string& line, Expectation& e) {
  std::istringstream words(line);
  std::string mark;
  size_t worker = 0;
  if (!(words >> mark >> worker) || worker >= e.models.size()) return false;
  std::optional<Action>& pending = e.pending[worker];
  if (mark == "<") {
    if (!pending) return false;
    e.models[worker].apply(*pending);
    pending.reset();
    return true;
  }
  std::string rest;
  std::getline(words, rest);
  const std::optional<Action> action = action_from_text(rest);
  if (mark != ">" || !action || pending || !e.models[worker].possible(*action)) return false;
  pending = action;
  return true;
}

}  // namespace

Result<Journal> Journal::create(const std::string& file_name, const std::string& directory, size_t workers,
                                size_t counters) {
  if (file_name.empty()) return Journal(-1);
  const int fd = open(file_name.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
  if (fd < 0) return error(ErrorKind::io, "{}: {}", file_name, std::strerror(errno));
  Journal journal(fd);
  journal.write(
      fmt::format("{}\ndirectory {} workers {} counters {}\n", first_line, directory, workers, counters));
  return journal;
}

Journal::~Journal() {
  if (fd_ >= 0) close(fd_);
}

void Journal::asked(size_t worker, const Action& action) {
  if (fd_ >= 0) write(fmt::format("> {} {}\n", worker, to_text(action)));
}

void Journal::acknowledged(size_t worker) {
  if (fd_ >= 0) write(fmt::format("< {}\n", worker));
}

void Journal::write(const std::string& line) {
  CHECK(::write(fd_, line.data(), line.size()) == static_cast<ssize_t>(line.size()));
}

uint64_t Expectation::acknowledged_increments(uint64_t counter) const {
  uint64_t n = 0;
  for (const Model& m : models) {
    if (const auto it = m.increments().find(counter); it != m.increments().end()) n += it->second;
  }
  return n;
}

uint64_t Expectation::pending_increments(uint64_t counter) const {
  uint64_t n = 0;
  for (const auto& p : pending) n += p && p->kind == Action::Kind::increment && p->first == counter ? 1 : 0;
  return n;
}

Result<Expectation> read_journal(const std::string& file_name) {
  std::ifstream file(file_name);
  if (!file) return error(ErrorKind::not_found, "{}: {}", file_name, std::strerror(errno));
  auto expectation = parse_header(file);
  if (!expectation) return error(ErrorKind::invalid, "{}: {}", file_name, expectation.error().message);
  std::string line;
  for (size_t number = 3; std::getline(file, line); ++number) {
    if (file.eof()) break;  // without its end of line
    if (!apply_line(line, *expectation))
      return error(ErrorKind::invalid, "{}:{}: not understood", file_name, number);
  }
  return expectation;
}

}  // namespace perdure::bench
