// Instead of libFuzzer: gives a target the files that are named, and those in the directories that are named.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "fuzz/fuzz.h"

int main(int argc, char** argv) {
  namespace files = std::filesystem;
  std::vector<files::path> inputs;
  for (int i = 1; i < argc; ++i) {
    const files::path path = argv[i];
    if (!files::is_directory(path)) {
      inputs.push_back(path);
      continue;
    }
    for (const auto& entry : files::directory_iterator(path)) inputs.push_back(entry.path());
  }
  std::ranges::sort(inputs);
  for (const files::path& path : inputs) {
    std::ifstream file(path, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    if (!file) {
      std::fprintf(stderr, "cannot read %s\n", path.c_str());
      return 2;
    }
    // The last one that is named is the one that was too much.
    std::fprintf(stderr, "%s\n", path.c_str());
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  }
  std::printf("%zu inputs\n", inputs.size());
  return inputs.empty() ? 2 : 0;
}
