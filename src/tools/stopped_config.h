// The options of subcommands that look at the files of a data directory, and the configuration that follows.
#pragma once

#include <string>

#include "server/config.h"

namespace CLI {
class App;
}

namespace perdure::tools {

struct StoppedOptions {
  std::string data = "perdure-data";
  std::string config_path, log_path;
};

// DIR, --config, --log-path.
void add_stopped_options(CLI::App& command, StoppedOptions& options);

// As `perdure serve` would understand it, but nothing is made.
Result<server::Config> config_of_stopped(const StoppedOptions& options);

}  // namespace perdure::tools
