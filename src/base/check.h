// CHECK: for what can only be false if Perdure itself is wrong. Always on. A failed CHECK aborts the process,
// because restoration (or the mirror) from the log is safer than going on from a state that nobody has
// thought of.
#pragma once

namespace perdure {

// Prints `expression`, its place and the stack's cause to stderr and aborts.
[[noreturn]] void check_failed(const char* expression, const char* file, int line, const char* function);

}  // namespace perdure

#define CHECK(condition)                                                                           \
  do {                                                                                             \
    if (!(condition)) [[unlikely]]                                                                 \
      ::perdure::check_failed(#condition, __FILE__, __LINE__, static_cast<const char*>(__func__)); \
  } while (false)
