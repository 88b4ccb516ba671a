// What was found on the server against the model. Pure: the tree comes from TreeReader or from a test.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bench/crash/action.h"
#include "bench/crash/block.h"
#include "bench/crash/model.h"

namespace perdure::bench {

struct FoundNode {
  FileType type = FileType::none;
  uint64_t fileid = 0;
  uint32_t links = 0;
  uint64_t size = 0;
  std::vector<BlockLabel> blocks;
  std::string target;
};
// By path, as in the model.
using FoundTree = std::map<std::string, FoundNode>;

struct Difference {
  enum class Kind : uint8_t {
    lost,         // what was acknowledged is not there
    resurrected,  // what was acknowledged as gone, or was never asked for, is there
    wrong,        // it is there, but not as it should be
  };
  Kind kind;
  std::string what;
};

// All differences. `pending` is an action that was sent and never answered: the server may have done it or
// not, so the tree may be as before or as after it (of a write, block by block).
std::vector<Difference> compare(const Model& model, const std::optional<Action>& pending,
                                const FoundTree& found);

// Counters: increments acknowledged to all workers, and sent but never answered.
std::optional<Difference> compare_counter(uint64_t counter, uint64_t acknowledged, uint64_t pending,
                                          uint64_t found);

}  // namespace perdure::bench
