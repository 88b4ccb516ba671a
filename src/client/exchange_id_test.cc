// EXCHANGE_ID: every case of RFC 8881 §18.35.4 ¶7.
#include "client/exchange_id.h"

#include <gtest/gtest.h>

#include "client/create_session.h"
#include "client/destroy_session.h"
#include "client/open.h"
#include "client/testing/world.h"

namespace perdure::client {
namespace {

using testing::channel;
using testing::World;

Outcome<ExchangedId> exchange(World& w, std::string_view owner, uint64_t verifier, std::string_view principal,
                              bool update = false) {
  return w.run([&](state::Run& run) {
    return exchange_id(w.cs(), run,
                       {.owner = bytes_of(owner),
                        .verifier = verifier,
                        .principal = principal,
                        .implementation = "t",
                        .update = update});
  });
}

Outcome<CreatedSession> confirm(World& w, ExchangedId id, std::string_view principal) {
  return w.run([&](state::Run& run) -> Outcome<CreatedSession> {
    const CreatedSession session = TRY(create_session(w.cs(), run,
                                                      {.client = id.client,
                                                       .seqid = id.create_seqid,
                                                       .principal = principal,
                                                       .fore = channel,
                                                       .back = channel}));
    TRY(cache_create_session(w.cs(), run, id.client, ByteVector(8)));
    return session;
  });
}

enum class Before : uint8_t {
  none,
  unconfirmed,
  confirmed,
  confirmed_with_session,
  lapsed_with_session,
  restarting
};
enum class Then : uint8_t {
  new_id,   // a new, unconfirmed client id
  same_id,  // the confirmed one
  client_in_use,
  no_entry,
  not_same,
  not_permitted,
};

struct Case {
  const char* name;
  Before before;
  bool same_verifier, same_principal, update;
  Then then;
  bool old_remains = false;  // the record from before is still there
};

const Case cases[] = {
    {"1 new owner", Before::none, true, true, false, Then::new_id},
    {"2 retry", Before::confirmed, true, true, false, Then::same_id, true},
    {"2 trunking", Before::confirmed_with_session, true, true, false, Then::same_id, true},
    {"3 collision, same verifier, no state", Before::confirmed, true, false, false, Then::new_id},
    {"3 collision, other verifier, no state", Before::confirmed, false, false, false, Then::new_id},
    {"3 collision, state", Before::confirmed_with_session, true, false, false, Then::client_in_use, true},
    {"3 collision, other verifier, state", Before::confirmed_with_session, false, false, false,
     Then::client_in_use, true},
    {"3 collision, state, lease ended", Before::lapsed_with_session, true, false, false, Then::new_id},
    {"4 unconfirmed, all the same", Before::unconfirmed, true, true, false, Then::new_id},
    {"4 unconfirmed, other verifier", Before::unconfirmed, false, true, false, Then::new_id},
    {"4 unconfirmed, other principal", Before::unconfirmed, true, false, false, Then::new_id},
    {"4 unconfirmed, both other", Before::unconfirmed, false, false, false, Then::new_id},
    {"5 restart", Before::confirmed, false, true, false, Then::new_id, true},
    {"5 restart with session", Before::confirmed_with_session, false, true, false, Then::new_id, true},
    {"5 restart, again", Before::restarting, false, true, false, Then::new_id, true},
    {"5 restart, then the old one asks", Before::restarting, true, true, false, Then::same_id, true},
    {"6 update", Before::confirmed, true, true, true, Then::same_id, true},
    {"7 update of nothing", Before::none, true, true, true, Then::no_entry},
    {"7 update of an unconfirmed one", Before::unconfirmed, true, true, true, Then::no_entry, true},
    {"8 update with another verifier", Before::confirmed, false, true, true, Then::not_same, true},
    {"8 before 9", Before::confirmed, false, false, true, Then::not_same, true},
    {"9 update by another principal", Before::confirmed, true, false, true, Then::not_permitted, true},
};

class ExchangeIdCases : public ::testing::TestWithParam<bool> {};

TEST_P(ExchangeIdCases, AllOfThem) {
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    ClientState::Options options;
    if (GetParam()) options.hash_mask = 0;  // all owners collide
    World w(options);
    ASSERT_TRUE(exchange(w, "someone else", 1, "root"));
    ClientId old, unconfirmed;
    if (c.before != Before::none) {
      const ExchangedId id = *exchange(w, "owner", 1, "root");
      old = id.client;
      if (c.before != Before::unconfirmed) {
        const auto session = confirm(w, id, "root");
        ASSERT_TRUE(session);
        if (c.before == Before::confirmed) {
          ASSERT_TRUE(w.run([&](state::Run& run) { return destroy_session(w.cs(), run, session->id); }));
        }
        if (c.before == Before::lapsed_with_session) w.pass(std::chrono::seconds(91));
        if (c.before == Before::restarting) unconfirmed = exchange(w, "owner", 7, "root")->client;
      }
    }
    const auto outcome =
        exchange(w, "owner", c.same_verifier ? 1 : 2, c.same_principal ? "root" : "thief", c.update);
    if (c.then == Then::new_id) {
      ASSERT_TRUE(outcome);
      EXPECT_NE(outcome->client, old);
      EXPECT_NE(outcome->client, unconfirmed);
      EXPECT_FALSE(outcome->confirmed);
      EXPECT_EQ(outcome->create_seqid, 1U);
    } else if (c.then == Then::same_id) {
      ASSERT_TRUE(outcome);
      EXPECT_EQ(outcome->client, old);
      EXPECT_TRUE(outcome->confirmed);
      EXPECT_EQ(outcome->create_seqid, 2U);
    } else {
      ASSERT_FALSE(outcome);
      const Status expected = c.then == Then::client_in_use ? Status::client_in_use
                              : c.then == Then::no_entry    ? Status::no_entry
                              : c.then == Then::not_same    ? Status::not_same
                                                            : Status::not_permitted;
      EXPECT_EQ(outcome.error(), Stop(expected)) << name(outcome.error().status());
    }
    w.run_jobs();
    if (old != ClientId(0)) {
      EXPECT_EQ(w.cs().clients.peek({old}) != nullptr, c.old_remains);
    }
    if (unconfirmed != ClientId(0)) {
      EXPECT_EQ(w.cs().clients.peek({unconfirmed}), nullptr);
    }
    EXPECT_EQ(w.check_twins(), "");
    const std::string rows = w.describe_rows();
    w.restart();
    EXPECT_EQ(w.describe_rows(), rows);
    // Everybody can go on: what was told is there.
    if (outcome && !outcome->confirmed) {
      EXPECT_TRUE(confirm(w, *outcome, c.same_principal ? "root" : "thief"));
      w.run_jobs();
      EXPECT_EQ(w.cs().clients.size(), 2U) << "someone else's, and the owner's one record";
      EXPECT_EQ(w.cs().client_owners.size(), 2U);
    }
  }
}
INSTANTIATE_TEST_SUITE_P(Hashes, ExchangeIdCases, ::testing::Bool());

TEST(ExchangeId, ANewIncarnationEndsTheOldOnesStateWhenItIsConfirmed) {
  World w;
  const World::Client old = w.make_client("owner", 1);
  ASSERT_TRUE(w.run([&](state::Run& run) {
    return open(w.cs(), run,
                {.client = old.id,
                 .owner = bytes_of("o"),
                 .inode = InodeId(5),
                 .access = share_both,
                 .deny = share_both});
  }));
  const World::Client other = w.make_client("other");
  const OpenArgs wanted{.client = other.id, .owner = bytes_of("o"), .inode = InodeId(5)};
  const auto try_open = [&] { return w.run([&](state::Run& run) { return open(w.cs(), run, wanted); }); };
  const ExchangedId id = *exchange(w, "owner", 2, "root");
  EXPECT_EQ(try_open().error(), Stop(Status::share_denied)) << "not confirmed yet";
  ASSERT_TRUE(confirm(w, id, "root"));
  EXPECT_EQ(w.jobs(), 1U);
  EXPECT_TRUE(try_open()) << "the old open does not count, though its row is still there";
  EXPECT_EQ(w.cs().opens.size(), 2U);
  w.run_jobs();
  EXPECT_EQ(w.cs().opens.size(), 1U);
  EXPECT_EQ(w.check_twins(), "");
}

TEST(ExchangeId, OwnersThatCollideAreToldApart) {
  ClientState::Options options;
  options.hash_mask = 1;
  World w(options);
  std::vector<ExchangedId> ids;
  for (int i = 0; i < 20; ++i) ids.push_back(*exchange(w, fmt::format("owner {}", i), 1, "root"));
  for (int i = 0; i < 20; i += 2) ASSERT_TRUE(confirm(w, ids[static_cast<size_t>(i)], "root"));
  w.restart();
  for (int i = 0; i < 20; ++i) {
    const ExchangedId again = *exchange(w, fmt::format("owner {}", i), 1, "root");
    EXPECT_EQ(again.client == ids[static_cast<size_t>(i)].client, i % 2 == 0) << i;
  }
  EXPECT_EQ(w.cs().client_owners.size(), 20U);
}

TEST(ExchangeId, OwnersHaveALength) {
  World w;
  EXPECT_EQ(exchange(w, "", 1, "root").error(), Stop(Status::invalid_argument));
  EXPECT_EQ(exchange(w, std::string(1025, 'x'), 1, "root").error(), Stop(Status::invalid_argument));
  EXPECT_TRUE(exchange(w, std::string(1024, 'x'), 1, "root"));
}

TEST(ExchangeId, TheNumberOfClientsIsBounded) {
  ClientState::Options options;
  options.clients_max = 3;
  World w(options);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(exchange(w, fmt::format("{}", i), 1, "root"));
  EXPECT_EQ(exchange(w, "3", 1, "root").error(), Stop(Status::delay));
  EXPECT_TRUE(exchange(w, "2", 2, "root")) << "replaces its own unconfirmed record";
  const std::string rows = w.describe_rows();
  EXPECT_EQ(exchange(w, "3", 1, "root").error(), Stop(Status::delay));
  EXPECT_EQ(w.describe_rows(), rows);
  w.pass(std::chrono::seconds(91));
  w.find_expired();
  w.run_jobs();
  EXPECT_TRUE(exchange(w, "3", 1, "root")) << "unconfirmed ones expire too";
  EXPECT_EQ(w.cs().clients.size(), 1U);
}

}  // namespace
}  // namespace perdure::client
