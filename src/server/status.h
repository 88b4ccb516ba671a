// What a running server says of itself to `perdure status`, and does when `perdure cluster` asks: over a Unix
// socket in the data directory. A question is a line; the answer is one JSON object, and the end.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/result.h"

namespace asio {
class io_context;
}

namespace perdure::server {

class Vserver;

inline constexpr const char* control_socket_name = "control.sock";

// The vserver's figures, once it serves. Every number is named with its unit.
nlohmann::json status_json(Vserver& vserver);
// Of one that follows a primary, once it is loaded.
nlohmann::json standby_json(Vserver& vserver);

// Answers each question that comes over the socket at `path`. Only the owner of the data directory can
// connect.
class ControlSocket {
 public:
  using Answer = std::function<std::string(const std::string& question)>;
  static Result<std::unique_ptr<ControlSocket>> open(asio::io_context& context, const std::string& path,
                                                     Answer answer);
  ~ControlSocket();
  ControlSocket(const ControlSocket&) = delete;
  ControlSocket& operator=(const ControlSocket&) = delete;

 private:
  struct Impl;
  explicit ControlSocket(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

inline constexpr const char* status_question = "status";
// Of a pair: the mirror becomes the primary. Either blade may be asked; it has begun when the answer comes.
inline constexpr const char* switchover_question = "switchover";
// To read the configuration file again, and export what it says.
inline constexpr const char* reload_question = "reload";

// What the server on the data directory answers; not_found if none is running there. Blocks.
Result<std::string> ask_server(const std::string& data_directory, const std::string& question);

}  // namespace perdure::server
