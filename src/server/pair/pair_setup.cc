#include "server/pair/pair_setup.h"

#include <fmt/ranges.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "server/config.h"
#include "server/data_directory.h"
#include "server/pair/certificates.h"
#include "server/pair/pair_blade.h"
#include "server/stopped_vserver.h"

namespace perdure::server {

namespace {

namespace files = std::filesystem;

constexpr const char* certificates_name = "pair";

// What an arbiter with TLS needs: the key in [pair] and in a bundle, and the file beside the certificates.
struct ArbiterFile {
  std::string PairSetup::* file;
  const char *key, *name;
};
constexpr ArbiterFile arbiter_files[] = {
    {&PairSetup::arbiter_authority, "arbiter_authority", "arbiter_authority.pem"},
    {&PairSetup::arbiter_certificate, "arbiter_certificate", "arbiter.pem"},
    {&PairSetup::arbiter_key, "arbiter_key", "arbiter.key"},
};

std::string quoted(const std::string& text) {
  return '"' + text + '"';  // what needs more than quotes is no valid value
}

std::string list_of(const std::vector<std::string>& texts) {
  std::vector<std::string> all;
  for (const std::string& text : texts) all.push_back(quoted(text));
  return fmt::format("[{}]", fmt::join(all, ", "));
}

// The line that sets `key` in the section, replaced; added behind the section's name if there is none.
void set_line(std::string& text, const std::string& section, const std::string& key,
              const std::string& value) {
  const std::string line = key + " = " + value + "\n";
  size_t at = 0, behind_header = std::string::npos;
  bool inside = false;
  while (at < text.size()) {
    const size_t end = std::min(text.find('\n', at), text.size() - 1) + 1;
    const std::string_view here(text.data() + at, end - at);
    if (here.starts_with("[")) {
      inside = here.starts_with(section);
      if (inside) behind_header = end;
    } else if (inside && here.starts_with(key) &&
               here.find_first_not_of(" \t", key.size()) == here.find('=')) {
      text.replace(at, end - at, line);
      return;
    }
    at = end;
  }
  if (behind_header == std::string::npos) {
    text += "\n" + section + "\n";
    behind_header = text.size();
  }
  text.insert(behind_header, line);
}

// Nothing if it has no such line.
void disable_line(std::string& text, const std::string& key) {
  for (size_t at = 0; at < text.size(); at = std::min(text.find('\n', at), text.size() - 1) + 1)
    if (text.compare(at, key.size(), key) == 0 &&
        text.find_first_not_of(" \t", at + key.size()) == text.find('=', at)) {
      text.insert(at, "# ");
      return;
    }
}

std::string pair_section(const PairSetup& s) {
  std::string text = fmt::format(
      "\n# This server is a blade of a pair; docs/operations.md describes the keys. Both blades have the "
      "same, but for\n"
      "# who they are.\n[pair]\nname = {}\nblade = {}\npeer = {}\nlisten = {}\npeer_addresses = {}\narbiter "
      "= {}\n",
      quoted(s.name), quoted(s.blade), quoted(s.peer), list_of(s.listen), list_of(s.peer_listen),
      list_of(s.arbiter));
  for (const ArbiterFile& f : arbiter_files)
    if (!(s.*f.file).empty()) text += fmt::format("{} = {}\n", f.key, quoted(s.*f.file));
  if (!s.addresses.empty()) text += fmt::format("addresses = {}\n", list_of(s.addresses));
  if (s.port != 2049) text += fmt::format("port = {}\n", s.port);
  return text;
}

std::string with_pair(std::string text, const PairSetup& s) {
  set_line(text, "[vserver]", "durability", quoted(s.durability));
  if (!s.clients.empty()) set_line(text, "[[export]]", "clients", list_of(s.clients));
  if (!s.addresses.empty()) disable_line(text, "listen");
  return text + pair_section(s);
}

// Empty if there is none.
std::string bundle_text(const nlohmann::json& j, const char* name) {
  return j.is_object() && j.contains(name) && j[name].is_string() ? j[name].get<std::string>()
                                                                  : std::string();
}

PairSetup of_peer(PairSetup s) {
  std::swap(s.blade, s.peer);
  std::swap(s.listen, s.peer_listen);
  return s;
}

Result<void> write_certificates(const std::string& data, const std::string& authority, const Identity& blade,
                                const nlohmann::json& arbiter_texts) {
  const std::string directory = data + "/" + certificates_name;
  TRY(make_data_directory(directory));
  TRY(write_private_file(directory + "/authority.pem", authority));
  TRY(write_private_file(directory + "/blade.pem", blade.certificate));
  TRY(write_private_file(directory + "/blade.key", blade.key));
  for (const ArbiterFile& f : arbiter_files)
    if (const std::string text = bundle_text(arbiter_texts, f.key); !text.empty())
      TRY(write_private_file(fmt::format("{}/{}", directory, f.name), text));
  return {};
}

// Behind every epoch in which the data have been served.
Result<Epoch> first_epoch(const Config& alone) {
  std::error_code problem;
  if (!files::exists(alone.data + "/store", problem)) return Epoch(1);
  Result<std::unique_ptr<StoppedVserver>> stopped = StoppedVserver::open(alone);
  if (!stopped && stopped.error().kind == ErrorKind::busy)
    return error(ErrorKind::busy, "{}; stop the server first", stopped.error().message);
  return TRY(std::move(stopped))->fs().epoch().next();
}

}  // namespace

Result<void> init_pair(const PairSetup& asked) {
  PairSetup setup = asked;
  // From the current directory, as on any command line. Both blades get copies.
  nlohmann::json arbiter_texts = nlohmann::json::object();
  PairSetup with_copies = asked;
  for (const ArbiterFile& f : arbiter_files) {
    if ((asked.*f.file).empty()) continue;
    setup.*f.file = files::absolute(asked.*f.file).lexically_normal();
    arbiter_texts[f.key] = TRY(read_config_file(setup.*f.file)).text;
    with_copies.*f.file = fmt::format("{}/{}", certificates_name, f.name);
  }
  const ConfigFile file = TRY(config_of_directory(setup.data));
  const Overrides overrides{.data = setup.data};
  const Config alone = TRY(parse_config(file.text, file.path, overrides));
  if (alone.pair)
    return error(ErrorKind::invalid, "{} is a blade of the pair '{}' already", setup.data, alone.pair->name);
  const Config config = TRY(parse_config(with_pair(file.text, setup), file.path, overrides));
  const std::string text = with_pair(file.text, with_copies);
  const std::string peer_text = with_pair(file.text, of_peer(with_copies));
  TRY(parse_config(peer_text, "the peer's perdure.toml", overrides));
  if (files::exists(setup.bundle))
    return error(ErrorKind::invalid, "{} is there already: name another file with --bundle", setup.bundle);

  EtcdClient arbiter(etcd_options(*config.pair));
  const mirror::Arbiter::Versioned known = TRY(arbiter.read());
  if (known.version != 0)
    return error(
        ErrorKind::invalid,
        "the arbiter knows a pair '{}' already, whose primary is {}: choose another --name, or dissolve that "
        "one with `perdure cluster remove`",
        setup.name, known.configuration.primary.blade);
  const Epoch epoch = TRY(first_epoch(alone));

  const Identity authority = TRY(make_authority("Perdure pair " + setup.name));
  const Identity own = TRY(make_certificate(authority, setup.blade));
  const Identity peers = TRY(make_certificate(authority, setup.peer));
  TRY(write_certificates(setup.data, authority.certificate, own, arbiter_texts));
  const nlohmann::json bundle{{"perdure_bundle", 1},
                              {"config", peer_text},
                              {"authority", authority.certificate},
                              {"certificate", peers.certificate},
                              {"key", peers.key},
                              {"arbiter", arbiter_texts}};
  TRY(write_private_file(setup.bundle,
                         bundle.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n"));
  TRY(write_private_file(file.path, text));
  const mirror::Start nobody{setup.blade, 0};
  const Result<mirror::Arbiter::Replaced> made = arbiter.replace(0, {epoch, nobody, {nobody}});
  if (made && made->now.configuration.primary == nobody) return {};
  if (!made)
    return error(
        ErrorKind::io,
        "it is not known whether the arbiter has the pair now: {}. The files are in place; `perdure cluster "
        "status "
        "--data {}` tells. If it does not know the pair, remove [pair] from {}, and {}, and begin anew",
        made.error().message, setup.data, file.path, setup.bundle);
  // As if nothing had been: the certificates are of no use to anybody.
  TRY(write_private_file(file.path, file.text));
  ::unlink(setup.bundle.c_str());
  return error(ErrorKind::busy, "somebody else has just made a pair '{}'", setup.name);
}

Result<void> join_pair(const std::string& bundle, const std::string& data) {
  const ConfigFile file = TRY(read_config_file(bundle));
  const nlohmann::json j = nlohmann::json::parse(file.text, nullptr, false);
  const auto text = [&](const char* name) { return bundle_text(j, name); };
  if (!j.is_object() || !j.contains("perdure_bundle") || j["perdure_bundle"] != 1 || text("config").empty())
    return error(ErrorKind::invalid, "{} is not a bundle of `perdure cluster init`", bundle);
  std::error_code problem;
  if (files::exists(data, problem) && !files::is_empty(data, problem))
    return error(ErrorKind::invalid, "{} is not empty: name a new directory with --data", data);
  const std::string path = data + "/" + config_name;
  TRY(parse_config(text("config"), path, {.data = data}));
  TRY(make_data_directory(data));
  TRY(write_certificates(data, text("authority"), {text("certificate"), text("key")},
                         j.value("arbiter", nlohmann::json::object())));
  return write_private_file(path, text("config"));
}

Result<void> dissolve_pair(const std::string& data, bool force) {
  const ConfigFile file = TRY(read_config_file(data + "/" + config_name));
  const Config config = TRY(parse_config(file.text, file.path, {.data = data}));
  if (!config.pair) return error(ErrorKind::invalid, "{} is not a blade of a pair", data);
  const PairConfig& pair = *config.pair;
  EtcdClient arbiter(etcd_options(pair));
  const Result<mirror::Arbiter::Versioned> known = arbiter.read();
  if (!force) {
    TRY(known);
    if (known->version != 0 && known->configuration.primary.blade != pair.blade)
      return error(ErrorKind::invalid,
                   "{} has what was acknowledged last: remove the pair there, or with --force", pair.peer);
    if (known->version != 0 && !known->configuration.alone())
      return error(
          ErrorKind::invalid,
          "{} is in sync, and would take over: stop it first, and give this blade the time to go on alone",
          pair.peer);
  }
  // Nobody serves from it.
  TRY(StoppedVserver::open(config));
  std::string text = file.text;
  const size_t begin = text.find("\n[pair]\n");
  if (begin == std::string::npos)
    return error(ErrorKind::invalid, "{}: [pair] is not where it was written", file.path);
  const size_t end = std::min(text.find("\n[", begin + 2), text.size());
  text.erase(begin, end - begin);
  if (config.durability != Durability::disk) set_line(text, "[vserver]", "durability", "\"disk\"");
  if (!pair.addresses.empty()) {
    std::vector<std::string> listen;
    for (const wire::Address& address : config.listen) listen.push_back(to_string(address));
    set_line(text, "[server]", "listen", list_of(listen));
  }
  TRY(parse_config(text, file.path, {.data = data}));
  TRY(write_private_file(file.path, text));
  if (known || !force) TRY(arbiter.remove());
  return {};
}

}  // namespace perdure::server
