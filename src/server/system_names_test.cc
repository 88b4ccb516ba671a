// The names of the machine that runs the tests; every one has root.
#include "server/system_names.h"

#include <gtest/gtest.h>

#include "server/testing/server_thread.h"

namespace perdure::server {
namespace {

using nfs4::OwnerKind;

class NoRequests final : public RequestHandler {
  void handle(wire::Request&&) override {}
  void closed(wire::ConnectionId) override {}
};

class SystemNamesTest : public ::testing::Test {
 public:
  SystemNamesTest() {
    thread.on_loop([this] { names = std::make_unique<SystemNames>(thread.env()); });
  }
  ~SystemNamesTest() override {
    thread.on_loop([this] { names.reset(); });
  }
  // The answer, once it is there.
  template <class T, class Ask>
  T answer(Ask ask) {
    std::optional<Result<T>> result;
    thread.on_loop([&] { ask([&](Result<T> r) { result.emplace(std::move(r)); }); });
    EXPECT_TRUE(thread.wait_until([&] { return result.has_value(); }));
    EXPECT_TRUE(result.has_value() && result->has_value());
    return result->value();
  }
  std::optional<uint32_t> id(OwnerKind kind, const std::string& name) {
    return answer<std::optional<uint32_t>>([&](auto done) { names->find_id(kind, name, std::move(done)); });
  }
  std::optional<std::string> name(OwnerKind kind, uint32_t number) {
    return answer<std::optional<std::string>>(
        [&](auto done) { names->find_name(kind, number, std::move(done)); });
  }

  ServerThread thread{[](ServerThread&) { return std::make_unique<NoRequests>(); }};
  std::unique_ptr<SystemNames> names;
};

TEST_F(SystemNamesTest, KnowsRoot) {
  EXPECT_EQ(id(OwnerKind::user, "root"), 0U);
  EXPECT_EQ(id(OwnerKind::group, "root"), 0U);
  EXPECT_EQ(name(OwnerKind::user, 0), "root");
  EXPECT_EQ(name(OwnerKind::group, 0), "root");
}

TEST_F(SystemNamesTest, SaysWhoIsNotThere) {
  EXPECT_EQ(id(OwnerKind::user, "there is nobody of this name"), std::nullopt);
  EXPECT_EQ(id(OwnerKind::group, "nor such a group"), std::nullopt);
  EXPECT_EQ(name(OwnerKind::user, 0xfffffff0), std::nullopt);
}

TEST_F(SystemNamesTest, MayGoWithQuestionsUnanswered) {
  for (int round = 0; round < 200; ++round) {
    thread.on_loop([&] {
      names = std::make_unique<SystemNames>(thread.env());
      for (int i = 0; i < 20; ++i)
        names->find_id(OwnerKind::user, "root", [](auto) { FAIL() << "nobody wants to know any more"; });
      // Some are on their way already.
      std::this_thread::yield();
      names.reset();
    });
  }
}

}  // namespace
}  // namespace perdure::server
