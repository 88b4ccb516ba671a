// The configuration: any text is read, or refused in words. The input is such a text; behind a byte of zero
// may come the options of the command line, one in each line.
#include "server/config.h"

#include "fuzz/fuzz.h"

namespace perdure::fuzz {

namespace {

std::string_view next_line(std::string_view& text) {
  const size_t end = std::min(text.find('\n'), text.size());
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

server::Overrides overrides_of(std::string_view text) {
  server::Overrides o;
  for (std::optional<std::string>* option : {&o.data, &o.durability, &o.log_path, &o.memory})
    if (const std::string_view line = next_line(text); !line.empty()) *option = std::string(line);
  while (!text.empty()) o.listen.emplace_back(next_line(text));
  return o;
}

}  // namespace

void fuzz(Bytes input) {
  std::string_view options = text_of(input);
  const size_t end = std::min(options.find('\0'), options.size());
  const std::string_view text = options.substr(0, end);
  options.remove_prefix(std::min(end + 1, options.size()));

  const Result<server::Config> config = server::parse_config(text, "perdure.toml", overrides_of(options));
  if (!config) {
    CHECK(!config.error().message.empty());
  } else {
    CHECK(config->slots_max > 0 && config->connections_max > 0 && config->io_bytes_max > 0);
    CHECK(config->lease_seconds > 0 && config->log_bytes % 4096 == 0);
  }
  const Result<uint64_t> bytes = server::parse_bytes(text);
  if (!bytes) return;
  const Result<uint64_t> again = server::parse_bytes(server::bytes_text(*bytes));
  CHECK(again && *again == *bytes);
}

}  // namespace perdure::fuzz
