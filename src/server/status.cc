#include "server/status.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <asio/io_context.hpp>
#include <asio/local/stream_protocol.hpp>
#include <asio/read_until.hpp>
#include <asio/write.hpp>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "fs/data.h"
#include "server/operation_name.h"
#include "server/vserver.h"

namespace perdure::server {

namespace {

double in_milliseconds(env::Duration d) {
  return std::chrono::duration<double, std::milli>(d).count();
}

uint64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  uint64_t size = 0, resident = 0;
  statm >> size >> resident;
  return resident * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

nlohmann::json log_json(Vserver& v) {
  const log::GroupCommit& commit = v.commit();
  nlohmann::json j{{"next_lsn", commit.next_lsn().value},
                   {"durable_lsn", commit.durable().value},
                   {"applied_lsn", v.database().applied_lsn().value},
                   {"records", commit.figures().records},
                   {"batches", commit.figures().batches},
                   {"bytes", commit.figures().bytes}};
  if (const uint64_t batches = commit.figures().batches; batches != 0)
    j["batch_ms"] = in_milliseconds(commit.figures().write_time) / static_cast<double>(batches);
  if (const log::LogRing* ring = v.ring()) {
    j["start_number"] = ring->start_number().value;
    j["tail_lsn"] = ring->tail().value;
    j["capacity_bytes"] = ring->capacity();
    j["used_bytes"] = ring->capacity() - std::min(ring->capacity(), commit.room());
  }
  return j;
}

nlohmann::json transactions_json(Vserver& v) {
  nlohmann::json in_flight = nlohmann::json::array();
  for (const processor::Processor::InFlight& t : v.processor().in_flight())
    in_flight.push_back({{"transaction", t.id.value},
                         {"client", fmt::format("{:x}", t.client)},
                         {"operation", operation_name(t.control.operation)},
                         {"step", t.control.step},
                         {"inode", t.control.current.value},
                         {"state", t.state},
                         {"age_ms", in_milliseconds(t.age)}});
  const processor::Processor::Figures& f = v.processor().figures();
  return {{"finished", f.finished}, {"runs", f.runs},       {"faults", f.faults},
          {"waits", f.waits},       {"records", f.records}, {"in_flight", in_flight}};
}

nlohmann::json clients_json(Vserver& v) {
  const client::ClientState::Figures f = v.clients().figures();
  return {{"clients", f.clients},         {"sessions", f.sessions},   {"opens", f.opens},
          {"lock_states", f.lock_states}, {"lock_rows", f.lock_rows}, {"delegations", f.delegations},
          {"replays", f.replays},         {"expired", f.expired}};
}

nlohmann::json memory_json(Vserver& v) {
  fs::Data& data = v.fs().data();
  return {{"tables_bytes", v.database().memory_bytes()},
          {"pages_bytes", pages_in_use() * block_bytes},
          {"dirty_bytes", data.dirty_bytes()},
          {"page_row_bytes", data.page_row_bytes()},
          {"store_bytes", v.database().store().figures().memory_bytes},
          {"resident_bytes", resident_bytes()}};
}

nlohmann::json checkpoint_json(Vserver& v) {
  const state::Database::Figures& f = v.database().figures;
  return {{"made", f.checkpoints},
          {"under_way", v.checkpointer().under_way()},
          {"rows_applied", f.rows_applied},
          {"last_ms", in_milliseconds(f.last_checkpoint)}};
}

nlohmann::json restoration_json(const RestorationFigures& r) {
  return {{"records_redone", r.records},        {"bytes_redone", r.bytes},
          {"transactions_resumed", r.resumed},  {"load_ms", in_milliseconds(r.load)},
          {"redo_ms", in_milliseconds(r.redo)}, {"total_ms", in_milliseconds(r.total)}};
}

}  // namespace

nlohmann::json standby_json(Vserver& v) {
  return {{"log", log_json(v)},
          {"memory", memory_json(v)},
          {"checkpoint", checkpoint_json(v)},
          {"restoration", restoration_json(v.restoration())}};
}

nlohmann::json status_json(Vserver& v) {
  const fs::BlockAllocator& blocks = v.fs().data().allocator;
  nlohmann::json exports = nlohmann::json::array();
  for (const nfs4::Export& e : v.nfs().exports().all())
    exports.push_back({{"path", e.path}, {"volume", e.volume}, {"read_only", e.read_only}});
  nlohmann::json j = standby_json(v);
  j["vserver"] = v.uuid();
  j["exports"] = std::move(exports);
  j["transactions"] = transactions_json(v);
  j["client_state"] = clients_json(v);
  j["space"] = {{"total_bytes", blocks.total_blocks() * block_bytes},
                {"available_bytes", blocks.available_max() * block_bytes}};
  return j;
}

// ---------------------------------------------------------------------------------------------- the socket

struct ControlSocket::Impl : std::enable_shared_from_this<Impl> {
  using Socket = asio::local::stream_protocol::socket;
  Impl(asio::io_context& context, std::string p, Answer a)
      : acceptor(context), path(std::move(p)), answer(std::move(a)) {}

  void accept() {
    acceptor.async_accept([self = shared_from_this()](std::error_code problem, Socket socket) {
      if (problem == asio::error::operation_aborted || !self->acceptor.is_open()) return;
      if (!problem) self->listen(std::move(socket));
      self->accept();
    });
  }
  void listen(Socket socket) {
    struct Conversation {
      Socket socket;
      std::string question, answer;
    };
    auto c = std::make_shared<Conversation>(Conversation{std::move(socket), {}, {}});
    asio::async_read_until(c->socket, asio::dynamic_buffer(c->question, question_bytes_max), '\n',
                           [self = shared_from_this(), c](std::error_code problem, size_t n) {
                             if (problem || !self->acceptor.is_open()) return;
                             c->answer = self->answer(c->question.substr(0, n - 1));
                             asio::async_write(c->socket, asio::buffer(c->answer),
                                               [c](std::error_code, size_t) {});
                           });
  }

  static constexpr size_t question_bytes_max = 256;
  asio::local::stream_protocol::acceptor acceptor;
  std::string path;
  Answer answer;
};

ControlSocket::ControlSocket(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

ControlSocket::~ControlSocket() {
  std::error_code ignored;
  impl_->acceptor.close(ignored);
  ::unlink(impl_->path.c_str());
}

Result<std::unique_ptr<ControlSocket>> ControlSocket::open(asio::io_context& context, const std::string& path,
                                                           Answer answer) {
  if (path.size() >= sizeof(sockaddr_un::sun_path))
    return error(ErrorKind::invalid, "{}: too long for the path of a socket: `perdure status` will not work",
                 path);
  ::unlink(path.c_str());  // of a server that was killed; the data directory is locked by us
  auto impl = std::make_shared<Impl>(context, path, std::move(answer));
  std::error_code problem;
  impl->acceptor.open(asio::local::stream_protocol(), problem);
  const mode_t mask = ::umask(0077);
  if (!problem) impl->acceptor.bind(asio::local::stream_protocol::endpoint(path), problem);
  ::umask(mask);
  if (!problem) impl->acceptor.listen(16, problem);
  if (problem) return error(ErrorKind::io, "{}: {}", path, problem.message());
  impl->accept();
  return std::unique_ptr<ControlSocket>(new ControlSocket(std::move(impl)));
}

Result<std::string> ask_server(const std::string& data_directory, const std::string& question) {
  const std::string path = data_directory + "/" + control_socket_name;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return error(ErrorKind::invalid, "{}: too long for a socket", path);
  std::memcpy(address.sun_path, path.c_str(), path.size());
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return error(ErrorKind::io, "socket: {}", std::strerror(errno));
  const std::string line = question + "\n";
  std::string answer;
  Result<void> result;
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    result =
        error(ErrorKind::not_found, "no server is running on {} ({})", data_directory, std::strerror(errno));
  } else if (::send(fd, line.data(), line.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(line.size())) {
    result = error(ErrorKind::io, "{}: {}", path, std::strerror(errno));
  } else {
    char buffer[4096];
    ssize_t n = 0;
    while ((n = ::read(fd, buffer, sizeof buffer)) > 0) answer.append(buffer, static_cast<size_t>(n));
    if (n < 0) result = error(ErrorKind::io, "{}: {}", path, std::strerror(errno));
  }
  ::close(fd);
  if (!result) return std::move(result).error();
  return answer;
}

}  // namespace perdure::server
