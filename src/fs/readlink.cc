#include "fs/readlink.h"

namespace perdure::fs {

Outcome<std::string_view> readlink(FileSystem& fs, Run& run, InodeId id) {
  if (TRY(fs.load(run, id)).type != FileType::symlink) return Status::wrong_type;
  const SymlinkRow* row = TRY(fs.symlinks.get(run, {id}));
  if (row == nullptr) return Status::io_error;
  return std::string_view(row->target);
}

}  // namespace perdure::fs
