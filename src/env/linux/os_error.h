// Which ErrorKind an errno is, for I/O on our own files.
#pragma once

#include <cerrno>

#include "base/result.h"

namespace perdure::env {

inline ErrorKind kind_of_errno(int error_number) {
  return error_number == ENOSPC || error_number == EDQUOT || error_number == EFBIG ? ErrorKind::no_space
                                                                                   : ErrorKind::io;
}

// How often an I/O is tried again that moved nothing: enough for any shortage that passes; then it is a
// failure.
constexpr unsigned retries_max = 100;

}  // namespace perdure::env
