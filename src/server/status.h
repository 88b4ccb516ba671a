// What a running server says of itself to `perdure status`: one JSON object, over a Unix socket in the data
// directory.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/result.h"

namespace asio {
class io_context;
}

namespace perdure::server {

class Vserver;

inline constexpr const char* status_socket_name = "status.sock";

// The vserver's figures, on its loop. Every number is named with its unit.
std::string status_json(Vserver& vserver);

// Answers each connection to the socket at `path` with what `text` gives, and closes it. Only the owner of
// the data directory can connect.
class StatusSocket {
 public:
  static Result<std::unique_ptr<StatusSocket>> open(asio::io_context& context, const std::string& path,
                                                    std::function<std::string()> text);
  ~StatusSocket();
  StatusSocket(const StatusSocket&) = delete;
  StatusSocket& operator=(const StatusSocket&) = delete;

 private:
  struct Impl;
  explicit StatusSocket(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

// What the server on the data directory answers; not_found if none is running there. Blocks.
Result<std::string> ask_status(const std::string& data_directory);

}  // namespace perdure::server
