// Names: the name operations as a test writes them. Each call is a run of its own; what must succeed is
// CHECKed, and what may fail gives its Status.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "fs/access.h"
#include "fs/create.h"
#include "fs/lookup.h"
#include "fs/remove.h"
#include "fs/rename.h"
#include "fs/testing/fs_fixture.h"

namespace perdure {

inline void PrintTo(Status status, std::ostream* out) {
  *out << name(status);
}

}  // namespace perdure

namespace perdure::fs::testing {

template <class T>
Status status_of(const Outcome<T>& outcome) {
  return outcome ? Status::ok : outcome.error().status();
}

class Names {
 public:
  explicit Names(FsFixture& fixture, Principal who = FsFixture::superuser())
      : fx_(fixture), who_(std::move(who)) {}
  // The same fixture, seen by somebody else.
  Names as(uint32_t uid, uint32_t gid = 100) const { return Names(fx_, FsFixture::user(uid, gid)); }
  Names as(Principal who) const { return Names(fx_, std::move(who)); }

  Outcome<Created> create(InodeId directory, std::string_view name, const CreateRequest& request);
  // A new object, which must not fail.
  InodeId file(InodeId directory, std::string_view name, uint32_t mode = 0644);
  InodeId mkdir(InodeId directory, std::string_view name, uint32_t mode = 0755);
  InodeId symlink(InodeId directory, std::string_view name, std::string_view target = "target");
  InodeId make(FileType type, InodeId directory, std::string_view name, uint32_t mode);

  Status link(InodeId object, InodeId directory, std::string_view name);
  Status remove(InodeId directory, std::string_view name, RemoveKind kind = RemoveKind::any);
  Status rename(InodeId from_directory, std::string_view from, InodeId to_directory, std::string_view to);
  Outcome<Renamed> rename_outcome(InodeId from_directory, std::string_view from, InodeId to_directory,
                                  std::string_view to);
  Status set(InodeId id, const SetAttributes& set, SizeRight right = SizeRight::by_mode);
  Status release(InodeId id);

  Status lookup_status(InodeId directory, std::string_view name);
  InodeId find(InodeId directory, std::string_view name);  // 0 if there is none
  bool exists(InodeId id);
  InodeRow row(InodeId id);
  std::string target(InodeId id);
  Access access(InodeId id, uint32_t wanted);
  // All names, by readdir calls of `at_a_time` entries, in the order of their positions.
  std::vector<std::string> list(InodeId directory, size_t at_a_time = 1000);

  FsFixture& fixture() { return fx_; }

 private:
  FsFixture& fx_;
  Principal who_;
};

// What is wrong with the tree, by a walk over all rows: entries, types, link counts, sizes, parents, chains,
// orphans (but for those that are open), symlinks. Empty if all is well.
std::vector<std::string> check_names(FsFixture& fixture);
// What the server's own checker (fs/check.h) finds. Both must agree that all is well: they share no code.
std::vector<std::string> check_all(FsFixture& fixture);

}  // namespace perdure::fs::testing
