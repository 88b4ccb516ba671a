// The names of users and groups that this machine knows (nsswitch.conf(5)): its files, a directory service.
// That may block for long, so it is asked on a thread of its own, one question after another.
#pragma once

#include <memory>

#include "nfs4/owner_names.h"

namespace perdure::server {

class SystemNames final : public nfs4::NameService {
 public:
  explicit SystemNames(env::Env& env);
  // Does not wait for the thread; nothing is answered any more.
  ~SystemNames() override;
  // Beyond some thousand questions that wait the next ones fail.
  void find_id(nfs4::OwnerKind kind, const std::string& name,
               env::Done<std::optional<uint32_t>> done) override;
  void find_name(nfs4::OwnerKind kind, uint32_t id, env::Done<std::optional<std::string>> done) override;

 private:
  struct Shared;
  const std::shared_ptr<Shared> shared_;
};

// What stands behind its names where the configuration does not say it: of this host's name what follows the
// first dot, or "localdomain", as NFS clients have it (idmapd.conf(5)).
std::string default_owner_domain();

}  // namespace perdure::server
