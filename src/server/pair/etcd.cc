#include "server/pair/etcd.h"

#include <curl/curl.h>
#include <openssl/evp.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/check.h"

namespace perdure::server {

namespace {

using mirror::Arbiter;
using nlohmann::json;

constexpr size_t answer_bytes_max = 1U << 20U;
constexpr long http_ok = 200;

std::string base64(const std::string& text) {
  std::string encoded(4 * ((text.size() + 2) / 3) + 1, '\0');
  const int length =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(encoded.data()),
                      reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  encoded.resize(static_cast<size_t>(length));
  return encoded;
}

Result<std::string> from_base64(const std::string& encoded) {
  std::string text(encoded.size() / 4 * 3 + 3, '\0');
  const int length = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                     reinterpret_cast<const unsigned char*>(encoded.data()),
                                     static_cast<int>(encoded.size()));
  if (length < 0) return error(ErrorKind::corrupt, "etcd: not base64");
  const auto padding = static_cast<size_t>(std::ranges::count(encoded, '='));
  text.resize(static_cast<size_t>(length) - std::min<size_t>(padding, static_cast<size_t>(length)));
  return text;
}

json start_json(const mirror::Start& start) {
  return {{"blade", start.blade}, {"start", start.number}};
}

uint64_t unsigned_number(const json& j) {
  if (!j.is_number_unsigned()) throw json::type_error::create(302, "a negative number, or none", &j);
  return j.get<uint64_t>();
}

mirror::Start start_from(const json& j) {
  return {j.at("blade").get<std::string>(), unsigned_number(j.at("start"))};
}

// What `parse` throws, of an answer that is not as it should be, is an error.
template <class T>
Result<T> guarded(const std::string& answer, Result<T> (*parse)(const json&)) {
  try {
    return parse(json::parse(answer));
  } catch (const json::exception& e) {
    return error(ErrorKind::corrupt, "etcd's answer is not understood: {}", e.what());
  }
}

uint64_t number(const json& j, const char* name) {  // 64-bit numbers are texts
  return std::strtoull(j.at(name).get<std::string>().c_str(), nullptr, 10);
}

Result<Arbiter::Versioned> parse_range(const json& j) {
  (void)j.at("header");  // of every answer
  if (!j.contains("kvs") || j["kvs"].empty()) return Arbiter::Versioned{};
  const json& kv = j["kvs"][0];
  const std::string value = TRY(from_base64(kv.at("value").get<std::string>()));
  return Arbiter::Versioned{TRY(configuration_from_json(value)), number(kv, "mod_revision")};
}

Result<Arbiter::Replaced> parse_transaction(const json& j) {
  if (j.value("succeeded", false)) return Arbiter::Replaced{true, {{}, number(j.at("header"), "revision")}};
  json found = j.at("responses").at(0).at("response_range");
  found["header"] = j.at("header");
  return Arbiter::Replaced{false, TRY(parse_range(found))};
}

}  // namespace

std::string to_json(const mirror::Configuration& configuration) {
  json in_sync = json::array();
  for (const mirror::Start& start : configuration.in_sync) in_sync.push_back(start_json(start));
  return json{{"epoch", configuration.epoch.value},
              {"primary", start_json(configuration.primary)},
              {"in_sync", in_sync}}
      .dump();
}

Result<mirror::Configuration> configuration_from_json(const std::string& text) {
  mirror::Configuration c;
  try {
    const json j = json::parse(text);
    c.epoch = Epoch(unsigned_number(j.at("epoch")));
    c.primary = start_from(j.at("primary"));
    for (const json& start : j.at("in_sync")) c.in_sync.push_back(start_from(start));
  } catch (const json::exception& e) {
    return error(ErrorKind::corrupt, "the pair's configuration in etcd is not understood: {}", e.what());
  }
  if (c.epoch.value == 0 || c.in_sync.size() > 2 || !c.has(c.primary))
    return error(ErrorKind::corrupt, "the pair's configuration in etcd makes no sense: {}", text);
  return c;
}

// ------------------------------------------------------------------------------------------------- requests

struct EtcdClient::Endpoint {
  std::string url;
  CURL* easy = nullptr;
  std::string answer;
  char problem[CURL_ERROR_SIZE] = {};
  ~Endpoint() { curl_easy_cleanup(easy); }
};

namespace {

size_t take_answer(char* data, size_t, size_t bytes, void* answer) {
  auto& text = *static_cast<std::string*>(answer);
  if (text.size() + bytes > answer_bytes_max) return 0;
  text.append(data, bytes);
  return bytes;
}

}  // namespace

EtcdClient::EtcdClient(EtcdOptions options) : options_(std::move(options)) {
  static const CURLcode initialized = curl_global_init(CURL_GLOBAL_DEFAULT);
  CHECK(initialized == CURLE_OK && !options_.endpoints.empty());
  multi_ = curl_multi_init();
  for (const std::string& url : options_.endpoints) {
    auto endpoint = std::make_unique<Endpoint>();
    endpoint->url = url;
    endpoint->easy = curl_easy_init();
    CHECK(multi_ != nullptr && endpoint->easy != nullptr);
    CURL* easy = endpoint->easy;
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, endpoint->problem);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &take_answer);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &endpoint->answer);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS,
                     static_cast<long>(options_.timeout / std::chrono::milliseconds(1)));
    if (!options_.authority.empty()) curl_easy_setopt(easy, CURLOPT_CAINFO, options_.authority.c_str());
    if (!options_.certificate.empty()) {
      curl_easy_setopt(easy, CURLOPT_SSLCERT, options_.certificate.c_str());
      curl_easy_setopt(easy, CURLOPT_SSLKEY, options_.private_key.c_str());
    }
    endpoints_.push_back(std::move(endpoint));
  }
}

EtcdClient::~EtcdClient() {
  endpoints_.clear();
  curl_multi_cleanup(multi_);
}

Result<std::string> EtcdClient::ask(const std::string& path, const std::string& body) {
  for (const auto& endpoint : endpoints_) {
    endpoint->answer.clear();
    endpoint->problem[0] = '\0';
    curl_easy_setopt(endpoint->easy, CURLOPT_URL, (endpoint->url + path).c_str());
    curl_easy_setopt(endpoint->easy, CURLOPT_POSTFIELDSIZE, static_cast<long>(body.size()));
    curl_easy_setopt(endpoint->easy, CURLOPT_POSTFIELDS, body.c_str());
    CHECK(curl_multi_add_handle(multi_, endpoint->easy) == CURLM_OK);
  }
  const Endpoint* good = nullptr;
  std::string problems;
  int running = 0;
  size_t ended = 0;
  while (good == nullptr && ended < endpoints_.size()) {
    curl_multi_perform(multi_, &running);
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi_, &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      ++ended;
      const auto it =
          std::ranges::find_if(endpoints_, [&](const auto& e) { return e->easy == message->easy_handle; });
      const CURLcode result = message->data.result;
      long code = 0;
      curl_easy_getinfo(message->easy_handle, CURLINFO_RESPONSE_CODE, &code);
      if (result == CURLE_OK && code == http_ok) {
        if (good == nullptr) good = it->get();
        continue;
      }
      const Endpoint& e = **it;
      problems += fmt::format("{}{}: {}", problems.empty() ? "" : "; ", e.url,
                              result == CURLE_OK     ? fmt::format("{} {}", code, e.answer.substr(0, 200))
                              : e.problem[0] != '\0' ? std::string(e.problem)
                                                     : std::string(curl_easy_strerror(result)));
    }
    if (good == nullptr && ended < endpoints_.size()) curl_multi_poll(multi_, nullptr, 0, 1000, nullptr);
  }
  for (const auto& endpoint : endpoints_) curl_multi_remove_handle(multi_, endpoint->easy);
  if (good == nullptr) return error(ErrorKind::io, "etcd cannot be reached: {}", problems);
  return good->answer;
}

Result<Arbiter::Versioned> EtcdClient::read() {
  const json request{{"key", base64(options_.key)}};
  return guarded(TRY(ask("/v3/kv/range", request.dump())), &parse_range);
}

Result<Arbiter::Replaced> EtcdClient::replace(uint64_t version, const mirror::Configuration& next) {
  const std::string key = base64(options_.key);
  const json request{
      {"compare", json::array({{{"key", key},
                                {"target", "MOD"},
                                {"result", "EQUAL"},
                                {"mod_revision", std::to_string(version)}}})},
      {"success", json::array({{{"request_put", {{"key", key}, {"value", base64(to_json(next))}}}}})},
      {"failure", json::array({{{"request_range", {{"key", key}}}}})}};
  Arbiter::Replaced replaced = TRY(guarded(TRY(ask("/v3/kv/txn", request.dump())), &parse_transaction));
  if (replaced.done) replaced.now.configuration = next;
  return replaced;
}

Result<void> EtcdClient::remove() {
  const json request{{"key", base64(options_.key)}};
  TRY(ask("/v3/kv/deleterange", request.dump()));
  return {};
}

// --------------------------------------------------------------------------------------------- the arbiter

struct EtcdArbiter::Impl {
  Impl(env::Env& e, EtcdOptions options)
      : env(e), client(std::move(options)), alive(std::make_shared<bool>(true)), thread([this] { run(); }) {}

  void run() {
    while (true) {
      std::move_only_function<void()> next;
      {
        std::unique_lock lock(mutex);
        changed.wait(lock, [this] { return ending || !questions.empty(); });
        if (ending) return;
        next = std::move(questions.front());
        questions.pop_front();
      }
      next();
    }
  }
  template <class T>
  void ask(std::move_only_function<Result<T>()> question, env::Done<T> done) {
    const std::lock_guard lock(mutex);
    questions.emplace_back([this, question = std::move(question), done = std::move(done)]() mutable {
      env.post([alive = alive, answer = question(), done = std::move(done)]() mutable {
        if (*alive) done(std::move(answer));
      });
    });
    changed.notify_one();
  }

  env::Env& env;
  EtcdClient client;                  // of the thread
  const std::shared_ptr<bool> alive;  // of the loop
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::move_only_function<void()>> questions;
  bool ending = false;
  std::thread thread;  // the last: it uses all the others
};

EtcdArbiter::EtcdArbiter(env::Env& env, EtcdOptions options)
    : impl_(std::make_unique<Impl>(env, std::move(options))) {}

EtcdArbiter::~EtcdArbiter() {
  *impl_->alive = false;
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->ending = true;
  }
  impl_->changed.notify_one();
  impl_->thread.join();
}

void EtcdArbiter::read(env::Done<Versioned> done) {
  impl_->ask<Versioned>([this] { return impl_->client.read(); }, std::move(done));
}

void EtcdArbiter::replace(uint64_t version, const mirror::Configuration& next, env::Done<Replaced> done) {
  impl_->ask<Replaced>([this, version, next] { return impl_->client.replace(version, next); },
                       std::move(done));
}

}  // namespace perdure::server
