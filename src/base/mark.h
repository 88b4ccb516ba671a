// PERDURE_MARK("name"): counts how often a rare branch is taken, so that the simulation can tell which ones
// its seeds never reach. One increment, of a counter that no other thread relies on. Only in functions that
// are neither templates nor inline.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>

namespace perdure {

struct Mark {
  const char* name;
  const char* file;
  int line;
  std::atomic<uint64_t> hits;

  void hit() { hits.store(hits.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed); }
};

// All marks of the program; none in a program without any.
std::span<Mark> marks();

}  // namespace perdure

// In a section of their own, of which the linker makes one array.
#define PERDURE_MARK(text)                                                                         \
  do {                                                                                             \
    __attribute__((section("perdure_marks"), used)) static constinit ::perdure::Mark perdure_mark{ \
        text, __FILE__, __LINE__, 0};                                                              \
    perdure_mark.hit();                                                                            \
  } while (false)
