#include "fs/words.h"

#include <fmt/format.h>

namespace perdure::fs {

const char* type_name(FileType type) {
  switch (type) {
    case FileType::regular:
      return "file";
    case FileType::directory:
      return "directory";
    case FileType::block_device:
      return "block device";
    case FileType::character_device:
      return "character device";
    case FileType::symlink:
      return "symbolic link";
    case FileType::socket:
      return "socket";
    case FileType::fifo:
      return "FIFO";
  }
  return "object of an unknown type";
}

std::string printable(std::string_view name) {
  std::string out;
  for (const char c : name)
    out += c >= ' ' && c < 127 && c != '\\'
               ? std::string(1, c)
               : fmt::format("\\x{:02x}", static_cast<unsigned>(static_cast<unsigned char>(c)));
  return out;
}

}  // namespace perdure::fs
