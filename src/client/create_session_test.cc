// CREATE_SESSION, DESTROY_SESSION, DESTROY_CLIENTID and RECLAIM_COMPLETE.
#include "client/create_session.h"

#include <gtest/gtest.h>

#include "client/bind_conn_to_session.h"
#include "client/destroy_clientid.h"
#include "client/destroy_session.h"
#include "client/exchange_id.h"
#include "client/open.h"
#include "client/reclaim_complete.h"
#include "client/testing/world.h"

namespace perdure::client {
namespace {

using testing::channel;
using testing::World;

ExchangedId exchange(World& w, std::string_view owner) {
  return *w.run([&](state::Run& run) {
    return exchange_id(w.cs(), run, {.owner = bytes_of(owner), .verifier = 1, .principal = "root"});
  });
}

CreateSessionArgs args_of(ExchangedId id) {
  return {
      .client = id.client, .seqid = id.create_seqid, .principal = "root", .fore = channel, .back = channel};
}

// As the protocol's layer does it: what is created is cached with its own seqid.
Outcome<CreatedSession> create(World& w, const CreateSessionArgs& args) {
  return w.run([&](state::Run& run) -> Outcome<CreatedSession> {
    const CreatedSession session = TRY(create_session(w.cs(), run, args));
    ByteVector reply(4 + args.seqid);  // begins with a status
    reply[3] = session.refused != Status::ok ? std::byte{1} : std::byte{0};
    if (!session.replay)  // an error as well
      TRY(cache_create_session(w.cs(), run, args.client, std::move(reply)));
    return session;
  });
}

TEST(CreateSession, SeqidsAreASlotWithOneReply) {
  World w;
  CreateSessionArgs args = args_of(exchange(w, "owner"));
  args.seqid = 0;
  EXPECT_EQ(create(w, args).error(), Stop(Status::seq_misordered)) << "nothing to replay yet";
  args.seqid = 2;
  EXPECT_EQ(create(w, args).error(), Stop(Status::seq_misordered));
  for (uint32_t seqid = 1; seqid <= 3; ++seqid) {
    args.seqid = seqid;
    const auto made = create(w, args);
    ASSERT_TRUE(made && !made->replay);
    w.restart();
    for (int i = 0; i < 2; ++i) {
      const auto again = create(w, args);
      ASSERT_TRUE(again && again->replay);
      EXPECT_EQ(again->replay->size(), 4 + seqid);
    }
    args.seqid = seqid - 1;
    EXPECT_EQ(create(w, args).error(), Stop(Status::seq_misordered));
    args.seqid = seqid + 2;
    EXPECT_EQ(create(w, args).error(), Stop(Status::seq_misordered));
  }
  EXPECT_EQ(w.cs().sessions.size(), 3U);
  EXPECT_EQ(w.check_twins(), "");
}

TEST(CreateSession, SeqidsWrapAround) {
  World w;
  CreateSessionArgs args = args_of(exchange(w, "owner"));
  ASSERT_TRUE(create(w, args));
  (void)w.run([&](state::Run& run) -> Outcome<void> {
    ClientRow row = *TRY(w.cs().clients.get(run, {args.client}));
    row.create_seqid = UINT32_MAX;
    w.cs().clients.put(run, {args.client}, row);
    return {};
  });
  args.seqid = 1;
  EXPECT_EQ(create(w, args).error(), Stop(Status::seq_misordered));
  args.seqid = 0;
  EXPECT_TRUE(w.run([&](state::Run& run) { return create_session(w.cs(), run, args); }));
}

TEST(CreateSession, ErrorsChangeNothing) {
  World w;
  const CreateSessionArgs good = args_of(exchange(w, "owner"));
  const std::string rows = w.describe_rows();
  CreateSessionArgs bad = good;
  bad.client = ClientId(12345);
  EXPECT_EQ(create(w, bad).error(), Stop(Status::stale_client));
  bad = good;
  bad.principal = "thief";
  EXPECT_EQ(create(w, bad).error(), Stop(Status::client_in_use));
  EXPECT_EQ(w.describe_rows(), rows);
  EXPECT_TRUE(create(w, good)) << "with the same seqid";
  CreateSessionArgs second = good;
  second.seqid = 2;
  second.principal = "somebody else";
  EXPECT_TRUE(create(w, second)) << "a confirmed client may change its principal";
}

TEST(CreateSession, ARefusalMovesTheSlotAlone) {
  World w;
  const ExchangedId id = exchange(w, "owner");
  CreateSessionArgs args = args_of(id);
  for (int i = 0; i < 9; ++i, ++args.seqid) {
    CreateSessionArgs bad = args;
    ChannelAttributes& a = i % 2 == 0 ? bad.fore : bad.back;
    if (i / 2 == 0) a.request_bytes_max = 255;
    if (i / 2 == 1) a.response_bytes_max = 255;
    if (i / 2 == 2) a.operations_max = 0;
    if (i / 2 == 3) bad.fore.slots = 0;
    bad.well_formed = i != 8;
    const auto refused = create(w, bad);
    ASSERT_TRUE(refused && !refused->replay) << i;
    EXPECT_EQ(refused->refused, i == 8 ? Status::invalid_argument : Status::too_small) << i;
    w.restart();
    const auto again = create(w, bad);
    ASSERT_TRUE(again && again->replay) << i;
    EXPECT_FALSE(w.cs().clients.peek({id.client})->confirmed);
    EXPECT_EQ(w.cs().sessions.size(), 0U);
  }
  ASSERT_TRUE(create(w, args));
  EXPECT_TRUE(w.cs().clients.peek({id.client})->confirmed);
  EXPECT_EQ(w.check_twins(), "");
}

TEST(CreateSession, TheServerLowersWhatItIsAskedFor) {
  World w;
  CreateSessionArgs args = args_of(exchange(w, "owner"));
  const uint32_t huge = UINT32_MAX;
  args.fore = args.back = {huge, huge, huge, huge, huge};
  args.persist = args.back_channel = true;
  args.connection = ConnectionId(7);
  const CreatedSession session = *create(w, args);
  const ClientState::Options& o = w.cs().options();
  EXPECT_EQ(session.fore,
            (ChannelAttributes{o.request_bytes_max, o.response_bytes_max, o.cached_response_bytes_max,
                               o.operations_max, o.slots_per_session_max}));
  EXPECT_TRUE(session.persist && session.back_channel);
  const SessionNumber number(w.cs().sessions.peek({SessionNumber((uint64_t{1} << 32U) + 1)}) != nullptr
                                 ? (uint64_t{1} << 32U) + 1
                                 : 0);
  ASSERT_NE(w.cs().session_twin(number), nullptr);
  const auto& connections = w.cs().session_twin(number)->connections;
  ASSERT_EQ(connections.size(), 1U);
  EXPECT_TRUE(connections[0].id == ConnectionId(7) && connections[0].fore && connections[0].back);
  args.seqid = 2;
  args.fore = args.back = {300, 400, 500, 2, 1};
  EXPECT_EQ(create(w, args)->fore, (ChannelAttributes{300, 400, 400, 2, 1})) << "and never raises it";
}

TEST(CreateSession, NoPersistenceWhereNothingPersists) {
  ClientState::Options options;
  options.persistent = false;
  World w(options);
  CreateSessionArgs args = args_of(exchange(w, "owner"));
  args.persist = true;
  EXPECT_FALSE(create(w, args)->persist);
}

TEST(CreateSession, TheNumberOfSessionsIsBounded) {
  ClientState::Options options;
  options.sessions_per_client_max = 2;
  World w(options);
  CreateSessionArgs args = args_of(exchange(w, "owner"));
  const SessionId first = create(w, args)->id;
  args.seqid = 2;
  ASSERT_TRUE(create(w, args));
  args.seqid = 3;
  EXPECT_EQ(create(w, args)->refused, Status::no_space);
  w.restart();
  args.seqid = 4;
  EXPECT_EQ(create(w, args)->refused, Status::no_space);
  ASSERT_TRUE(w.run([&](state::Run& run) { return destroy_session(w.cs(), run, first); }));
  args.seqid = 5;
  EXPECT_EQ(create(w, args)->refused, Status::ok);
}

TEST(CreateSession, IdsAreNeverGivenTwice) {
  World w;
  std::vector<SessionId> ids;
  std::vector<ClientId> clients;
  for (int i = 0; i < 6; ++i) {
    const World::Client c = w.make_client(fmt::format("owner {}", i));
    ids.push_back(c.session);
    clients.push_back(c.id);
    ASSERT_TRUE(w.run([&](state::Run& run) -> Outcome<void> {
      TRY(destroy_session(w.cs(), run, c.session));
      return destroy_clientid(w.cs(), run, c.id);
    }));
    if (i % 2 == 0) w.checkpoint();
    w.restart();
  }
  std::sort(ids.begin(), ids.end());
  std::sort(clients.begin(), clients.end());
  EXPECT_EQ(std::adjacent_find(ids.begin(), ids.end()), ids.end());
  EXPECT_EQ(std::adjacent_find(clients.begin(), clients.end()), clients.end());
  EXPECT_EQ(w.describe_rows(), "");
}

// The COMPOUND that creates a session fails later on, or faults.
TEST(CreateSession, IsTakenBackWithItsRun) {
  World w;
  const World::Client old = w.make_client("owner");
  const ExchangedId id = *w.run([&](state::Run& run) {
    return exchange_id(w.cs(), run, {.owner = bytes_of("owner"), .verifier = 2, .principal = "root"});
  });
  CreateSessionArgs args = args_of(id);
  args.connection = ConnectionId(4);
  const std::string rows = w.describe_rows(), twins = w.cs().describe_twins();
  for (int i = 0; i < 2; ++i) {
    w.abandon(w.next_id(), [&](state::Run& run) -> Outcome<void> {
      TRY(create_session(w.cs(), run, args));
      EXPECT_EQ(w.cs().find_session(run, old.session).error(), Stop(Status::bad_session));
      return {};
    });
    EXPECT_FALSE(w.run([&](state::Run& run) -> Outcome<void> {
      TRY(create_session(w.cs(), run, args));
      return Status::resource;
    }));
    EXPECT_EQ(w.describe_rows(), rows);
    EXPECT_EQ(w.cs().describe_twins(), twins);
  }
  w.cs().connection_closed(ConnectionId(4));
  EXPECT_TRUE(create(w, args));
  EXPECT_EQ(w.jobs(), 1U);
}

TEST(BackchannelCtl, ChangesTheCallbackParameters) {
  World w;
  const World::Client c = w.make_client("owner");
  EXPECT_TRUE(
      w.run([&](state::Run& run) { return backchannel_ctl(w.cs(), run, c.number, 99, bytes_of("sys")); }));
  EXPECT_EQ(
      w.run([&](state::Run& run) { return backchannel_ctl(w.cs(), run, SessionNumber(1), 99, {}); }).error(),
      Stop(Status::bad_session));
  w.restart();
  EXPECT_EQ(w.cs().sessions.peek({c.number})->callback_program, 99U);
  EXPECT_EQ(w.cs().sessions.peek({c.number})->callback_security.size(), 3U);
}

TEST(DestroyClientid, OnlyWithoutState) {
  World w;
  const World::Client c = w.make_client("owner");
  const auto destroy = [&](ClientId id) {
    return w.run([&](state::Run& run) { return destroy_clientid(w.cs(), run, id); });
  };
  EXPECT_EQ(destroy(ClientId(1)).error(), Stop(Status::stale_client));
  EXPECT_EQ(destroy(c.id).error(), Stop(Status::client_busy));
  const Stateid stateid = *w.run([&](state::Run& run) {
    return open(w.cs(), run, {.client = c.id, .owner = bytes_of("o"), .inode = InodeId(1)});
  });
  ASSERT_TRUE(w.run([&](state::Run& run) { return destroy_session(w.cs(), run, c.session); }));
  EXPECT_EQ(destroy(c.id).error(), Stop(Status::client_busy)) << "it has an open";
  ASSERT_TRUE(w.run([&](state::Run& run) { return close(w.cs(), run, c.id, InodeId(1), stateid); }));
  EXPECT_TRUE(destroy(c.id));
  EXPECT_EQ(destroy(c.id).error(), Stop(Status::stale_client));
  EXPECT_TRUE(destroy(exchange(w, "another").client)) << "an unconfirmed one too";
  EXPECT_EQ(w.describe_rows(), "");
  EXPECT_EQ(w.jobs(), 0U);
  EXPECT_EQ(w.check_twins(), "");
}

TEST(ReclaimComplete, OnceAndBeforeAnyOpen) {
  World w;
  const ExchangedId id = exchange(w, "owner");
  ASSERT_TRUE(create(w, args_of(id)));
  const auto complete = [&](bool one_fs) {
    return w.run([&](state::Run& run) { return reclaim_complete(w.cs(), run, id.client, one_fs); });
  };
  const auto try_open = [&](bool reclaim) {
    return w.run([&](state::Run& run) {
      return open(w.cs(), run,
                  {.client = id.client, .owner = bytes_of("o"), .inode = InodeId(1), .reclaim = reclaim});
    });
  };
  EXPECT_EQ(try_open(false).error(), Stop(Status::grace));
  EXPECT_EQ(try_open(true).error(), Stop(Status::no_grace));
  EXPECT_TRUE(complete(true));
  EXPECT_TRUE(complete(true));
  EXPECT_EQ(try_open(false).error(), Stop(Status::grace)) << "that was for one file system";
  EXPECT_TRUE(complete(false));
  EXPECT_EQ(complete(false).error(), Stop(Status::complete_already));
  EXPECT_TRUE(complete(true));
  w.restart();
  EXPECT_EQ(complete(false).error(), Stop(Status::complete_already));
  EXPECT_TRUE(try_open(false));
  EXPECT_EQ(try_open(true).error(), Stop(Status::no_grace));
}

}  // namespace
}  // namespace perdure::client
