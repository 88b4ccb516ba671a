#include <fmt/format.h>

#include <CLI/App.hpp>

#include "tools/commands.h"

namespace perdure::tools {

void add_version(CLI::App& app, int& status) {
  CLI::App* command = app.add_subcommand("version", "Prints the version.");
  command->callback([&status] {
    fmt::print("perdure {}\n", PERDURE_VERSION);
    status = 0;
  });
}

}  // namespace perdure::tools
