#include "tools/stopped_config.h"

#include <CLI/App.hpp>
#include <filesystem>

#include "server/data_directory.h"

namespace perdure::tools {

void add_stopped_options(CLI::App& command, StoppedOptions& options) {
  command.add_option("DIR", options.data, "Data directory (default perdure-data)");
  command.add_option("--config", options.config_path, "Configuration (default perdure.toml in DIR)")
      ->type_name("FILE");
  command.add_option("--log-path", options.log_path, "Log, if the server was started with this option")
      ->type_name("PATH");
}

Result<server::Config> config_of_stopped(const StoppedOptions& options) {
  std::error_code problem;
  if (!std::filesystem::is_directory(options.data, problem))
    return error(ErrorKind::not_found, "{} is not a directory", options.data);
  server::ConfigFile file{options.data + "/" + server::config_name, "", false};
  if (!options.config_path.empty())
    file = TRY(server::read_config_file(options.config_path));
  else if (std::filesystem::exists(file.path, problem))
    file = TRY(server::read_config_file(file.path));
  server::Overrides overrides;
  overrides.data = options.data;
  if (!options.log_path.empty()) overrides.log_path = options.log_path;
  return server::parse_config(file.text, file.path, overrides);
}

}  // namespace perdure::tools
