#include "server/server.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>
#include <csignal>
#include <filesystem>
#include <memory>
#include <optional>

#include "env/linux/linux_env.h"
#include "env/plain_file.h"
#include "nfs4/data_place.h"
#include "server/front_end.h"
#include "server/listener.h"
#include "server/rpc_front.h"
#include "server/status.h"
#include "server/vserver.h"

namespace perdure::server {

namespace {

// The server process: opens what the configuration names, restores the vserver, serves, and stops.
class Server final : private wire::RpcProgram {
 public:
  Server(const Config& config, std::vector<int> listening, Supervision& supervision,
         std::unique_ptr<env::LinuxEnv> env)
      : config_(config), listening_(std::move(listening)), supervision_(supervision), env_(std::move(env)) {}

  ExitStatus run() {
    began_ = env_->now();
    heartbeat();
    signals_.emplace(env_->context(), SIGTERM, SIGINT);
    signals_->async_wait([this](std::error_code problem, int) {
      if (!problem) stop();
    });
    open_store();
    env_->run();
    signals_.reset();
    return status_;
  }

 private:
  // Ends the process' work, at any stage: `error` has been the reason.
  void fail(ExitStatus status, const Error& error) {
    spdlog::critical("{}", error.message);
    status_ = status;
    listener_.reset();
    front_end_.reset();
    env_->stop();
  }

  void heartbeat() {
    supervision_.heartbeat();
    env_->after(Supervision::heartbeat_interval, [this] { heartbeat(); });
  }

  // ---- start: store, log, blocks, restoration, sockets

  std::string path(const char* name) const { return config_.data + "/" + name; }

  // Another living server process would have been noticed at the store. The log and the blocks may also be
  // locked by a dead one whose I/O has not ended, and that passes.
  static ExitStatus status_of(const Error& error) {
    return error.kind == ErrorKind::busy ? ExitStatus::failed : ExitStatus::cannot_start;
  }

  void open_store() {
    if (config_.durability == Durability::memory) {
      // Nothing of an earlier life counts.
      std::error_code ignored;
      std::filesystem::remove_all(path("store"), ignored);
      std::filesystem::remove(config_.block_path, ignored);
    }
    Result<std::unique_ptr<store::KvStore>> store =
        store::open_rocksdb(*env_, path("store"), config_.memory_bytes / 8);
    if (!store) return fail(ExitStatus::cannot_start, store.error());
    parts_.store = std::move(*store);
    if (config_.durability == Durability::memory) return open_blocks();
    if (std::filesystem::exists(config_.log_path)) return open_ring();
    spdlog::info("making the log {}: {} of zeros", config_.log_path, bytes_text(config_.log_bytes));
    // Complete under its name, or not there: a first start may be interrupted as well as any other.
    const std::string unfinished = config_.log_path + ".new";
    std::error_code ignored;
    std::filesystem::remove(unfinished, ignored);
    log::LogRing::create(*env_, unfinished, config_.log_bytes, [this, unfinished](Result<void> made) {
      if (made) made = env::rename_durably(unfinished, config_.log_path);
      if (!made) return fail(ExitStatus::cannot_start, made.error());
      open_ring();
    });
  }

  void open_ring() {
    log::LogRing::open(*env_, config_.log_path, [this](Result<std::unique_ptr<log::LogRing>> ring) {
      if (!ring) return fail(status_of(ring.error()), ring.error());
      parts_.ring = std::move(*ring);
      open_blocks();
    });
  }

  void open_blocks() {
    const store::BlockStoreOptions options{.bytes_max = config_.blocks_bytes_max,
                                           .step_bytes = config_.blocks_step_bytes};
    store::open_block_file(*env_, config_.block_path, options,
                           [this](Result<std::unique_ptr<store::BlockStore>> blocks) {
                             if (!blocks) return fail(status_of(blocks.error()), blocks.error());
                             parts_.blocks = std::move(*blocks);
                             restore();
                           });
  }

  VserverOptions vserver_options() const {
    VserverOptions options;
    const auto seconds =
        std::chrono::duration_cast<std::chrono::seconds>(env_->wall_time().time_since_epoch());
    options.epoch = Epoch(parts_.ring != nullptr ? parts_.ring->start_number().value
                                                 : static_cast<uint64_t>(seconds.count()));
    options.memory_bytes = config_.memory_bytes - config_.memory_bytes / 8;
    options.checkpoint.records_max = config_.checkpoint_records_max;
    options.checkpoint.bytes_max = config_.checkpoint_bytes_max;
    options.clients.lease_seconds = config_.lease_seconds;
    options.clients.clients_max = config_.clients_max;
    options.clients.slots_per_session_max = config_.slots_max;
    options.clients.persistent = config_.durability != Durability::memory;
    options.clients.request_bytes_max = options.clients.response_bytes_max = config_.io_bytes_max + 8192;
    options.nfs.squash = static_cast<nfs4::Squash>(config_.exported.squash);
    options.nfs.anonymous_uid = config_.exported.anonymous_uid;
    options.nfs.anonymous_gid = config_.exported.anonymous_gid;
    options.nfs.read_only = config_.exported.read_only;
    options.nfs.io_bytes_max = config_.io_bytes_max;
    return options;
  }

  void restore() {
    VserverOptions options = vserver_options();
    Vserver::start(
        *env_, std::move(parts_), std::move(options),
        [this](Error error) { fail(ExitStatus::failed, error); },
        [this](Result<std::unique_ptr<Vserver>> vserver) {
          if (!vserver) return fail(ExitStatus::cannot_start, vserver.error());
          vserver_ = std::move(*vserver);
          listen();
        });
  }

  void listen() {
    FrontEndOptions options;
    options.limits.records.find_data = nfs4::find_write_data;
    options.connections_max = config_.connections_max;
    options.limits.half_record_max = options.limits.slow_reader_max =
        std::chrono::seconds(config_.request_seconds);
    front_end_.emplace(*env_, env_->context(), rpc_front_, options);
    rpc_front_.add_program(nfs4::nfs4_program, nfs4::nfs4_version, nfs4::nfs4_version, 2, *this);
    rpc_front_.attach(*front_end_);
    vserver_->nfs().attach(*front_end_);
    listener_.emplace(*env_, env_->context(), *front_end_);
    for (const int socket : listening_)
      if (const Result<void> adopted = listener_->adopt(socket); !adopted)
        return fail(ExitStatus::cannot_start, adopted.error());
    Result<std::unique_ptr<StatusSocket>> status = StatusSocket::open(
        env_->context(), path(status_socket_name), [this] { return status_json(*vserver_); });
    if (status)
      status_socket_ = std::move(*status);
    else
      spdlog::warn("{}", status.error().message);
    const RestorationFigures& r = vserver_->restoration();
    const auto ms = [](env::Duration d) { return std::chrono::duration<double, std::milli>(d).count(); };
    const std::string line =
        fmt::format("serving after {:.1f} ms: {} log records redone in {:.1f} ms, {} transactions resumed",
                    ms(env_->now() - began_), r.records, ms(r.redo), r.resumed);
    spdlog::info("{}", line);
    supervision_.ready(line);
  }

  // ---- the program: who may call

  void call(wire::RpcCall&& call) override {
    if (config_.exported.admits(call.peer)) return vserver_->nfs().call(std::move(call));
    front_end_->send(call.connection, wire::auth_error_reply(call.xid, wire::AuthStat::AUTH_TOOWEAK));
  }
  void closed(wire::ConnectionId connection) override { vserver_->nfs().closed(connection); }

  // ---- stop

  void stop() {
    if (std::exchange(stopping_, true)) return;
    supervision_.stopping();
    status_ = ExitStatus::stopped;
    if (vserver_ == nullptr) return env_->stop();
    spdlog::info("stopping");
    listener_.reset();
    front_end_.reset();
    status_socket_.reset();
    vserver_->stop([this] {
      spdlog::info("stopped: everything is in the checkpoint");
      env_->stop();
    });
  }

  const Config& config_;
  std::vector<int> listening_;
  Supervision& supervision_;
  std::unique_ptr<env::LinuxEnv> env_;
  std::optional<asio::signal_set> signals_;
  Vserver::Parts parts_;
  std::unique_ptr<Vserver> vserver_;
  RpcFront rpc_front_;
  std::optional<FrontEnd> front_end_;
  std::optional<Listener> listener_;
  std::unique_ptr<StatusSocket> status_socket_;
  env::Instant began_{};
  ExitStatus status_ = ExitStatus::failed;
  bool stopping_ = false;
};

}  // namespace

ExitStatus run_server(const Config& config, std::vector<int> listening, Supervision& supervision) {
  Result<std::unique_ptr<env::LinuxEnv>> env = env::LinuxEnv::create();
  if (!env) {
    spdlog::critical("{}", env.error().message);
    return ExitStatus::cannot_start;
  }
  // The process ends when this returns: what is still under way is the kernel's, as after a crash.
  auto* server = new Server(config, std::move(listening), supervision, std::move(*env));
  const ExitStatus status = server->run();
  return status;
}

}  // namespace perdure::server
