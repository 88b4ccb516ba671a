#include "server/data_directory.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "server/config.h"

namespace perdure::server {
namespace files = std::filesystem;

Result<ConfigFile> config_of_directory(const std::string& directory) {
  std::error_code problem;
  files::path path = files::path(directory) / config_name;
  if (files::exists(path, problem)) return read_config_file(path);

  if (!files::exists(directory, problem)) {
    TRY(make_data_directory(directory));
  } else {
    bool empty = files::is_empty(directory, problem);
    if (problem) return error(ErrorKind::io, "cannot use {}: {}", directory, problem.message());
    if (!empty) {
      return error(
          ErrorKind::invalid,
          "{} is not a data directory: it is not empty and has no {}; name a new directory with --data, or a "
          "configuration with --config",
          directory, config_name);
    }
  }
  TRY(write_private_file(path, first_config_text()));
  return ConfigFile{path, std::string(first_config_text()), true};
}

Result<void> make_data_directory(const std::string& directory) {
  std::error_code problem;
  if (files::is_directory(directory, problem)) return {};
  files::path path = files::absolute(directory, problem).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();  // "data/"
  files::create_directories(path.parent_path(), problem);
  if (mkdir(path.c_str(), 0700) != 0)
    return error(ErrorKind::io, "cannot create {}: {}", directory, std::strerror(errno));
  return {};
}

Result<ConfigFile> read_config_file(const std::string& path) {
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return error(ErrorKind::not_found, "cannot read {}: {}", path, std::strerror(errno));
  ConfigFile file = {path, "", false};
  std::array<char, 4096> part;
  constexpr size_t bytes_max = 1U << 20U;
  ssize_t got = 0;
  while ((got = read(fd, part.data(), part.size())) > 0 && file.text.size() <= bytes_max)
    file.text.append(part.data(), static_cast<size_t>(got));
  int problem = errno;
  close(fd);
  if (got < 0) return error(ErrorKind::io, "cannot read {}: {}", path, std::strerror(problem));
  if (file.text.size() > bytes_max)
    return error(ErrorKind::invalid, "{} is too long for a configuration", path);
  return file;
}

Result<void> write_private_file(const std::string& path, std::string_view text) {
  std::string unfinished = path + ".new";
  int fd = open(unfinished.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  bool good =
      fd >= 0 && write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && fsync(fd) == 0;
  good = good && rename(unfinished.c_str(), path.c_str()) == 0;
  int problem = errno;
  if (fd >= 0) close(fd);
  if (!good) return error(ErrorKind::io, "cannot write {}: {}", path, std::strerror(problem));
  return {};
}

}  // namespace perdure::server
