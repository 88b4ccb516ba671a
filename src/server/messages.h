// What the server tells whoever runs it: lines on standard error, through spdlog's default logger.
#pragma once

#include <string>

namespace perdure::server {

// `level`: one of Config::log_level. Lines that go to systemd's journal carry no time and a level that it
// knows.
void set_up_messages(const std::string& level);

}  // namespace perdure::server
