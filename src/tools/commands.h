// The subcommands of `perdure`, each in its own file cmd_NAME.cc. Such a function adds its subcommand to
// `app`; what the subcommand's callback assigns to `status` is the exit status of the process.
#pragma once

namespace CLI {
class App;
}

namespace perdure::tools {

void add_bench(CLI::App& app, int& status);
void add_cluster(CLI::App& app, int& status);
void add_check(CLI::App& app, int& status);
void add_log(CLI::App& app, int& status);
void add_reload(CLI::App& app, int& status);
void add_serve(CLI::App& app, int& status);
void add_status(CLI::App& app, int& status);
void add_version(CLI::App& app, int& status);

// Exit status for a command line that cannot be used.
inline constexpr int usage_status = 2;

}  // namespace perdure::tools
