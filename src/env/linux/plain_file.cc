#include "env/plain_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <system_error>
#include <thread>

namespace perdure::env {

namespace {

Error failure(const std::string& path, const char* what) {
  const int number = errno;
  return error(number == ENOENT ? ErrorKind::not_found : ErrorKind::io, "{}: {}: {}", path, what,
               std::generic_category().message(number));
}

}  // namespace

Result<std::unique_ptr<PlainFile>> PlainFile::open(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return failure(path, "open");
  const off_t size = ::lseek(descriptor, 0, SEEK_END);  // a device's, too
  if (size < 0) {
    const Error problem = failure(path, "seek");
    ::close(descriptor);
    return problem;
  }
  return std::unique_ptr<PlainFile>(new PlainFile(path, descriptor, static_cast<uint64_t>(size)));
}

PlainFile::~PlainFile() {
  ::close(descriptor_);
}

Result<void> PlainFile::lock() {
  // As in linux_file.cc: a process that was killed keeps its lock until what it had under way has ended.
  constexpr auto patience = std::chrono::seconds(3);
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (::flock(descriptor_, LOCK_SH | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return failure(path_, "lock");
    if (std::chrono::steady_clock::now() > deadline)
      return error(ErrorKind::busy, "{}: in use by another process", path_);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return {};
}

Result<void> PlainFile::read(uint64_t offset, MutableBytes into) const {
  while (!into.empty()) {
    const ssize_t n = ::pread(descriptor_, into.data(), into.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failure(path_, "read");
    if (n == 0) return error(ErrorKind::corrupt, "{} ends at {}", path_, offset);
    into = into.subspan(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return {};
}

Result<void> sync_directory_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const int descriptor = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return failure(directory, "open");
  Result<void> result;
  if (::fsync(descriptor) != 0) result = failure(directory, "fsync");
  ::close(descriptor);
  return result;
}

Result<void> rename_durably(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) return failure(from, "rename");
  return sync_directory_of(to);
}

}  // namespace perdure::env
