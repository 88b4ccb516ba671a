// The data directory: where everything of a blade stands that has no place of its own in the configuration.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace perdure::server {

inline constexpr const char* config_name = "perdure.toml";

struct ConfigFile {
  std::string path;
  std::string text;
  bool is_new = false;  // written just now
};

// The configuration in the data directory `directory`. Makes the directory (for its owner alone) and
// first_config_text() in it where there is none yet; a directory that holds something else is an error, and
// left as it is.
Result<ConfigFile> config_of_directory(const std::string& directory);

// For its owner alone, with all directories above it. Nothing happens if it is there.
Result<void> make_data_directory(const std::string& directory);

Result<ConfigFile> read_config_file(const std::string& path);

// For its owner alone; complete under its name, or not there.
Result<void> write_private_file(const std::string& path, std::string_view text);

}  // namespace perdure::server
