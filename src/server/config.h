// Configuration: what the file perdure.toml and the command line say. docs/operations.md describes every key.
//
// Promise: a Config that parse() returned can be used: every value is within its limits, paths are absolute,
// and an unknown or impossible key was an error that names file and line. Reads no file by itself.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "server/network.h"
#include "server/pair/vserver_address.h"

namespace perdure::server {

// What acknowledged means.
enum class Durability : uint8_t {
  disk,             // on this machine's stable storage; of a pair with a mirror, and in the memory of that
  memory,           // in memory; survives nothing
  mirror,           // of a pair: in the memory of both blades, or of one on stable storage
  disk_and_mirror,  // of a pair: on the stable storage of both blades, while there are two
};

// Which callers act as the anonymous user.
enum class Squash : uint8_t { none, root, all };

// Where else an export is.
struct Location {
  std::string server, path;
};

struct Export {
  std::string path = "/";  // where clients see it
  std::string volume;      // what they see there
  bool read_only = false;
  Squash squash = Squash::root;
  uint32_t anonymous_uid = 65534;
  uint32_t anonymous_gid = 65534;
  std::vector<Network> clients;     // who may connect; never empty
  std::vector<Location> locations;  // empty: it is here

  bool admits(const wire::Address& peer) const;
};

// A blade of a pair (mirror/member.h).
struct PairConfig {
  std::string name = "vserver";  // of the pair in the arbiter
  std::string blade, peer;
  std::vector<wire::Address> listen, peer_addresses;                // between the blades
  std::vector<std::string> arbiter;                                 // URLs of etcd
  std::string arbiter_authority, arbiter_certificate, arbiter_key;  // files; empty: the system's, and none
  std::string certificates = "pair";  // a directory: authority.pem, blade.pem, blade.key
  std::vector<VserverAddress> addresses;
  uint16_t port = 2049;
  std::chrono::milliseconds beacon{25}, lease{300}, takeover{400}, drop{300}, stall{3000};
};

struct Config {
  std::string file;  // from which it comes
  // [server]
  std::string data;  // the data directory
  std::vector<wire::Address> listen;
  uint64_t memory_bytes = 0;  // for caches and dirty data together
  bool guardian = true;
  uint32_t start_seconds = 600;  // without readiness for so long: hung; 0: never
  uint32_t hang_seconds = 5;     // without a heartbeat for so long: hung; 0: never
  uint32_t stop_seconds = 30;    // a clean stop that takes longer is cut short
  uint32_t crashes_max = 5;      // more of them in crash_seconds end the guardian
  uint32_t crash_seconds = 60;

  // [vserver]
  Durability durability = Durability::disk;
  std::string log_path;
  uint64_t log_bytes = 512ULL << 20U;
  std::string block_path;
  uint64_t blocks_bytes_max = 0;  // 0: as much as the file system holds
  uint64_t blocks_step_bytes = 256ULL << 20U;
  uint32_t lease_seconds = 90;
  uint32_t courtesy_seconds = 86'400;
  bool delegations = true;
  std::string owner_domain;  // empty: this machine's
  bool owner_names = false;
  uint64_t checkpoint_records_max = 60'000;
  uint64_t checkpoint_bytes_max = 128ULL << 20U;

  // [pair]
  std::optional<PairConfig> pair;

  // [[export]]
  std::vector<Export>
      exports;  // never empty; of those with the same path the first that admits a client counts

  bool admits(const wire::Address& peer) const;  // to any of them

  // [limits]
  uint32_t connections_max = 4096;
  uint32_t clients_max = 4096;
  uint32_t slots_max = 64;  // of one session
  uint32_t slots_total = 65'536;
  uint32_t sessions_max = 16;  // of one client, like the rest
  uint32_t opens_max = 2'000'000;
  uint32_t locks_max = 4'000'000;
  uint32_t delegations_max = 100'000;
  uint32_t io_bytes_max = 1U << 20U;  // of one READ or WRITE
  uint32_t request_seconds = 30;  // a connection that takes longer to send one, or to take a reply, is closed

  // [log]
  std::string log_level = "info";
};

// What the command line says; it overrides the file.
struct Overrides {
  std::optional<std::string> data = {}, durability = {}, log_path = {}, memory = {};
  std::vector<std::string> listen = {};
  bool no_guardian = false;
};

// `text` is the content of the file `file`, by which errors name it: "perdure.toml:12: unknown key ...".
// Relative paths: `data` of the file starts at the file's directory, that of the command line at the current
// one; log_path and block_path start at the data directory.
Result<Config> parse_config(std::string_view text, const std::string& file, const Overrides& overrides = {});

// The commented perdure.toml that a new data directory gets: loopback only, and root of the clients is root.
std::string_view first_config_text();

// "4GiB", "512MiB", "65536".
Result<uint64_t> parse_bytes(std::string_view text);
// The reverse, in the largest unit that divides it.
std::string bytes_text(uint64_t bytes);

// Of this machine, or what its control group may use of it.
uint64_t machine_memory_bytes();

}  // namespace perdure::server
