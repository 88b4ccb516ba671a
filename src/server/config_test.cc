#include "server/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>

namespace perdure::server {
namespace {

using ::testing::HasSubstr;

std::string error_of(std::string_view text, const Overrides& overrides = {}) {
  Overrides with_data = overrides;
  if (!with_data.data) with_data.data = "/d";
  Result<Config> config = parse_config(text, "perdure.toml", with_data);
  return config ? "no error" : config.error().message;
}

wire::Address peer(const std::string& host) {
  return parse_address((host.find(':') == std::string::npos ? host : "[" + host + "]") + ":1000").value();
}

TEST(Config, WhatTomlPlusPlusCannotBearIsAnError) {
  EXPECT_THAT(error_of("x = [[1],!{a = 2}]\n"), HasSubstr("perdure.toml"));
  EXPECT_THAT(error_of("[[!e"), HasSubstr("perdure.toml"));
  EXPECT_THAT(error_of("x = \u015A"), HasSubstr("perdure.toml:1"));
  EXPECT_THAT(error_of("\u015A = 1"), HasSubstr("perdure.toml:1"));
}

constexpr const char* pair_text = R"([pair]
blade = "a"
peer = "b"
listen = ["192.0.2.1:2050"]
peer_addresses = ["192.0.2.2:2050"]
arbiter = ["http://192.0.2.3:2379/"]
addresses = ["198.51.100.10/24@eth1"]
)";

TEST(Config, ABladeOfAPairListensOnTheVserversAddresses) {
  const Config config = parse_config(pair_text, "perdure.toml", {.data = "/d"}).value();
  ASSERT_TRUE(config.pair);
  EXPECT_EQ(to_string(config.listen.at(0)), "198.51.100.10:2049");
  EXPECT_EQ(config.listen.size(), 1U);
  EXPECT_EQ(config.pair->arbiter.at(0), "http://192.0.2.3:2379");
  EXPECT_EQ(config.pair->certificates, "/d/pair");
  EXPECT_FALSE(parse_config("", "perdure.toml", {.data = "/d"}).value().pair);
}

TEST(Config, WhatIsWrongInAPairIsSaid) {
  const std::string text(pair_text);
  EXPECT_THAT(error_of(text + "lease_ms = 500\n"), HasSubstr("takeover_ms"));
  EXPECT_THAT(error_of(text + "beacon_ms = 200\n"), HasSubstr("perdure.toml:8: beacon_ms"));
  EXPECT_THAT(error_of(text + "[server]\nlisten = [\"127.0.0.1:2049\"]\n"),
              HasSubstr("perdure.toml:9: listen"));
  EXPECT_THAT(error_of(text + "[vserver]\ndurability = \"memory\"\n"), HasSubstr("disk+mirror"));
  EXPECT_THAT(error_of(text + "arbiter_key = \"k\"\n"), HasSubstr("arbiter_certificate"));
  EXPECT_THAT(error_of(std::regex_replace(text, std::regex("peer = \"b\""), "peer = \"a\"")),
              HasSubstr("the other blade"));
  EXPECT_THAT(error_of(std::regex_replace(text, std::regex("peer = \"b\"\n"), "")),
              HasSubstr("peer in [pair]: is missing"));
  EXPECT_THAT(error_of(std::regex_replace(text, std::regex("blade = \"a\""), "blade = \"a b\"")),
              HasSubstr("a name of"));
  EXPECT_THAT(error_of(std::regex_replace(text, std::regex("http:"), "ftp:")), HasSubstr("is not a URL"));
  EXPECT_THAT(error_of("[vserver]\ndurability = \"mirror\"\n"), HasSubstr("needs a pair"));
}

TEST(Config, AnEmptyFileGivesTheDefaults) {
  Config config = parse_config("", "perdure.toml", {.data = "/d"}).value();
  EXPECT_EQ(config.data, "/d");
  EXPECT_EQ(to_string(config.listen.at(0)), "127.0.0.1:2049");
  EXPECT_EQ(config.log_path, "/d/log");
  EXPECT_EQ(config.block_path, "/d/blocks");
  EXPECT_EQ(config.exports.at(0).squash, Squash::root);
  EXPECT_TRUE(config.guardian);
  EXPECT_GE(config.memory_bytes, 128U << 20U);
  EXPECT_LE(config.memory_bytes, std::max<uint64_t>(machine_memory_bytes() / 2, 128U << 20U));
}

// The file that a newcomer gets says of every key what holds without it.
TEST(Config, TheFirstFileShowsTheDefaults) {
  std::string first(first_config_text());
  Config config = parse_config(first, "perdure.toml", {.data = "/d"}).value();
  EXPECT_EQ(config.exports.at(0).squash, Squash::none);
  for (const Network& network : config.exports.at(0).clients) EXPECT_TRUE(network.is_loopback());

  std::string shown = std::regex_replace(first, std::regex("\n# ([a-z_]+ = )"), "\n$1");
  ASSERT_NE(shown, first);
  Config same = parse_config(shown, "perdure.toml", {.data = "/d", .memory = "1GiB"}).value();
  EXPECT_EQ(same.log_bytes, config.log_bytes);
  EXPECT_EQ(same.log_path, config.log_path);
  EXPECT_EQ(same.block_path, config.block_path);
  EXPECT_EQ(same.blocks_bytes_max, config.blocks_bytes_max);
  EXPECT_EQ(same.blocks_step_bytes, config.blocks_step_bytes);
  EXPECT_EQ(same.lease_seconds, config.lease_seconds);
  EXPECT_EQ(same.courtesy_seconds, config.courtesy_seconds);
  EXPECT_EQ(same.owner_domain, config.owner_domain);
  EXPECT_EQ(same.owner_names, config.owner_names);
  EXPECT_EQ(same.checkpoint_records_max, config.checkpoint_records_max);
  EXPECT_EQ(same.checkpoint_bytes_max, config.checkpoint_bytes_max);
  EXPECT_EQ(same.start_seconds, config.start_seconds);
  EXPECT_EQ(same.hang_seconds, config.hang_seconds);
  EXPECT_EQ(same.stop_seconds, config.stop_seconds);
  EXPECT_EQ(same.crashes_max, config.crashes_max);
  EXPECT_EQ(same.crash_seconds, config.crash_seconds);
  EXPECT_EQ(same.exports.at(0).read_only, config.exports.at(0).read_only);
  EXPECT_TRUE(same.exports.at(0).locations.empty());
  EXPECT_EQ(same.exports.at(0).anonymous_uid, config.exports.at(0).anonymous_uid);
  EXPECT_EQ(same.exports.at(0).anonymous_gid, config.exports.at(0).anonymous_gid);
  EXPECT_EQ(same.connections_max, config.connections_max);
  EXPECT_EQ(same.clients_max, config.clients_max);
  EXPECT_EQ(same.slots_max, config.slots_max);
  EXPECT_EQ(same.slots_total, config.slots_total);
  EXPECT_EQ(same.sessions_max, config.sessions_max);
  EXPECT_EQ(same.opens_max, config.opens_max);
  EXPECT_EQ(same.locks_max, config.locks_max);
  EXPECT_EQ(same.delegations_max, config.delegations_max);
  EXPECT_EQ(same.io_bytes_max, config.io_bytes_max);
  EXPECT_EQ(same.request_seconds, config.request_seconds);
}

TEST(Config, AFileSetsWhatItSays) {
  Config config = parse_config(R"([server]
data = "data"
listen = ["0.0.0.0:2049", "[::1]:20490"]
memory_bytes = "2GiB"
[vserver]
durability = "memory"
log_path = "/dev/shm/log"
log_bytes = 268435456
[[export]]
squash = "all"
clients = ["10.0.0.0/8"]
)",
                               "/etc/perdure.toml")
                      .value();
  EXPECT_EQ(config.data, "/etc/data");
  EXPECT_EQ(to_string(config.listen.at(1)), "[::1]:20490");
  EXPECT_EQ(config.memory_bytes, 2ULL << 30U);
  EXPECT_EQ(config.durability, Durability::memory);
  EXPECT_EQ(config.log_path, "/dev/shm/log");
  EXPECT_EQ(config.block_path, "/etc/data/blocks");
  EXPECT_EQ(config.log_bytes, 256U << 20U);
  EXPECT_EQ(config.exports.at(0).squash, Squash::all);
  EXPECT_TRUE(config.exports.at(0).admits(peer("10.255.0.1")));
  EXPECT_FALSE(config.exports.at(0).admits(peer("127.0.0.1")));
}

TEST(Config, SeveralExports) {
  const Config config = *parse_config(R"(
[[export]]
path = "/home"
clients = ["192.0.2.7"]
squash = "none"
[[export]]
path = "/home"
clients = ["192.0.2.0/24"]
read_only = true
[[export]]
path = "/srv/data"
)",
                                      "perdure.toml", {.data = "/d"});
  ASSERT_EQ(config.exports.size(), 3U);
  EXPECT_EQ(config.exports[0].volume, "home");
  EXPECT_EQ(config.exports[1].volume, "home");
  EXPECT_EQ(config.exports[1].squash, Squash::root);
  EXPECT_EQ(config.exports[2].volume, "srv.data");
  EXPECT_TRUE(config.admits(peer("192.0.2.9")));
  EXPECT_TRUE(config.admits(peer("127.0.0.1")));
  EXPECT_FALSE(config.admits(peer("192.0.3.9")));
}

TEST(Config, TheCommandLineGoesBeforeTheFile) {
  Config config = parse_config("[server]\ndata = \"/other\"\nlisten = [\"1.2.3.4:5\"]\n", "perdure.toml",
                               {.data = "/d",
                                .durability = "memory",
                                .log_path = "/fast/log",
                                .memory = "1GiB",
                                .listen = {"127.0.0.1:1", "127.0.0.1:2"},
                                .no_guardian = true})
                      .value();
  EXPECT_EQ(config.data, "/d");
  EXPECT_EQ(config.durability, Durability::memory);
  EXPECT_EQ(config.log_path, "/fast/log");
  EXPECT_EQ(config.memory_bytes, 1U << 30U);
  EXPECT_EQ(config.listen.size(), 2U);
  EXPECT_FALSE(config.guardian);
}

TEST(Config, AnErrorNamesFileAndLine) {
  EXPECT_EQ(error_of("[vserver]\n\ndurabilty = \"disk\"\n"),
            "perdure.toml:3: unknown key 'durabilty' in [vserver]; did you mean 'durability'?");
  EXPECT_EQ(error_of("[server]\nlease_seconds = 3\n"),
            "perdure.toml:2: unknown key 'lease_seconds' in [server]; it belongs into [vserver]");
  EXPECT_EQ(error_of("[vserver]\ndurability = \"tape\"\n"),
            "perdure.toml:2: durability: must be one of \"disk\", \"memory\", \"mirror\", \"disk+mirror\"");
  EXPECT_EQ(error_of("[vserve]\n"),
            "perdure.toml:1: unknown section or key 'vserve'; did you mean 'vserver'?");
  EXPECT_EQ(error_of("listen = [\"127.0.0.1:2049\"]\n"), "perdure.toml:1: unknown section or key 'listen'");
  EXPECT_EQ(error_of("server = 3\n"), "perdure.toml:1: 'server' must be a section: [server]");
  EXPECT_THAT(error_of("[server]\nlisten = [\n"), HasSubstr("perdure.toml:"));
  EXPECT_THAT(error_of("[server]\nlisten = [\"localhost:2049\"]\n"),
              HasSubstr("perdure.toml:2: listen: 'localhost:2049' is not ADDRESS:PORT"));
  EXPECT_THAT(error_of("[server]\nlisten = []\n"), HasSubstr("not empty"));
  EXPECT_THAT(error_of("[server]\nguardian = 1\n"), HasSubstr("true or false"));
  EXPECT_THAT(error_of("[vserver]\nlease_seconds = -1\n"), HasSubstr("from 5 to 3600"));
  EXPECT_THAT(error_of("[vserver]\nlease_seconds = 30.5\n"), HasSubstr("from 5 to 3600"));
  EXPECT_THAT(error_of("[vserver]\nowner_domain = \"a@b\"\n"), HasSubstr("the name of a domain"));
  EXPECT_THAT(error_of("[server]\nmemory_bytes = \"1MiB\"\n"), HasSubstr("from 128MiB"));
  EXPECT_THAT(error_of("[server]\nmemory_bytes = \"lots\"\n"), HasSubstr("'lots' is not a size"));
}

TEST(Config, WhatCannotWorkTogetherIsAnErrorToo) {
  EXPECT_THAT(
      error_of("[vserver]\nlog_bytes = \"128MiB\"\n"),
      HasSubstr("perdure.toml:2: log_bytes: 128MiB is less than twice checkpoint_bytes_max (128MiB)"));
  EXPECT_THAT(error_of("[vserver]\ncheckpoint_bytes_max = \"1GiB\"\n"), HasSubstr("perdure.toml: log_bytes"));
  EXPECT_THAT(error_of("[vserver]\nlog_path = \"blocks\"\n"), HasSubstr("perdure.toml:2: log_path"));
  EXPECT_THAT(error_of("[vserver]\nblocks_bytes_max = \"1MiB\"\n"),
              HasSubstr("perdure.toml:2: blocks_bytes_max"));
  EXPECT_THAT(parse_config("", "perdure.toml").error().message, HasSubstr("no data directory"));
}

TEST(Config, OneExportOfTheRootAlone) {
  for (const char* path : {"home", "/home/", "//home", "/a/../b", "/.", ""})
    EXPECT_THAT(error_of(fmt::format("[[export]]\npath = \"{}\"\n", path)),
                HasSubstr("perdure.toml:2: path: must be a path such as"));
  for (const char* volume : {"", "a/b", ".hidden"})
    EXPECT_THAT(error_of(fmt::format("[[export]]\nvolume = \"{}\"\n", volume)),
                HasSubstr("perdure.toml:2: volume: must be the name of a volume"));
  EXPECT_THAT(
      error_of("[[export]]\npath = \"/a\"\nvolume = \"x\"\n[[export]]\npath = \"/a\"\nvolume = \"y\"\n"),
      HasSubstr("perdure.toml:4: /a is exported already, from volume 'x'"));
  EXPECT_THAT(error_of("[[export]]\npath = \"/a\"\n[[export]]\npath = \"/b\"\nvolume = \"a\"\n"),
              HasSubstr("perdure.toml:3: volume 'a' is exported already, as /a"));
  EXPECT_THAT(error_of("[export]\npath = \"/\"\n"),
              HasSubstr("perdure.toml:1: an export must be written as [[export]]"));
}

TEST(Config, ErrorsOfTheCommandLineNameTheOption) {
  EXPECT_THAT(error_of("", {.durability = "tape"}), HasSubstr("--durability tape: must be one of"));
  EXPECT_THAT(error_of("", {.memory = "12XB"}), HasSubstr("--memory 12XB: '12XB' is not a size"));
  EXPECT_THAT(error_of("", {.listen = {"2049"}}), HasSubstr("--listen: '2049' is not ADDRESS:PORT"));
}

TEST(Bytes, AreReadAndWrittenWithTheirUnit) {
  EXPECT_EQ(parse_bytes("4GiB").value(), 4ULL << 30U);
  EXPECT_EQ(parse_bytes("4 GiB").value(), 4ULL << 30U);
  EXPECT_EQ(parse_bytes("512K").value(), 512U << 10U);
  EXPECT_EQ(parse_bytes("77").value(), 77U);
  EXPECT_EQ(parse_bytes("16777215T").value(), 16777215ULL << 40U);
  for (const char* text : {"", "GiB", "-1", "1.5GiB", "4GB", "16777216T", "99999999999999999999"})
    EXPECT_FALSE(parse_bytes(text)) << text;
  EXPECT_EQ(bytes_text(4ULL << 30U), "4GiB");
  EXPECT_EQ(bytes_text(1536U << 20U), "1536MiB");
  EXPECT_EQ(bytes_text(0), "0");
  EXPECT_EQ(bytes_text(77), "77");
}

TEST(Network, ContainsItsAddresses) {
  Network net = Network::parse("192.168.4.0/22").value();
  EXPECT_TRUE(net.contains(peer("192.168.7.255")));
  EXPECT_TRUE(net.contains(peer("::ffff:192.168.4.0")));
  EXPECT_FALSE(net.contains(peer("192.168.8.0")));
  EXPECT_FALSE(net.contains(peer("::1")));
  EXPECT_TRUE(Network::parse("0.0.0.0/0").value().contains(peer("8.8.8.8")));
  EXPECT_FALSE(Network::parse("0.0.0.0/0").value().contains(peer("2001:db8::1")));
  EXPECT_TRUE(Network::parse("::/0").value().contains(peer("2001:db8::1")));
  EXPECT_TRUE(Network::parse("2001:db8::/33").value().contains(peer("2001:db8:7fff::1")));
  EXPECT_FALSE(Network::parse("2001:db8::/33").value().contains(peer("2001:db8:8000::1")));
  EXPECT_TRUE(Network::parse("10.0.0.1").value().contains(peer("10.0.0.1")));
  EXPECT_FALSE(Network::parse("10.0.0.1").value().contains(peer("10.0.0.2")));
  for (const char* text : {"", "10.0.0.1/8", "10.0.0.0/33", "::/129", "10.0.0.0/", "host", "10.0.0/8"})
    EXPECT_FALSE(Network::parse(text)) << text;
}

TEST(ParseAddress, KnowsLoopbackAndWildcard) {
  EXPECT_TRUE(is_loopback(parse_address("127.3.0.1:1").value()));
  EXPECT_TRUE(is_loopback(parse_address("[::1]:1").value()));
  EXPECT_FALSE(is_loopback(parse_address("10.0.0.1:1").value()));
  EXPECT_TRUE(is_wildcard(parse_address("0.0.0.0:1").value()));
  EXPECT_TRUE(is_wildcard(parse_address("[::]:1").value()));
  EXPECT_FALSE(is_wildcard(parse_address("[::1]:1").value()));
  for (const char* text : {"", ":1", "127.0.0.1", "127.0.0.1:65536", "127.0.0.1:", "::1:1", "[]:1"})
    EXPECT_FALSE(parse_address(text)) << text;
}

TEST(Config, AnExportMayBeSomewhereElse) {
  const std::string text =
      "[[export]]\npath = \"/a\"\nlocations = [\"files.example.org:/srv/data\", \"[2001:db8::1]:/\"]\n";
  const Config config = parse_config(text, "perdure.toml", {.data = "/d"}).value();
  const std::vector<Location>& locations = config.exports.at(0).locations;
  ASSERT_EQ(locations.size(), 2U);
  EXPECT_EQ(locations[0].server, "files.example.org");
  EXPECT_EQ(locations[0].path, "/srv/data");
  EXPECT_EQ(locations[1].server, "2001:db8::1");
  EXPECT_EQ(locations[1].path, "/");
  for (const char* location : {"", "host", "host:path", ":/path", "host:/a/../b", "a b:/c"})
    EXPECT_THAT(error_of(fmt::format("[[export]]\npath = \"/a\"\nlocations = [\"{}\"]\n", location)),
                HasSubstr("is not a server and a path"));
  EXPECT_THAT(error_of("[[export]]\npath = \"/\"\nlocations = [\"host:/\"]\n"), HasSubstr("has locations"));
}

}  // namespace
}  // namespace perdure::server
