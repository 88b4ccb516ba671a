// How a pair comes to be: the files of both blades, and the first configuration in the arbiter. Blocks: for
// commands.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace perdure::server {

// What `perdure cluster init` is told. Texts as they stand in the configuration.
struct PairSetup {
  std::string data;  // of this blade
  std::string name = "vserver", blade, peer;
  std::vector<std::string> listen, peer_listen;  // between the blades: of this one, and of the peer
  std::vector<std::string> arbiter;
  std::string arbiter_authority, arbiter_certificate, arbiter_key;
  std::vector<std::string> addresses;  // of the vserver
  uint16_t port = 2049;
  std::string durability = "disk";
  std::vector<std::string> clients;  // who may connect; empty: as it is
  std::string bundle;                // the file for the peer
};

// Makes this blade's data directory (or takes the one of a stopped server, whose data the pair keeps) a part
// of a pair that did not exist, and the bundle by which the peer joins. This blade becomes the first primary.
Result<void> init_pair(const PairSetup& setup);
// The other blade's data directory, which must not exist or be empty.
Result<void> join_pair(const std::string& bundle, const std::string& data);
// The stopped blade goes on alone with what it has, and the arbiter forgets the pair. Without `force` only
// the last primary can, and only without a mirror in sync.
Result<void> dissolve_pair(const std::string& data, bool force);

}  // namespace perdure::server
