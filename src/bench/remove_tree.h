// Removes a directory and all below it, with all slots of a client.
#pragma once

#include <string>

#include "bench/client.h"

namespace perdure::bench {

Result<void> remove_tree(Client& client, const FileHandle& parent, const std::string& name);

}  // namespace perdure::bench
