// What lies between the two blades of a pair, and the arbiter that both can reach.
//
// Fault model. There are one or two paths between the blades. A channel goes over one of them, and carries
// whole messages, in order, each way, each with its own delay, until it breaks. It may be cut: both ends hear
// of it, one later than the other. A direction may be blocked for a while: then nothing arrives, nor is it
// lost, and channels that are made meanwhile are not. When a process dies, its peer hears of it, as long as
// the way is open; after a power cut nobody tells it. Messages are never changed. Each path fails for itself,
// or all at once. The arbiter takes a time to answer, and may be out of reach for one blade or for both. A
// question that gets no answer was executed, was not, or will be later.
#pragma once

#include <array>
#include <deque>
#include <map>
#include <memory>
#include <optional>

#include "mirror/arbiter.h"
#include "mirror/channel.h"

namespace perdure::sim {

class World;

class PairNet {
 public:
  static constexpr size_t paths_max = 2;

  explicit PairNet(World& world) : world_(world) {}

  // For blade `from`'s process. They live as long as the process, and die with it.
  std::unique_ptr<mirror::Connector> connector(size_t from, size_t path);
  std::unique_ptr<mirror::Arbiter> arbiter(size_t blade);
  // The blade's process has died. `silently`: nobody tells its peer.
  void process_died(size_t blade, bool silently);

  // What happens between blades until all is calmed.
  void let_fail();
  void calm();

  // The newest configuration, as the arbiter has it.
  const mirror::Arbiter::Versioned& configuration() const { return stored_; }
  void set_up(const mirror::Configuration& configuration) { stored_ = {configuration, 1}; }

 private:
  friend class PairChannel;
  friend class PairConnector;
  friend class PairArbiter;
  struct End {
    size_t blade = 0;
    uint64_t life = 0;  // of the blade's process
    bool open = true;   // the process has not closed it
    mirror::Channel::Handler handler;
    std::deque<ByteVector> early;  // came before the handler
    bool lost = false;             // and so did the news that it is closed
  };
  struct Pipe {
    size_t path = 0;
    std::array<size_t, 2> under_way{};  // bytes, to each end
    std::array<End, 2> ends;
    std::array<env::Instant, 2> last{};             // arrival at each end of what was sent last
    std::array<std::deque<ByteVector>, 2> waiting;  // for each end: its way is blocked
    std::array<bool, 2> closing{};                  // the news that it is closed waits as well
  };
  using PipeRef = std::shared_ptr<Pipe>;

  env::Duration delay();
  void connect(size_t from, size_t path,
               std::move_only_function<void(std::unique_ptr<mirror::Channel>)> done);
  void send(const PipeRef& pipe, size_t end, ByteVector message);
  void arrive(const PipeRef& pipe, size_t end, ByteVector message);
  void close(const PipeRef& pipe, size_t end);
  void tell_closed(const PipeRef& pipe, size_t end);
  bool blocked(const Pipe& pipe, size_t to) const;
  void set_blocked(size_t from, size_t path, bool blocked);
  void cut_channels(size_t path);
  void fail_sometimes();
  void ask(size_t blade, std::move_only_function<void()> execute, std::move_only_function<void(bool)> answer);

  World& world_;
  std::vector<std::weak_ptr<Pipe>> pipes_;
  // For each path: what blade i sends to the other.
  std::array<std::array<bool, 2>, paths_max> blocked_{};
  std::array<bool, 2> arbiter_blocked_{};  // for blade i
  bool failing_ = false;
  mirror::Arbiter::Versioned stored_;
};

}  // namespace perdure::sim
