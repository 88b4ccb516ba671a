#include "fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  perdure::fuzz::fuzz(std::as_bytes(std::span(data, size)));
  return 0;
}
