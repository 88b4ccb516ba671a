#include "server/server.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>
#include <csignal>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "env/linux/linux_env.h"
#include "env/plain_file.h"
#include "nfs4/data_place.h"
#include "server/data_directory.h"
#include "server/front_end.h"
#include "server/listener.h"
#include "server/pair/pair_blade.h"
#include "server/rpc_front.h"
#include "server/status.h"
#include "server/system_names.h"
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
    end(status);
  }
  void end(ExitStatus status) {
    status_ = status;
    close_clients();
    env_->stop();
  }
  // Nothing is received or sent any more.
  void close_clients() {
    // First, so that nobody connects anew to a blade that does not answer: what waits on the sockets of the
    // guardian waits for ever.
    if (pair_ != nullptr && pair_->serving()) lose_clients();
    listener_.reset();
    if (front_end_) front_end_->close_all();
  }
  // Of a pair: clients are no longer this blade's.
  void lose_clients() {
    pair_->give_up_addresses();
    pair_->lose(listener_ ? listener_->turn_away() : turn_away(listening_));
    pair_->lose(connections());
    if (front_end_) front_end_->close_all();
  }
  std::vector<ConnectionEnds> connections() const {
    std::vector<ConnectionEnds> ends;
    if (front_end_)
      front_end_->for_each([&](wire::ConnectionId, const ConnectionEnds& e) { ends.push_back(e); });
    return ends;
  }

  void heartbeat() {
    supervision_.heartbeat();
    if (pair_ != nullptr && !pair_->watch()) lose_clients();
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
                             if (config_.pair) return join_pair();
                             restore();
                           });
  }

  static std::vector<nfs4::Export> exports_of(const Config& config) {
    std::vector<nfs4::Export> all;
    for (const Export& e : config.exports) {
      all.push_back({.path = e.path,
                     .volume = e.volume,
                     .admits = [e](const wire::Address& peer) { return e.admits(peer); },
                     .read_only = e.read_only,
                     .squash = static_cast<nfs4::Squash>(e.squash),
                     .anonymous_uid = e.anonymous_uid,
                     .anonymous_gid = e.anonymous_gid});
      for (const Location& location : e.locations)
        all.back().locations.push_back({location.server, location.path});
    }
    return all;
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
    options.clients.courtesy_seconds = config_.courtesy_seconds;
    options.clients.clients_max = config_.clients_max;
    options.clients.slots_per_session_max = config_.slots_max;
    options.clients.slots_total = config_.slots_total;
    options.clients.sessions_per_client_max = config_.sessions_max;
    options.clients.opens_per_client_max = config_.opens_max;
    options.clients.lock_states_per_client_max = config_.locks_max;
    options.clients.locks_per_client_max = config_.locks_max;
    options.clients.delegations_per_client_max = config_.delegations_max;
    options.clients.delegations = config_.delegations;
    options.clients.persistent = config_.durability != Durability::memory;
    options.clients.request_bytes_max = options.clients.response_bytes_max = config_.io_bytes_max + 8192;
    options.nfs.exports = exports_of(config_);
    options.nfs.io_bytes_max = config_.io_bytes_max;
    options.nfs.names = names_.get();
    options.nfs.owner_names = {
        .domain = config_.owner_domain.empty() ? default_owner_domain() : config_.owner_domain,
        .shown = config_.owner_names};
    return options;
  }

  void restore() {
    VserverOptions options = vserver_options();
    Vserver::start(
        *env_, std::move(parts_), std::move(options),
        [this](Error error) { fail(ExitStatus::failed, error); },
        [this](Result<std::unique_ptr<Vserver>> vserver) {
          if (!vserver) return fail(ExitStatus::cannot_start, vserver.error());
          alone_ = std::move(*vserver);
          vserver_ = alone_.get();
          open_control_socket();
          if (listen()) serving();
        });
  }

  // ---- a pair

  void join_pair() {
    PairBlade::Hooks hooks;
    hooks.serving = [this] {
      vserver_ = pair_->vserver();
      if (!listen()) return;
      if (const Result<void> taken = pair_->take_addresses(); !taken)
        return fail(ExitStatus::failed, taken.error());
      watch_connections();
      serving();
    };
    hooks.ended = [this](const Error& error) {
      if (error.kind == ErrorKind::invalid) return fail(ExitStatus::cannot_start, error);
      if (error.kind != ErrorKind::stopped) return fail(ExitStatus::failed, error);
      spdlog::info("{}", error.message);
      end(stopping_ ? ExitStatus::stopped : ExitStatus::again);
      pair_->wake_lost();
    };
    hooks.failed = [this](const Error& error) { fail(ExitStatus::failed, error); };
    hooks.following = [this] { lose_clients(); };
    hooks.hand_over_wanted = [this] {
      if (const Result<void> handed = hand_over(); !handed) spdlog::warn("{}", handed.error().message);
    };
    Result<std::unique_ptr<PairBlade>> pair =
        PairBlade::open(*env_, env_->context(), config_, std::move(parts_), vserver_options(),
                        supervision_.last_failed(), std::move(hooks));
    if (!pair) return fail(status_of(pair.error()), pair.error());
    pair_ = std::move(*pair);
    open_control_socket();
    pair_->start();
    supervision_.ready(fmt::format("blade {} of {}", config_.pair->blade, config_.pair->name));
  }

  Result<void> hand_over() {
    TRY(pair_->hand_over());
    close_clients();
    return {};
  }

  // The peer is to know whom it would have to wake.
  void watch_connections() {
    constexpr env::Duration interval = std::chrono::milliseconds(50);
    env_->after(interval, [this] { watch_connections(); });
    const std::pair now{front_end_->figures().accepted, front_end_->connections()};
    if (now == connections_told_) return;
    connections_told_ = now;
    pair_->tell_connections(connections());
  }

  // ---- questions

  void open_control_socket() {
    Result<std::unique_ptr<ControlSocket>> control =
        ControlSocket::open(env_->context(), path(control_socket_name), [this](const std::string& question) {
          return answer(question).dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
        });
    if (control)
      control_socket_ = std::move(*control);
    else
      spdlog::warn("{}", control.error().message);
  }

  nlohmann::json answer(const std::string& question) {
    const auto outcome = [](const Result<void>& result) {
      return result ? nlohmann::json{{"done", true}}
                    : nlohmann::json{{"done", false}, {"error", result.error().message}};
    };
    if (question == status_question) {
      nlohmann::json j = nlohmann::json::object();
      if (vserver_ != nullptr)
        j = status_json(*vserver_);
      else if (pair_ != nullptr && pair_->vserver() != nullptr)
        j = standby_json(*pair_->vserver());
      if (pair_ != nullptr) j["pair"] = pair_->status();
      return j;
    }
    if (question == reload_question) return outcome(reload());
    if (question == switchover_question && pair_ != nullptr)
      return outcome(pair_->serving() ? hand_over() : pair_->want_hand_over());
    return outcome(error(ErrorKind::unsupported, "the server does not understand '{}'", question));
  }

  // The exports as the configuration file has them now.
  Result<void> reload() {
    if (vserver_ == nullptr) return error(ErrorKind::unsupported, "this blade does not serve");
    const ConfigFile file = TRY(read_config_file(config_.file));
    Config config = TRY(parse_config(file.text, config_.file, {.data = config_.data}));
    TRY(supervision_.set_config_text(file.text));
    config_.exports = std::move(config.exports);
    vserver_->set_exports(exports_of(config_), [](const Result<void>& applied) {
      if (applied)
        spdlog::info("the exports have been read again");
      else
        spdlog::error("{}", applied.error().message);
    });
    return {};
  }

  // ---- clients

  bool listen() {
    FrontEndOptions options;
    options.limits.records.find_data = nfs4::find_write_data;
    options.connections_max = config_.connections_max;
    options.limits.half_record_max = options.limits.slow_reader_max =
        std::chrono::seconds(config_.request_seconds);
    front_end_.emplace(*env_, env_->context(), rpc_front_, options);
    rpc_front_.add_program(nfs4::nfs4_program, nfs4::nfs4_version, nfs4::nfs4_version, 2, *this);
    rpc_front_.attach(*front_end_);
    rpc_front_.set_callback_sink(vserver_->nfs().callbacks());
    vserver_->nfs().attach(*front_end_);
    listener_.emplace(*env_, env_->context(), *front_end_);
    for (const int socket : std::exchange(listening_, {}))
      if (const Result<void> adopted = listener_->adopt(socket); !adopted) {
        fail(ExitStatus::cannot_start, adopted.error());
        return false;
      }
    return true;
  }

  void serving() {
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
    if (config_.admits(call.peer)) return vserver_->nfs().call(std::move(call));
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
    // Nobody waits for this blade then.
    if (pair_ != nullptr && hand_over()) return;
    close_clients();
    vserver_->stop([this] {
      spdlog::info("stopped: everything is in the checkpoint");
      env_->stop();
    });
  }

  Config config_;
  std::vector<int> listening_;
  Supervision& supervision_;
  std::unique_ptr<env::LinuxEnv> env_;
  const std::unique_ptr<SystemNames> names_ = std::make_unique<SystemNames>(*env_);
  std::optional<asio::signal_set> signals_;
  Vserver::Parts parts_;
  std::unique_ptr<Vserver> alone_;  // of a blade without a peer
  std::unique_ptr<PairBlade> pair_;
  Vserver* vserver_ = nullptr;  // once it serves
  RpcFront rpc_front_;
  std::optional<FrontEnd> front_end_;
  std::optional<Listener> listener_;
  std::unique_ptr<ControlSocket> control_socket_;
  std::pair<uint64_t, size_t> connections_told_;
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
