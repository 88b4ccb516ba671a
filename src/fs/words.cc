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

std::string acl_words(const AclRow& acl) {
  // By their bits in acemask4; a dot where there is none.
  constexpr std::string_view rights = "rwanNxDtT.......dcCoy", flags = "fdni...I";
  const auto letters = [](std::string& out, std::string_view of, uint32_t bits) {
    for (size_t i = 0; i < of.size(); ++i)
      if ((bits >> i & 1U) != 0) out += of[i];
  };
  std::string out;
  for (const AclRow::Entry& entry : acl.entries) {
    if (!out.empty()) out += ' ';
    out += entry.deny ? "D:" : "A:";
    letters(out, flags, entry.flags);
    switch (entry.who) {
      case AclRow::Who::owner:
        out += ":OWNER@:";
        break;
      case AclRow::Who::owner_group:
        out += ":GROUP@:";
        break;
      case AclRow::Who::everyone:
        out += ":EVERYONE@:";
        break;
      case AclRow::Who::user:
      case AclRow::Who::group:
        out += fmt::format("{}:{}:", entry.who == AclRow::Who::group ? "g" : "", entry.id);
        break;
    }
    letters(out, rights, entry.mask);
  }
  if (acl.flags != 0) out += fmt::format(" flags={:x}", acl.flags);
  return out.empty() ? "no entries" : out;
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
