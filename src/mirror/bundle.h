// Bundle: one channel (channel.h) over several paths at once, which are channels themselves. It breaks when
// none of them is left: the loss of a path loses nothing, and costs the time in which it is noticed.
//
// A message has a number, goes over the first path that has little to send, and is kept until the peer says
// that it has come. What went over a path that is lost goes once more over another. The peer puts messages in
// order again, and drops what comes twice.
//
// Beats go over every path, both ways. A path over which nothing comes for a while, while something does over
// another, counts as lost. If nothing comes over any of them, that is no matter of paths: whoever uses the
// bundle decides. The blade that made the bundle tries again and again to have all paths in it. What goes
// over a path is docs/formats/mirror.md. Thread: the vserver's loop.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "env/env.h"
#include "mirror/channel.h"

namespace perdure::mirror {

struct BundleOptions {
  env::Duration beat_interval = std::chrono::milliseconds(25);
  env::Duration silence_max = std::chrono::milliseconds(100);  // of a path, while another is heard
  env::Duration retry_interval = std::chrono::milliseconds(500);
  size_t busy_bytes = 512U << 10U;  // unsent: a path that has less takes more
};

class BundleCore;

// The end of a bundle that its paths are made at.
class BundleConnector final : public Connector {
 public:
  // Each makes channels over one path; the best one is the first. At least one, at most 16.
  BundleConnector(env::Env& env, std::vector<std::unique_ptr<Connector>> paths, BundleOptions options = {});
  ~BundleConnector() override;

  // A bundle, as soon as there is one path. What is left of an earlier one is not looked after any more. If
  // nothing ever came over that one: the first path that answers, plainly, as an older peer wants it.
  void connect(std::move_only_function<void(std::unique_ptr<Channel>)> done) override;

 private:
  struct Path {
    std::unique_ptr<Connector> connector;
    bool connecting = false;
    bool failed = false;  // since connect() was called
  };
  void attempt_missing();
  void attempted(size_t path, std::unique_ptr<Channel> channel);
  void retry();

  env::Env& env_;
  const BundleOptions options_;
  std::vector<Path> paths_;
  std::move_only_function<void(std::unique_ptr<Channel>)> done_;
  std::weak_ptr<BundleCore> core_;
  std::shared_ptr<bool> answered_;  // something came over the last bundle
  bool plain_ = false;              // nothing did: the peer may be one that knows of no bundles
  env::TimerId timer_{};
};

// One path needs no bundle.
std::unique_ptr<Connector> connector_over(env::Env& env, std::vector<std::unique_ptr<Connector>> paths,
                                          BundleOptions options = {});

// The other end: takes the paths that the peer makes, and gives bundles; and channels that are none, of a
// peer that has one path.
class BundleAcceptor {
 public:
  using Accepted = std::function<void(std::unique_ptr<Channel>)>;
  BundleAcceptor(env::Env& env, Accepted accepted, BundleOptions options = {});
  ~BundleAcceptor();

  void accept(std::unique_ptr<Channel> channel);

 private:
  struct State;
  const std::shared_ptr<State> state_;
};

}  // namespace perdure::mirror
