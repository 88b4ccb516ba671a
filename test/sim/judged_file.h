// JudgedFile: a file of the server with its history (file_history.h): the requests that slots make of it,
// each judged when it is answered. A client's part is in it as well: what was written unstably is remembered
// until a COMMIT tells that it is stable; what may be lost is to be written again.
//
// A status that is returned is the request's: NFS4_OK, or NFS4ERR_NOSPC where that may be. Any other fails
// the world, unless the caller says that the file may be gone.
#pragma once

#include <string>
#include <vector>

#include "sim/client.h"
#include "sim/file_history.h"

namespace perdure::sim {

class JudgedFile {
 public:
  struct Range {
    uint64_t offset = 0;
    uint32_t length = 0;
  };
  JudgedFile(World& world, std::string name, const FileHandle& handle, bool may_be_full = false)
      : world_(world), name_(std::move(name)), handle_(handle), may_be_full_(may_be_full) {}

  Task<NfsStatus> write(Slot& slot, Stateid stateid, Range range, bench::StableHow how);
  Task<NfsStatus> truncate(Slot& slot, Stateid stateid, uint64_t size);
  // Length 0: to the end.
  Task<NfsStatus> commit(Slot& slot, Range range);
  Task<NfsStatus> read(Slot& slot, Stateid stateid, Range range);
  // Size and space. `quiet`: see FileHistory::judge_space().
  Task<NfsStatus> look(Slot& slot, bool quiet = false);
  // Nobody else does anything any more: COMMIT, and all that was ever written and its surroundings.
  Task<> check(Slot& slot);

  // What may have been lost since somebody asked last.
  std::vector<Range> take_lost() { return std::exchange(lost_, {}); }
  bool anything_unstable() const { return !unstable_.empty(); }

  const FileHandle& handle() const { return handle_; }
  const std::string& name() const { return name_; }
  uint64_t space_used() const { return space_used_; }  // when it was looked at last

 private:
  NfsStatus ended(const char* what, const Reply& reply);
  void judge(const std::string& wrong);
  void verifier_told(uint64_t asked, Range range, const Verifier& verifier);

  World& world_;
  const std::string name_;
  const FileHandle handle_;
  const bool may_be_full_;
  FileHistory history_;
  std::vector<uint32_t> unstable_;  // changes
  std::vector<Range> lost_;
  uint64_t space_used_ = 0;
};

}  // namespace perdure::sim
