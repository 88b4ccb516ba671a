// Whole operations for what is not measured to the microsecond: setting up, checking, tidying away. Each is
// one COMPOUND with the status of its first operation that failed.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "bench/client.h"

namespace perdure::bench {

struct OpenFile {
  FileHandle fh;
  Stateid stateid;
  Attributes attributes;
};

Task<NfsStatus> lookup(Slot& slot, FileHandle directory, std::string_view name, FileHandle& fh,
                       Attributes& attributes);
Task<NfsStatus> getattr(Slot& slot, FileHandle fh, Attributes& attributes);
Task<NfsStatus> mkdir(Slot& slot, FileHandle directory, std::string_view name, FileHandle& fh);
Task<NfsStatus> remove(Slot& slot, FileHandle directory, std::string_view name);
Task<NfsStatus> create(Slot& slot, FileHandle directory, std::string_view name, std::string_view owner,
                       CreateMode how, OpenFile& file);
Task<NfsStatus> close(Slot& slot, const OpenFile& file);
// Writes `length` bytes of the pattern. `verifier` is the write verifier.
Task<NfsStatus> write_pattern(Slot& slot, const OpenFile& file, uint64_t offset, uint32_t length,
                              StableHow stable, uint64_t key, Verifier& verifier);
Task<NfsStatus> commit(Slot& slot, FileHandle fh, Verifier& verifier);
// Reads and compares; `good` says whether all was there and as expected.
Task<NfsStatus> check_pattern(Slot& slot, FileHandle fh, uint64_t offset, uint32_t length, uint64_t key,
                              bool& good);

struct DirectoryEntry {
  std::string name;
  Attributes attributes;
};
// The whole directory.
Task<NfsStatus> read_directory(Slot& slot, FileHandle directory, std::vector<DirectoryEntry>& entries);

// Whether `status` only asks for patience. Then the wait is over when this returns.
Task<bool> wait_and_repeat(Slot& slot, NfsStatus status);

}  // namespace perdure::bench
