// Instead of libFuzzer, where there is no clang: gives a target the files that are named, and those in the
// directories that are named; then `--runs N` variations of them, drawn from a fixed seed, with the target's
// own mutator if it has one. Nothing guides it, so it finds less than libFuzzer; but it needs nothing. What
// ends the process is kept in the file "fuzz-crash".
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "fuzz/fuzz.h"

extern "C" {
__attribute__((weak)) size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t size_max,
                                                     unsigned int seed);
__attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)());
}

namespace {

using Input = std::vector<uint8_t>;

constexpr size_t input_bytes_max = 16384;
std::minstd_rand chance(1);  // NOLINT(bugprone-random-generator-seed): the same each time, on purpose
const Input* under_way = nullptr;

void keep_input() {
  if (under_way == nullptr) return;
  const int file = open("fuzz-crash", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  const ssize_t written = write(file, under_way->data(), under_way->size());
  close(file);
  static constexpr char said[] = "the input is kept in fuzz-crash\n";
  if (written >= 0) (void)!write(STDERR_FILENO, said, sizeof said - 1);
}

void run(const Input& input) {
  under_way = &input;
  LLVMFuzzerTestOneInput(input.data(), input.size());
  under_way = nullptr;
}

Input read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  Input input{std::istreambuf_iterator<char>(file), {}};
  if (!file) {
    std::fprintf(stderr, "cannot read %s\n", path.c_str());
    std::exit(2);
  }
  return input;
}

}  // namespace

// One small change.
extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t size_max) {
  static constexpr uint8_t bytes[] = {0, 1, 2, 4, 8, 16, 32, 64, 100, 127, 128, 255};
  if (size == 0) {
    if (size_max == 0) return 0;
    data[0] = static_cast<uint8_t>(chance());
    return 1;
  }
  const size_t at = chance() % size, n = std::min<size_t>(1 + chance() % 8, size - at);
  switch (chance() % 5) {
    case 0:
      data[at] = static_cast<uint8_t>(data[at] ^ (1U << chance() % 8));
      return size;
    case 1:
      data[at] = bytes[chance() % std::size(bytes)];
      return size;
    case 2:  // some bytes go
      std::copy(data + at + n, data + size, data + at);
      return size - n;
    case 3: {  // some come again
      if (size + n > size_max) return size;
      const Input copy(data + at, data + at + n);
      const size_t to = chance() % (size + 1);
      std::copy_backward(data + to, data + size, data + size + n);
      std::ranges::copy(copy, data + to);
      return size + n;
    }
    default: {  // some stand in another place, too
      const Input copy(data + at, data + at + n);
      const size_t to = chance() % size;
      std::copy_n(copy.begin(), std::min(n, size - to), data + to);
      return size;
    }
  }
}

namespace {

void vary(Input& input) {
  const size_t size = input.size();
  input.resize(input_bytes_max);
  if (LLVMFuzzerCustomMutator != nullptr)
    input.resize(LLVMFuzzerCustomMutator(input.data(), size, input.size(), static_cast<unsigned>(chance())));
  else
    input.resize(LLVMFuzzerMutate(input.data(), size, input.size()));
}

}  // namespace

int main(int argc, char** argv) {
  namespace files = std::filesystem;
  std::vector<files::path> paths;
  uint64_t runs = 0;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--runs" && i + 1 < argc) {
      const std::string_view number = argv[++i];
      std::from_chars(number.data(), number.data() + number.size(), runs);
    } else if (files::is_directory(argument)) {
      for (const auto& entry : files::directory_iterator(argument)) paths.push_back(entry.path());
    } else {
      paths.emplace_back(argument);
    }
  }
  std::ranges::sort(paths);
  std::signal(SIGABRT, [](int) {
    keep_input();
    std::signal(SIGABRT, SIG_DFL);
    std::raise(SIGABRT);
  });
  if (__sanitizer_set_death_callback != nullptr) __sanitizer_set_death_callback(keep_input);
  std::vector<Input> inputs;
  for (const files::path& path : paths) {
    // The last one that is named is the one that was too much.
    std::fprintf(stderr, "%s\n", path.c_str());
    run(inputs.emplace_back(read(path)));
  }
  for (uint64_t n = 0; n < runs && !inputs.empty(); ++n) {
    Input input = inputs[chance() % inputs.size()];
    for (uint64_t changes = 1 + chance() % 4; changes > 0; --changes) vary(input);
    run(input);
  }
  std::printf("%zu inputs, %llu variations\n", inputs.size(), static_cast<unsigned long long>(runs));
  return inputs.empty() ? 2 : 0;
}
