// etcd as a pair needs it: one key, read and compared-and-swapped, over its JSON gateway
// (https://etcd.io/docs/v3.4/dev-guide/api_grpc_gateway/). Every request goes to all endpoints at once, and
// the first good answer counts. Both requests may be executed more than once: a compare-and-swap that has
// succeeded fails from then on, and its answer says what is there.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "mirror/arbiter.h"

namespace perdure::server {

struct EtcdOptions {
  std::vector<std::string> endpoints;               // "https://192.0.2.3:2379"
  std::string key;                                  // what is kept there is a mirror::Configuration
  std::string authority, certificate, private_key;  // files in PEM; empty: the system's, and none
  env::Duration timeout = std::chrono::seconds(1);
};

// Blocks: for a thread of its own, and for commands.
class EtcdClient {
 public:
  explicit EtcdClient(EtcdOptions options);
  ~EtcdClient();
  EtcdClient(const EtcdClient&) = delete;
  EtcdClient& operator=(const EtcdClient&) = delete;
  // As of mirror::Arbiter.
  Result<mirror::Arbiter::Versioned> read();
  Result<mirror::Arbiter::Replaced> replace(uint64_t version, const mirror::Configuration& next);
  // Whatever is there. It is done if it is gone.
  Result<void> remove();

 private:
  struct Endpoint;
  Result<std::string> ask(const std::string& path, const std::string& body);
  const EtcdOptions options_;
  void* multi_;
  std::vector<std::unique_ptr<Endpoint>> endpoints_;
};

// One question after another, on a thread of its own. Thread: the vserver's loop.
class EtcdArbiter final : public mirror::Arbiter {
 public:
  EtcdArbiter(env::Env& env, EtcdOptions options);
  // Waits for what is being asked. Nothing is called any more.
  ~EtcdArbiter() override;
  void read(env::Done<Versioned> done) override;
  void replace(uint64_t version, const mirror::Configuration& next, env::Done<Replaced> done) override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// What lies under the key.
std::string to_json(const mirror::Configuration& configuration);
Result<mirror::Configuration> configuration_from_json(const std::string& text);

}  // namespace perdure::server
