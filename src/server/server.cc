#include "server/server.h"

#include <spdlog/spdlog.h>

namespace perdure::server {

ExitStatus run_server(const Config&, std::vector<int>, Supervision&) {
  spdlog::error("this build has no server yet");
  return ExitStatus::cannot_start;
}

}  // namespace perdure::server
