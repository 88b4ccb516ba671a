#include "bench/crash/action.h"

#include <fmt/format.h>

#include <sstream>
#include <string_view>

namespace perdure::bench {
namespace {

constexpr std::string_view kinds[] = {"create", "mkdir", "symlink", "link",     "rename",
                                      "remove", "rmdir", "write",   "truncate", "increment"};

std::string word(const std::string& path) {
  return path.empty() ? "-" : path;
}
std::string path_of(const std::string& word) {
  return word == "-" ? "" : word;
}

}  // namespace

std::string to_text(const Action& a) {
  return fmt::format("{} {} {} {} {} {}", kinds[static_cast<size_t>(a.kind)], word(a.path),
                     word(a.other_path), a.first, a.count, a.version);
}

std::optional<Action> action_from_text(const std::string& text) {
  std::istringstream words(text);
  std::string kind;
  Action a;
  if (!(words >> kind >> a.path >> a.other_path >> a.first >> a.count >> a.version)) return std::nullopt;
  a.path = path_of(a.path);
  a.other_path = path_of(a.other_path);
  for (size_t i = 0; i < std::size(kinds); ++i) {
    if (kind != kinds[i]) continue;
    a.kind = static_cast<Action::Kind>(i);
    return a;
  }
  return std::nullopt;
}

}  // namespace perdure::bench
