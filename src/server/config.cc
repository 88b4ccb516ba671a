#include "server/config.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <ranges>
#include <span>
#include <utility>

// toml++ aborts at some texts that are not TOML ("x = [[1],!{a = 2}]"), unless its assertions do something
// else.
namespace {
struct TomlAssertion {};
}  // namespace
#define TOML_ASSERT(condition) ((condition) ? void() : throw TomlAssertion())
#define TOML_EXCEPTIONS 1
#pragma GCC diagnostic push
// In functions that must not throw they still abort; g++ calls that -Wterminate, and clang -Wexceptions.
#pragma GCC diagnostic ignored "-Wpragmas"
#pragma GCC diagnostic ignored "-Wunknown-warning-option"
#pragma GCC diagnostic ignored "-Wterminate"
#pragma GCC diagnostic ignored "-Wexceptions"
// It also takes for unreachable what some letters reach ("x = \u015A"), where it asks what kind of letter
// they are: the answer must be no.
#include <toml++/impl/forward_declarations.h>
#pragma push_macro("TOML_UNREACHABLE")
#undef TOML_UNREACHABLE
#define TOML_UNREACHABLE return false
#include <toml++/impl/unicode.h>
#pragma pop_macro("TOML_UNREACHABLE")
#include <toml++/toml.h>
#pragma GCC diagnostic pop

namespace perdure::server {
namespace {

namespace files = std::filesystem;
constexpr uint64_t mebibyte = 1ULL << 20U;

// ---- values: from what stands in the file to what stands in the Config

Result<void> wrong(std::string_view expected) {
  return error(ErrorKind::invalid, "must be {}", expected);
}

Result<void> set_bool(bool& value, const toml::node& node) {
  if (!node.is_boolean()) return wrong("true or false");
  value = *node.value<bool>();
  return {};
}

Result<void> set_text(std::string& value, const toml::node& node) {
  auto text = node.value_exact<std::string>();
  if (!text || text->empty()) return wrong("a text that is not empty");
  value = *text;
  return {};
}

Result<void> set_domain(std::string& value, const toml::node& node) {
  constexpr size_t bytes_max = 255;
  const auto is_fine = [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '.' || c == '-' || c == '_';
  };
  auto text = node.value_exact<std::string>();
  if (!text || text->size() > bytes_max || !std::ranges::all_of(*text, is_fine))
    return wrong("the name of a domain, or empty");
  value = *text;
  return {};
}

template <class Number>
Result<void> set_number(Number& value, const toml::node& node, uint64_t least, uint64_t most) {
  auto number = node.value_exact<int64_t>();
  if (!number || *number < 0 || static_cast<uint64_t>(*number) < least ||
      static_cast<uint64_t>(*number) > most)
    return error(ErrorKind::invalid, "must be a number from {} to {}", least, most);
  value = static_cast<Number>(*number);
  return {};
}

template <class Number>
Result<void> set_bytes(Number& value, const toml::node& node, uint64_t least, uint64_t most) {
  std::optional<uint64_t> bytes;
  if (auto number = node.value_exact<int64_t>(); number && *number >= 0)
    bytes = static_cast<uint64_t>(*number);
  if (auto text = node.value_exact<std::string>()) bytes = TRY(parse_bytes(*text));
  if (!bytes || *bytes < least || *bytes > most || *bytes % 4096 != 0)
    return error(ErrorKind::invalid, "must be a size from {} to {}, a multiple of 4 KiB, such as \"256MiB\"",
                 bytes_text(least), bytes_text(most));
  value = static_cast<Number>(*bytes);
  return {};
}

template <class Value>
Result<void> set_choice(Value& value, const toml::node& node,
                        std::initializer_list<std::pair<std::string_view, Value>> choices) {
  auto text = node.value_exact<std::string>();
  std::string all;
  for (const auto& [name, meaning] : choices) {
    if (text && *text == name) {
      value = meaning;
      return {};
    }
    all += fmt::format("{}\"{}\"", all.empty() ? "" : ", ", name);
  }
  return error(ErrorKind::invalid, "must be one of {}", all);
}

// A list of texts, each as `parse` reads it.
template <class Item>
Result<void> set_list(std::vector<Item>& items, const toml::node& node,
                      Result<Item> (*parse)(std::string_view), bool may_be_empty = false) {
  const toml::array* list = node.as_array();
  if (list == nullptr || (list->empty() && !may_be_empty))
    return wrong(may_be_empty ? "a list of texts" : "a list of texts that is not empty");
  items.clear();
  for (const toml::node& element : *list) {
    auto text = element.value_exact<std::string>();
    if (!text) return wrong("a list of texts");
    items.push_back(TRY(parse(*text)));
  }
  return {};
}

Result<void> set_durability(Durability& value, const toml::node& node) {
  return set_choice<Durability>(value, node,
                                {{"disk", Durability::disk},
                                 {"memory", Durability::memory},
                                 {"mirror", Durability::mirror},
                                 {"disk+mirror", Durability::disk_and_mirror}});
}

// Names of pairs and blades: they stand in certificates, and in the arbiter's key.
Result<void> set_name(std::string& value, const toml::node& node) {
  auto text = node.value_exact<std::string>();
  constexpr size_t longest = 64;
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  };
  if (!text || text->empty() || text->size() > longest || !std::ranges::all_of(*text, fits))
    return wrong("a name of at most 64 letters, digits, '-', '_' and '.'");
  value = *text;
  return {};
}

Result<void> set_milliseconds(std::chrono::milliseconds& value, const toml::node& node) {
  int64_t number = 0;
  TRY(set_number(number, node, 1, 60'000));
  value = std::chrono::milliseconds(number);
  return {};
}

Result<std::string> parse_url(std::string_view text) {
  if (!text.starts_with("http://") && !text.starts_with("https://"))
    return error(ErrorKind::invalid, "'{}' is not a URL, as in https://192.0.2.3:2379", text);
  while (text.ends_with('/')) text.remove_suffix(1);
  return std::string(text);
}

// An absolute path in its plainest form.
bool is_plain_path(std::string_view text) {
  constexpr size_t name_bytes_max = 255, path_bytes_max = 1024;
  const auto good = [](std::string_view name) {
    return !name.empty() && name != "." && name != ".." && name.size() <= name_bytes_max &&
           name.find('\0') == std::string_view::npos;
  };
  bool fine = text.starts_with('/') && text.size() <= path_bytes_max;
  if (fine && text != "/")
    for (const auto part : std::views::split(text.substr(1), '/'))
      fine = fine && good(std::string_view(part.begin(), part.end()));
  return fine;
}

Result<void> set_export_path(std::string& value, const toml::node& node) {
  auto text = node.value_exact<std::string>();
  if (!text || !is_plain_path(*text))
    return wrong("a path such as \"/\" or \"/home\", without '.', '..' and a slash at the end");
  value = *text;
  return {};
}

// "server.example.org:/srv/data", "192.0.2.1:/", "[2001:db8::1]:/".
Result<Location> parse_location(std::string_view text) {
  const size_t colon = text.find(":/");
  std::string_view server = text.substr(0, colon);
  if (server.starts_with('[') && server.ends_with(']')) server = server.substr(1, server.size() - 2);
  const bool fine =
      colon != std::string_view::npos && !server.empty() && server.size() <= 255 &&
      is_plain_path(text.substr(colon + 1)) &&
      std::ranges::all_of(server, [](unsigned char c) { return c > ' ' && c < 127 && c != '/'; });
  if (!fine)
    return error(ErrorKind::invalid, "'{}' is not a server and a path, as in files.example.org:/srv/data",
                 text);
  return Location{std::string(server), std::string(text.substr(colon + 1))};
}

// Of a volume, as fs/ and the user can take it.
Result<void> set_volume(std::string& value, const toml::node& node) {
  auto text = node.value_exact<std::string>();
  constexpr size_t longest = 255;
  if (!text || text->empty() || text->size() > longest || text->starts_with('.') ||
      text->find('/') != std::string::npos || text->find('\0') != std::string::npos)
    return wrong("the name of a volume: without '/', and not with '.' at the beginning");
  value = *text;
  return {};
}

// ---- the keys

struct Key {
  std::string_view section, name;
  Result<void> (*set)(Config&, const toml::node&);
};

constexpr uint64_t any = std::numeric_limits<int64_t>::max();
constexpr uint64_t year_seconds = 365ULL * 86'400;

// Every key there is. test/check/documented.py reads this table too.
constexpr Key keys[] = {
    {"server", "data", [](Config& c, const toml::node& n) { return set_text(c.data, n); }},
    {"server", "listen",
     [](Config& c, const toml::node& n) { return set_list(c.listen, n, &parse_address); }},
    {"server", "memory_bytes",
     [](Config& c, const toml::node& n) { return set_bytes(c.memory_bytes, n, 128 * mebibyte, any); }},
    {"server", "guardian", [](Config& c, const toml::node& n) { return set_bool(c.guardian, n); }},
    {"server", "start_seconds",
     [](Config& c, const toml::node& n) { return set_number(c.start_seconds, n, 0, year_seconds); }},
    {"server", "hang_seconds",
     [](Config& c, const toml::node& n) { return set_number(c.hang_seconds, n, 0, year_seconds); }},
    {"server", "stop_seconds",
     [](Config& c, const toml::node& n) { return set_number(c.stop_seconds, n, 1, year_seconds); }},
    {"server", "crashes_max",
     [](Config& c, const toml::node& n) { return set_number(c.crashes_max, n, 0, 1'000'000); }},
    {"server", "crash_seconds",
     [](Config& c, const toml::node& n) { return set_number(c.crash_seconds, n, 1, year_seconds); }},

    {"vserver", "durability", [](Config& c, const toml::node& n) { return set_durability(c.durability, n); }},
    {"vserver", "log_path", [](Config& c, const toml::node& n) { return set_text(c.log_path, n); }},
    {"vserver", "log_bytes",
     [](Config& c, const toml::node& n) { return set_bytes(c.log_bytes, n, 64 * mebibyte, 1ULL << 44U); }},
    {"vserver", "block_path", [](Config& c, const toml::node& n) { return set_text(c.block_path, n); }},
    {"vserver", "blocks_bytes_max",
     [](Config& c, const toml::node& n) { return set_bytes(c.blocks_bytes_max, n, 0, any); }},
    {"vserver", "blocks_step_bytes",
     [](Config& c, const toml::node& n) { return set_bytes(c.blocks_step_bytes, n, mebibyte, 1ULL << 40U); }},
    {"vserver", "delegations", [](Config& c, const toml::node& n) { return set_bool(c.delegations, n); }},
    {"vserver", "owner_domain", [](Config& c, const toml::node& n) { return set_domain(c.owner_domain, n); }},
    {"vserver", "owner_names", [](Config& c, const toml::node& n) { return set_bool(c.owner_names, n); }},
    {"vserver", "lease_seconds",
     [](Config& c, const toml::node& n) { return set_number(c.lease_seconds, n, 5, 3600); }},
    {"vserver", "courtesy_seconds",
     [](Config& c, const toml::node& n) { return set_number(c.courtesy_seconds, n, 0, 31'536'000); }},
    {"vserver", "checkpoint_records_max",
     [](Config& c, const toml::node& n) {
       return set_number(c.checkpoint_records_max, n, 100, 1'000'000'000);
     }},
    {"vserver", "checkpoint_bytes_max",
     [](Config& c, const toml::node& n) {
       return set_bytes(c.checkpoint_bytes_max, n, mebibyte, 1ULL << 40U);
     }},

    {"pair", "name", [](Config& c, const toml::node& n) { return set_name(c.pair->name, n); }},
    {"pair", "blade", [](Config& c, const toml::node& n) { return set_name(c.pair->blade, n); }},
    {"pair", "peer", [](Config& c, const toml::node& n) { return set_name(c.pair->peer, n); }},
    {"pair", "listen",
     [](Config& c, const toml::node& n) { return set_list(c.pair->listen, n, &parse_address); }},
    {"pair", "peer_addresses",
     [](Config& c, const toml::node& n) { return set_list(c.pair->peer_addresses, n, &parse_address); }},
    {"pair", "arbiter", [](Config& c, const toml::node& n) { return set_list(c.pair->arbiter, n, &parse_url); }},
    {"pair", "arbiter_authority",
     [](Config& c, const toml::node& n) { return set_text(c.pair->arbiter_authority, n); }},
    {"pair", "arbiter_certificate",
     [](Config& c, const toml::node& n) { return set_text(c.pair->arbiter_certificate, n); }},
    {"pair", "arbiter_key", [](Config& c, const toml::node& n) { return set_text(c.pair->arbiter_key, n); }},
    {"pair", "certificates", [](Config& c, const toml::node& n) { return set_text(c.pair->certificates, n); }},
    {"pair", "addresses",
     [](Config& c, const toml::node& n) { return set_list(c.pair->addresses, n, &parse_vserver_address); }},
    {"pair", "port", [](Config& c, const toml::node& n) { return set_number(c.pair->port, n, 1, 65'535); }},
    {"pair", "beacon_ms", [](Config& c, const toml::node& n) { return set_milliseconds(c.pair->beacon, n); }},
    {"pair", "lease_ms", [](Config& c, const toml::node& n) { return set_milliseconds(c.pair->lease, n); }},
    {"pair", "takeover_ms", [](Config& c, const toml::node& n) { return set_milliseconds(c.pair->takeover, n); }},
    {"pair", "drop_ms", [](Config& c, const toml::node& n) { return set_milliseconds(c.pair->drop, n); }},
    {"pair", "stall_ms", [](Config& c, const toml::node& n) { return set_milliseconds(c.pair->stall, n); }},

    {"export", "path", [](Config& c, const toml::node& n) { return set_export_path(c.exports.back().path, n); }},
    {"export", "volume", [](Config& c, const toml::node& n) { return set_volume(c.exports.back().volume, n); }},
    {"export", "read_only", [](Config& c, const toml::node& n) { return set_bool(c.exports.back().read_only, n); }},
    {"export", "squash",
     [](Config& c, const toml::node& n) {
       return set_choice<Squash>(c.exports.back().squash, n,
                                 {{"none", Squash::none}, {"root", Squash::root}, {"all", Squash::all}});
     }},
    {"export", "anonymous_uid",
     [](Config& c, const toml::node& n) {
       return set_number(c.exports.back().anonymous_uid, n, 0, UINT32_MAX - 1);
     }},
    {"export", "anonymous_gid",
     [](Config& c, const toml::node& n) {
       return set_number(c.exports.back().anonymous_gid, n, 0, UINT32_MAX - 1);
     }},
    {"export", "locations",
     [](Config& c, const toml::node& n) {
       return set_list(c.exports.back().locations, n, &parse_location, true);
     }},
    {"export", "clients",
     [](Config& c, const toml::node& n) { return set_list(c.exports.back().clients, n, &Network::parse); }},

    {"limits", "connections_max",
     [](Config& c, const toml::node& n) { return set_number(c.connections_max, n, 1, 100'000); }},
    {"limits", "clients_max",
     [](Config& c, const toml::node& n) { return set_number(c.clients_max, n, 1, 1'000'000); }},
    {"limits", "sessions_max",
     [](Config& c, const toml::node& n) { return set_number(c.sessions_max, n, 1, 1024); }},
    {"limits", "opens_max",
     [](Config& c, const toml::node& n) { return set_number(c.opens_max, n, 1, 100'000'000); }},
    {"limits", "locks_max",
     [](Config& c, const toml::node& n) { return set_number(c.locks_max, n, 1, 100'000'000); }},
    {"limits", "delegations_max",
     [](Config& c, const toml::node& n) { return set_number(c.delegations_max, n, 0, 10'000'000); }},
    {"limits", "slots_max",
     [](Config& c, const toml::node& n) { return set_number(c.slots_max, n, 1, 1024); }},
    {"limits", "slots_total",
     [](Config& c, const toml::node& n) { return set_number(c.slots_total, n, 1, 100'000'000); }},
    {"limits", "io_bytes_max",
     [](Config& c, const toml::node& n) { return set_bytes(c.io_bytes_max, n, 4096, 4 * mebibyte); }},
    {"limits", "request_seconds",
     [](Config& c, const toml::node& n) { return set_number(c.request_seconds, n, 1, 3600); }},

    {"log", "level",
     [](Config& c, const toml::node& n) {
       return set_choice<std::string>(
           c.log_level, n,
           {{"debug", "debug"}, {"info", "info"}, {"warning", "warning"}, {"error", "error"}});
     }},
};

// ---- unknown names, and what was meant

// Insertions, removals and replacements of one character that make `a` into `b` (Levenshtein).
size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row[b.size()];
}

std::string meant(std::string_view name, std::span<const std::string_view> known) {
  auto best =
      std::ranges::min_element(known, {}, [&](std::string_view other) { return distance(name, other); });
  if (best == known.end() || distance(name, *best) > 2 + name.size() / 8) return "";
  return fmt::format("; did you mean '{}'?", *best);
}

Error unknown_key(std::string_view section, std::string_view name) {
  std::vector<std::string_view> known;
  for (const Key& key : keys) {
    if (key.section == section)
      known.push_back(key.name);
    else if (key.name == name)
      return error(ErrorKind::invalid, "unknown key '{}' in [{}]; it belongs into [{}]", name, section,
                   key.section);
  }
  return error(ErrorKind::invalid, "unknown key '{}' in [{}]{}", name, section, meant(name, known));
}

// ---- the file

Export default_export() {
  Export e;
  e.clients = {*Network::parse("127.0.0.0/8"), *Network::parse("::1")};
  return e;
}

// "/" has the volume that every new server makes; "/srv/data" one of the name "srv.data".
std::string volume_of_path(const std::string& path) {
  if (path == "/") return "volume1";
  std::string name = path.substr(1);
  std::ranges::replace(name, '/', '.');
  return name;
}

class Parser {
 public:
  Parser(Config& config, std::string file) : config_(config), file_(std::move(file)) {}

  Result<void> parse(std::string_view text) {
    toml::table table;
    try {
      table = toml::parse(text, file_);
    } catch (const toml::parse_error& e) {
      return failed(e.source().begin.line, std::string(e.description()));
    } catch (const TomlAssertion&) {
      return error(ErrorKind::invalid, "{}: this is not TOML", file_);
    }
    for (const auto& [name, node] : table) {
      size_t line = name.source().begin.line;
      if (name == "export") {
        TRY(exports(node, line));
        continue;
      }
      static constexpr std::string_view sections[] = {"server", "vserver", "pair", "export", "limits", "log"};
      if (std::ranges::find(sections, name.str()) == std::end(sections))
        return failed(line,
                      fmt::format("unknown section or key '{}'{}", name.str(), meant(name.str(), sections)));
      if (!node.is_table())
        return failed(line, fmt::format("'{}' must be a section: [{}]", name.str(), name.str()));
      if (name == "pair") config_.pair.emplace();
      TRY(section(name.str(), *node.as_table()));
    }
    return {};
  }
  bool has(std::string_view section, std::string_view name) const {
    return lines_.contains(fmt::format("{}.{}", section, name));
  }

  // For what is wrong only together: the place of a key, if it stands in the file.
  Error failed_at(std::string_view section, std::string_view name, const std::string& problem) const {
    auto line = lines_.find(fmt::format("{}.{}", section, name));
    if (line != lines_.end()) return failed(line->second, fmt::format("{}: {}", name, problem));
    return error(ErrorKind::invalid, "{}: {} in [{}]: {}", file_, name, section, problem);
  }

 private:
  Error failed(size_t line, const std::string& problem) const {
    return error(ErrorKind::invalid, "{}:{}: {}", file_, line, problem);
  }

  Result<void> exports(const toml::node& node, size_t line) {
    const toml::array* list = node.as_array();
    if (list == nullptr) return failed(line, "an export must be written as [[export]], with two brackets");
    config_.exports.clear();
    for (const toml::node& element : *list) {
      if (!element.is_table()) return failed(line, "an export must be written as [[export]]");
      config_.exports.push_back(default_export());
      TRY(section("export", *element.as_table()));
      TRY(check_export(element.source().begin.line));
    }
    return {};
  }

  // The last one, beside those before it.
  Result<void> check_export(size_t line) {
    Export& last = config_.exports.back();
    const std::span<const Export> before(config_.exports.data(), config_.exports.size() - 1);
    const auto same_path = std::ranges::find(before, last.path, &Export::path);
    if (last.volume.empty()) {
      last.volume = same_path != before.end() ? same_path->volume : volume_of_path(last.path);
    } else if (same_path != before.end() && same_path->volume != last.volume) {
      return failed(line,
                    fmt::format("{} is exported already, from volume '{}'", last.path, same_path->volume));
    }
    const auto same_volume = std::ranges::find(before, last.volume, &Export::volume);
    if (same_volume != before.end() && same_volume->path != last.path)
      return failed(line,
                    fmt::format("volume '{}' is exported already, as {}", last.volume, same_volume->path));
    return {};
  }

  Result<void> section(std::string_view section, const toml::table& table) {
    for (const auto& [name, node] : table) {
      size_t line = name.source().begin.line;
      auto key = std::ranges::find_if(
          keys, [&](const Key& k) { return k.section == section && k.name == name.str(); });
      if (key == std::end(keys)) return failed(line, unknown_key(section, name.str()).message);
      if (Result<void> set = key->set(config_, node); !set)
        return failed(line, fmt::format("{}: {}", name.str(), set.error().message));
      lines_[fmt::format("{}.{}", section, name.str())] = line;
    }
    return {};
  }

  Config& config_;
  std::string file_;
  std::map<std::string, size_t> lines_;
};

Result<void> override_with(Config& config, const Overrides& overrides) {
  auto option = [&](const char* name, std::string_view section, std::string_view key_name,
                    const std::optional<std::string>& text) -> Result<void> {
    if (!text) return {};
    auto key =
        std::ranges::find_if(keys, [&](const Key& k) { return k.section == section && k.name == key_name; });
    if (Result<void> set = key->set(config, toml::value<std::string>(*text)); !set)
      return error(ErrorKind::invalid, "{} {}: {}", name, *text, set.error().message);
    return {};
  };
  TRY(option("--durability", "vserver", "durability", overrides.durability));
  TRY(option("--log-path", "vserver", "log_path", overrides.log_path));
  TRY(option("--memory", "server", "memory_bytes", overrides.memory));
  if (!overrides.listen.empty()) config.listen.clear();
  for (const std::string& text : overrides.listen) {
    Result<wire::Address> address = parse_address(text);
    if (!address) return error(ErrorKind::invalid, "--listen: {}", address.error().message);
    config.listen.push_back(*address);
  }
  if (overrides.no_guardian) config.guardian = false;
  return {};
}

void set_defaults(Config& config) {
  config.listen = {*parse_address("127.0.0.1:2049")};
  config.exports = {default_export()};
  config.exports[0].volume = volume_of_path(config.exports[0].path);
  config.log_path = "log";
  config.block_path = "blocks";
  uint64_t half = machine_memory_bytes() / 2;
  config.memory_bytes = std::max(half - half % 4096, 128 * mebibyte);
}

// What of [pair] is right only together, and its defaults.
Result<void> check_pair(Config& config, const Parser& parser) {
  PairConfig& pair = *config.pair;
  for (const char* name : {"blade", "peer", "listen", "peer_addresses", "arbiter"})
    if (!parser.has("pair", name)) return parser.failed_at("pair", name, "is missing");
  if (pair.peer_addresses.size() > 16)
    return parser.failed_at("pair", "peer_addresses", "there can be 16 paths at most");
  if (pair.blade == pair.peer) return parser.failed_at("pair", "peer", "must be the name of the other blade");
  if (config.durability == Durability::memory)
    return parser.failed_at("vserver", "durability",
                            "a pair keeps what it acknowledges: \"disk\", \"mirror\" or \"disk+mirror\"");
  if (pair.arbiter_certificate.empty() != pair.arbiter_key.empty())
    return parser.failed_at("pair", "arbiter_certificate", "needs arbiter_key, and the other way round");
  // As docs/decisions/pair.md assumes it of the clocks.
  if (pair.takeover < pair.lease + pair.lease / 16)
    return parser.failed_at("pair", "takeover_ms", "must be longer than lease_ms by at least a sixteenth");
  if (3 * pair.beacon > pair.lease || 3 * pair.beacon > pair.drop)
    return parser.failed_at("pair", "beacon_ms", "must be at most a third of lease_ms and of drop_ms");
  if (parser.has("server", "listen") && !pair.addresses.empty())
    return parser.failed_at("server", "listen", "clients connect to the addresses of [pair] alone");
  if (!pair.addresses.empty()) {
    config.listen.clear();
    for (const VserverAddress& address : pair.addresses) {
      config.listen.push_back(address.ip);
      config.listen.back().port = pair.port;
    }
  }
  const files::path data(config.data);
  pair.certificates = (data / pair.certificates).lexically_normal();
  for (std::string* file : {&pair.arbiter_authority, &pair.arbiter_certificate, &pair.arbiter_key})
    if (!file->empty()) *file = (data / *file).lexically_normal();
  return {};
}

}  // namespace

Result<Config> parse_config(std::string_view text, const std::string& file, const Overrides& overrides) {
  Config config;
  config.file = file;
  set_defaults(config);
  Parser parser(config, file);
  TRY(parser.parse(text));
  if (overrides.data)
    config.data = files::absolute(*overrides.data);
  else if (!config.data.empty())
    config.data = files::absolute(files::path(file)).parent_path() / config.data;
  else
    return error(ErrorKind::invalid, "{}: no data directory: set data in [server], or give --data DIR", file);
  config.data = files::path(config.data).lexically_normal();
  TRY(override_with(config, overrides));
  // An absolute path stays as it is.
  config.log_path = (files::path(config.data) / config.log_path).lexically_normal();
  config.block_path = (files::path(config.data) / config.block_path).lexically_normal();

  if (config.log_path == config.block_path)
    return parser.failed_at("vserver", "log_path", "the log and the blocks need a file each");
  if (config.log_bytes < 2 * config.checkpoint_bytes_max) {
    return parser.failed_at(
        "vserver", "log_bytes",
        fmt::format("{} is less than twice checkpoint_bytes_max ({}): the log would be full before "
                    "a checkpoint is done",
                    bytes_text(config.log_bytes), bytes_text(config.checkpoint_bytes_max)));
  }
  if (config.blocks_bytes_max != 0 && config.blocks_bytes_max < config.blocks_step_bytes)
    return parser.failed_at("vserver", "blocks_bytes_max", "less than blocks_step_bytes");
  for (const Export& e : config.exports)
    if (e.path == "/" && !e.locations.empty())
      return error(ErrorKind::invalid, "{}: the export / has locations: nobody would find what leads there",
                   file);
  if (config.pair) TRY(check_pair(config, parser));
  if (!config.pair && config.durability != Durability::disk && config.durability != Durability::memory)
    return parser.failed_at("vserver", "durability",
                            "that needs a pair: see [pair] and `perdure cluster init`");
  return config;
}

bool Config::admits(const wire::Address& peer) const {
  return std::ranges::any_of(exports, [&](const Export& e) { return e.admits(peer); });
}

bool Export::admits(const wire::Address& peer) const {
  return std::ranges::any_of(clients, [&](const Network& network) { return network.contains(peer); });
}

namespace {
struct Unit {
  std::string_view name;
  unsigned shift;
};
constexpr Unit units[] = {{"TiB", 40}, {"GiB", 30}, {"MiB", 20}, {"KiB", 10}, {"T", 40},
                          {"G", 30},   {"M", 20},   {"K", 10},   {"", 0}};
}  // namespace

Result<uint64_t> parse_bytes(std::string_view text) {
  uint64_t number = 0;
  auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  std::string_view rest(end, text.data() + text.size());
  if (rest.starts_with(' ')) rest.remove_prefix(1);
  auto unit = std::ranges::find(units, rest, &Unit::name);
  if (problem != std::errc() || unit == std::end(units) ||
      number > (std::numeric_limits<uint64_t>::max() >> unit->shift)) {
    return error(ErrorKind::invalid, "'{}' is not a size, as in 4GiB or 65536", text);
  }
  return number << unit->shift;
}

std::string bytes_text(uint64_t bytes) {
  for (const Unit& unit : units) {
    if (bytes >= (1ULL << unit.shift) && bytes % (1ULL << unit.shift) == 0)
      return fmt::format("{}{}", bytes >> unit.shift, unit.name);
  }
  return "0";
}

uint64_t machine_memory_bytes() {
  uint64_t bytes =
      static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  uint64_t limit = 0;  // not a number ("max") where there is none
  if (std::ifstream("/sys/fs/cgroup/memory.max") >> limit) bytes = std::min(bytes, limit);
  return bytes;
}

}  // namespace perdure::server
