// A file or device opened for reading beside whoever uses it: no direct I/O, every call blocks, and a lock
// only if one is asked for. For tools that look at a server's files; a server reads through Env.
#pragma once

#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/result.h"

namespace perdure::env {

class PlainFile {
 public:
  static Result<std::unique_ptr<PlainFile>> open(const std::string& path);
  ~PlainFile();
  PlainFile(const PlainFile&) = delete;
  PlainFile& operator=(const PlainFile&) = delete;

  const std::string& path() const { return path_; }
  uint64_t size() const { return size_; }
  // Keeps those away who open it through an Env; `busy` if one has.
  Result<void> lock();
  // Fills `into`; `corrupt` if the file ends before.
  Result<void> read(uint64_t offset, MutableBytes into) const;

 private:
  PlainFile(std::string path, int descriptor, uint64_t size)
      : path_(std::move(path)), descriptor_(descriptor), size_(size) {}
  std::string path_;
  int descriptor_;
  uint64_t size_;
};

// The names in the directory that holds `path` survive a power cut. Blocks.
Result<void> sync_directory_of(const std::string& path);
// Gives the file at `from` the name `to`, in the same directory, so that it survives a power cut. Blocks.
Result<void> rename_durably(const std::string& from, const std::string& to);

}  // namespace perdure::env
