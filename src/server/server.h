// The server process: one blade with its vserver, from the sockets on which clients connect to the files and
// devices that hold their data.
#pragma once

#include <vector>

#include "server/config.h"
#include "server/supervision.h"

namespace perdure::server {

// Serves until SIGTERM (or SIGINT, where it is not ignored) asks for a clean stop, or until it cannot go on.
// Reports through `supervision`: heartbeat() from its loop every Supervision::heartbeat_interval, ready()
// once clients are answered, stopping() when a clean stop begins. Takes over the `listening` sockets; they
// are non-blocking. What went wrong has been said as an error message when this returns anything but stopped:
// cannot_start if another try would fail as well (data directory locked, of another version, or damaged).
ExitStatus run_server(const Config& config, std::vector<int> listening, Supervision& supervision);

}  // namespace perdure::server
