#include "server/vserver_replica.h"

namespace perdure::server {

VserverReplica::VserverReplica(env::Env& env, Vserver::Parts parts, VserverOptions options,
                               std::move_only_function<void(Error)> failed)
    : env_(env), parts_(std::move(parts)), options_(std::move(options)), failed_(std::move(failed)) {
  options_.paired = true;
  auto blocks = std::make_unique<mirror::MirroredBlocks>(std::move(parts_.blocks));
  blocks_ = blocks.get();
  parts_.blocks = std::move(blocks);
}

void VserverReplica::load(log::LogRing::Wanted wanted, env::Done<void> done) {
  CHECK(vserver_ == nullptr && parts_.ring != nullptr);
  Vserver::load(
      env_, std::move(parts_), options_, std::move(failed_),
      [this, done = std::move(done)](Result<std::unique_ptr<Vserver>> loaded) mutable {
        if (!loaded) return done(std::move(loaded).error());
        vserver_ = std::move(*loaded);
        done({});
      },
      std::move(wanted));
}

}  // namespace perdure::server
