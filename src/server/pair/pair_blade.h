// PairBlade: one blade of a pair, assembled from its parts: the vserver's copy, the part of the pair that
// this process start is, the arbiter, the channels to the peer, and the addresses that move. Thread: the
// vserver's loop.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <vector>

#include "mirror/bundle.h"
#include "mirror/member.h"
#include "server/config.h"
#include "server/pair/etcd.h"
#include "server/pair/peer_channel.h"
#include "server/pair/vserver_address.h"
#include "server/vserver_replica.h"

namespace perdure::server {

class PairBlade {
 public:
  struct Hooks {
    std::function<void()> serving;           // this blade is the primary
    std::function<void(Error)> ended;        // the process must be started anew (mirror::Member)
    std::function<void(Error)> failed;       // it cannot go on (Vserver::load)
    std::function<void()> following;         // it is not, and must have neither addresses nor clients
    std::function<void()> hand_over_wanted;  // the peer's administrator does
  };
  // `last_failed`: the blade's last start ended because it could not go on.
  static Result<std::unique_ptr<PairBlade>> open(env::Env& env, asio::io_context& context,
                                                 const Config& config, Vserver::Parts parts,
                                                 VserverOptions options, bool last_failed, Hooks hooks);

  void start() { member_->start(); }
  Vserver* vserver() { return replica_->vserver(); }  // null until it is loaded
  const mirror::Member& member() const { return *member_; }
  bool serving() const { return serving_; }

  // This blade is the primary, and listens: its addresses are here from now on, and the clients of its
  // predecessor are told to connect again.
  Result<void> take_addresses();
  // This blade has none of them any more, and the connections of clients that it had are lost. Where nobody
  // tells their clients so, this blade does as soon as there is a primary that answers them: watch() and
  // take_addresses(), and wake_lost() once where this process ends.
  void give_up_addresses() { addresses_.give_up(); }
  void lose(const std::vector<ConnectionEnds>& connections);
  void wake_lost() { VserverAddresses::wake_now(lost_); }
  // Looks after ports and addresses. Now and then; false if this blade may not answer, and must give up its
  // addresses and its connections.
  bool watch();
  // The connections of clients as they are now, of which the peer is told.
  void tell_connections(const std::vector<ConnectionEnds>& connections);
  Result<void> hand_over() { return member_->hand_over(); }
  Result<void> want_hand_over() { return member_->want_hand_over(); }

  // For status: every number is named with its unit.
  nlohmann::json status() const;

 private:
  PairBlade(env::Env& env, const Config& config)
      : env_(env), config_(config), addresses_(env, config.pair->addresses) {}

  env::Env& env_;
  const Config& config_;
  VserverAddresses addresses_;
  std::unique_ptr<VserverReplica> replica_;
  std::unique_ptr<EtcdArbiter> arbiter_;
  std::unique_ptr<mirror::Connector> connector_;
  std::unique_ptr<mirror::BundleAcceptor> acceptor_;
  std::unique_ptr<PeerListener> listener_;
  std::unique_ptr<mirror::Member> member_;
  std::vector<ConnectionEnds> lost_;
  bool serving_ = false;
  env::Instant answered_;
  env::Instant unplugged_;  // some port was, the last time
};

// The arbiter's part of a configuration.
EtcdOptions etcd_options(const PairConfig& pair);

}  // namespace perdure::server
