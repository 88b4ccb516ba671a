#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "tools/commands.h"

int main(int count, char** arguments) {
  using namespace perdure::tools;
  CLI::App app("Perdure, a fault-tolerant NFS server.", "perdure");
  app.footer("'perdure COMMAND --help' describes a command.");
  app.require_subcommand(1);
  app.get_formatter()->column_width(34);
  int status = 0;
  add_bench(app, status);
  add_check(app, status);
  add_cluster(app, status);
  add_log(app, status);
  add_reload(app, status);
  add_serve(app, status);
  add_status(app, status);
  add_version(app, status);
  try {
    app.parse(count, arguments);
  } catch (const CLI::ParseError& problem) {
    return app.exit(problem) == 0 ? 0 : usage_status;
  }
  return status;
}
