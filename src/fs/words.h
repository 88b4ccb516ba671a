// Types and names in words, for messages.
#pragma once

#include <string>

#include "fs/rows.h"

namespace perdure::fs {

// "file", "directory", "symbolic link".
const char* type_name(FileType type);
// "A:fdi:OWNER@:rwx D:g:1000:w": type, flags, whom and what, in the letters of nfs4-acl-tools.
std::string acl_words(const AclRow& acl);
// With "\x0a" for what is not printable.
std::string printable(std::string_view name);

}  // namespace perdure::fs
