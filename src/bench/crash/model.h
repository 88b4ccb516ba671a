// Model: what a worker's directory must hold, by what the server has acknowledged. Paths are relative to the
// worker's directory, which is "" itself. A file with several links is one node under several paths.
//
// Beside that a node carries what the client knows while it works (handle, change attribute, open); the
// journal does not hold it, and a comparison does not need it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bench/crash/action.h"
#include "bench/nfs.h"

namespace perdure::bench {

struct Node {
  FileType type = FileType::none;
  uint64_t id = 0;                 // of a file: what its blocks say
  uint32_t links = 0;              // of a file
  std::vector<uint64_t> versions;  // of each block of a file; 0: never written, reads as zeros
  std::string target;              // of a symbolic link

  FileHandle fh;
  uint64_t change = 0;  // 0: not known
  bool is_open = false;
  Stateid open;
};
using NodeRef = std::shared_ptr<Node>;

std::string parent_of(const std::string& path);
std::string_view name_of(const std::string& path);

class Model {
 public:
  Model();
  Model(Model&&) = default;
  Model& operator=(Model&&) = default;
  // With nodes of its own.
  Model copy() const;

  // Whether the server would do it, by what is there: names exist or not, of the right type.
  bool possible(const Action& action) const;
  // What was acknowledged. It must be possible().
  void apply(const Action& action);

  const std::map<std::string, NodeRef>& nodes() const { return nodes_; }
  NodeRef find(const std::string& path) const;
  bool has_children(const std::string& directory) const;
  std::vector<std::string> paths(FileType type) const;  // the worker's directory is not among them
  // How often each counter was incremented.
  const std::map<uint64_t, uint64_t>& increments() const { return increments_; }

 private:
  void rename(const std::string& from, const std::string& to);
  void drop_name(const std::string& path);

  std::map<std::string, NodeRef> nodes_;
  std::map<uint64_t, uint64_t> increments_;
};

}  // namespace perdure::bench
