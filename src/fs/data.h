// Data: the contents of files.
#pragma once

#include "fs/file_system.h"

namespace perdure::fs {

class Data {
 public:
  Data(FileSystem&, store::BlockStore&) {}
  void restored() {}
};

}  // namespace perdure::fs
