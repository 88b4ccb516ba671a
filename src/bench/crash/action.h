// Action: one change that a worker of the crash test asks the server for, inside its own directory. It is
// written to the journal before it is sent and applied to the model when it was acknowledged.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace perdure::bench {

struct Action {
  enum class Kind : uint8_t {
    create,     // path: an empty file with the id `first`
    mkdir,      // path
    symlink,    // path, to other_path
    link,       // path, other_path is the new name
    rename,     // path, to other_path
    remove,     // path
    rmdir,      // path
    write,      // path: `count` blocks from `first` on get `version`
    truncate,   // path: to `first` blocks
    increment,  // the counter `first`
  };
  Kind kind = Kind::create;
  std::string path = {};
  std::string other_path = {};
  uint64_t first = 0;
  uint64_t count = 0;
  uint64_t version = 0;

  friend bool operator==(const Action&, const Action&) = default;
};

// One line of words without spaces, and back.
std::string to_text(const Action& action);
std::optional<Action> action_from_text(const std::string& text);

}  // namespace perdure::bench
