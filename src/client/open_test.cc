// Share reservations, stateids, and access under them.
#include "client/open.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

#include "client/access.h"
#include "client/lock.h"
#include "client/stateid_ops.h"
#include "client/testing/world.h"

namespace perdure::client {
namespace {

using testing::file;
using testing::World;

Outcome<Stateid> try_open(World& w, ClientId client, std::string_view owner, uint8_t access, uint8_t deny,
                          InodeId inode = file) {
  return w.run([&](state::Run& run) {
    return open(w.cs(), run,
                {.client = client, .owner = bytes_of(owner), .inode = inode, .access = access, .deny = deny});
  });
}

Outcome<void> try_close(World& w, ClientId client, const Stateid& stateid) {
  return w.run([&](state::Run& run) { return close(w.cs(), run, client, stateid.inode, stateid); });
}

Outcome<Stateid> downgrade(World& w, ClientId client, const Stateid& stateid, uint8_t access, uint8_t deny) {
  return w.run([&](state::Run& run) {
    return open_downgrade(w.cs(), run, client, stateid.inode, stateid, access, deny);
  });
}

Outcome<Access> access_by(World& w, ClientId client, const Stateid& stateid, IoKind kind,
                          InodeId inode = file) {
  return w.run([&](state::Run& run) { return check_access(w.cs(), run, client, inode, stateid, kind); });
}

// RFC 8881 §9.7: both ways, all 4 x 4 of each side. By another client, and by another owner of the same one.
TEST(Open, TheWholeShareMatrix) {
  World w;
  const World::Client a = w.make_client("a"), b = w.make_client("b");
  for (uint8_t access1 = 0; access1 < 4; ++access1) {
    for (uint8_t deny1 = 0; deny1 < 4; ++deny1) {
      const auto first = try_open(w, a.id, "one", access1, deny1);
      if (access1 == 0) {
        EXPECT_EQ(first.error(), Stop(Status::invalid_argument));
        continue;
      }
      ASSERT_TRUE(first);
      for (uint8_t access2 = 1; access2 < 4; ++access2) {
        for (uint8_t deny2 = 0; deny2 < 4; ++deny2) {
          const bool conflict = (deny1 & access2) != 0 || (deny2 & access1) != 0;
          for (const ClientId client : {a.id, b.id}) {
            const bool told = *w.run([&](state::Run& run) {
              return share_conflict(w.cs(), run,
                                    {.client = client,
                                     .owner = bytes_of("two"),
                                     .inode = file,
                                     .access = access2,
                                     .deny = deny2});
            });
            EXPECT_EQ(told, conflict);
            const auto second = try_open(w, client, "two", access2, deny2);
            EXPECT_EQ(second.has_value(), !conflict);
            if (!second) {
              EXPECT_EQ(second.error(), Stop(Status::share_denied));
            } else {
              EXPECT_TRUE(try_close(w, client, *second));
            }
          }
        }
      }
      EXPECT_TRUE(try_close(w, a.id, *first));
    }
  }
  EXPECT_EQ(try_open(w, a.id, "one", 4, 0).error(), Stop(Status::invalid_argument));
  EXPECT_EQ(try_open(w, a.id, "one", 1, 4).error(), Stop(Status::invalid_argument));
  EXPECT_EQ(w.check_twins(), "");
}

// The second OPEN of an owner widens its open; what it is checked against is everybody else.
TEST(Open, AnOwnersOpensAreOne) {
  World w;
  const World::Client a = w.make_client("a"), b = w.make_client("b");
  const Stateid first = *try_open(w, a.id, "one", share_read, share_read);
  EXPECT_EQ(first.seqid, 1U);
  EXPECT_EQ(first.kind(), StateKind::open);
  const Stateid second = *try_open(w, a.id, "one", share_write, share_write);
  EXPECT_EQ(second.seqid, 2U);
  EXPECT_EQ(second.other(), first.other());
  EXPECT_EQ(try_open(w, a.id, "one", share_write, share_write)->seqid, 3U) << "every OPEN counts";
  EXPECT_EQ(w.cs().opens.size(), 1U);
  EXPECT_EQ(try_open(w, b.id, "one", share_read, 0).error(), Stop(Status::share_denied));
  EXPECT_NE(try_open(w, a.id, "one", share_read, 0, InodeId(78))->number, 0U) << "another file";
  w.restart();
  EXPECT_EQ(try_open(w, a.id, "one", share_read, 0)->seqid, 4U);
  EXPECT_EQ(w.cs().opens.peek({file, first.number})->deny, share_both);
}

TEST(Open, StateidsNameNothingBeforeAndAfter) {
  World w;
  const World::Client a = w.make_client("a"), b = w.make_client("b");
  const auto test = [&](const Stateid& s, ClientId client) {
    return *w.run([&](state::Run& run) { return test_stateid(w.cs(), run, client, s); });
  };
  const Stateid stateid = *try_open(w, a.id, "one", share_read, 0);
  Stateid s = stateid;
  EXPECT_EQ(Stateid::of(s.seqid, s.other()), s);
  EXPECT_EQ(test(s, a.id), Status::ok);
  EXPECT_EQ(test(s, b.id), Status::bad_stateid) << "another client's";
  s.seqid = 0;
  EXPECT_EQ(test(s, a.id), Status::ok) << "the current one";
  s.seqid = 2;
  EXPECT_EQ(test(s, a.id), Status::bad_stateid) << "from the future";
  ASSERT_TRUE(try_open(w, a.id, "one", share_read, 0));
  EXPECT_EQ(test(s, a.id), Status::ok);
  s.seqid = 1;
  EXPECT_EQ(test(s, a.id), Status::old_stateid);
  EXPECT_EQ(try_close(w, a.id, s).error(), Stop(Status::old_stateid));
  s = stateid;
  s.number ^= 1;
  EXPECT_EQ(test(s, a.id), Status::bad_stateid) << "never given";
  s.number = stateid.number ^ (1U << Stateid::kind_shift);
  EXPECT_EQ(test(s, a.id), Status::bad_stateid) << "of another kind";
  s = stateid;
  s.inode = InodeId(1);
  EXPECT_EQ(test(s, a.id), Status::bad_stateid);
  for (const Stateid special :
       {Stateid::anonymous(), Stateid::read_bypass(), Stateid{1, {}, 0}, Stateid{UINT32_MAX, {}, 0}})
    EXPECT_EQ(test(special, a.id), Status::bad_stateid);
  s = stateid;
  s.seqid = 2;
  ASSERT_TRUE(try_close(w, a.id, s));
  EXPECT_EQ(test(s, a.id), Status::bad_stateid) << "closed";
  EXPECT_EQ(try_close(w, a.id, s).error(), Stop(Status::bad_stateid));
}

TEST(Open, NumbersDoNotComeBack) {
  World w;
  const World::Client a = w.make_client("a");
  std::set<uint32_t> given;
  for (int start = 0; start < 8; ++start) {
    for (int i = 0; i < 100; ++i) {
      const Stateid s = *try_open(w, a.id, "one", share_read, 0);
      EXPECT_TRUE(given.insert(s.number).second);
      ASSERT_TRUE(try_close(w, a.id, s));
    }
    w.restart();
  }
}

TEST(Open, SeqidsWrapAroundWithoutZero) {
  World w;
  const World::Client a = w.make_client("a");
  Stateid s = *try_open(w, a.id, "one", share_read, 0);
  (void)w.run([&](state::Run& run) -> Outcome<void> {
    OpenRow row = *TRY(w.cs().opens.get(run, {file, s.number}));
    row.seqid = UINT32_MAX;
    w.cs().opens.put(run, {file, s.number}, row);
    return {};
  });
  EXPECT_EQ(try_open(w, a.id, "one", share_read, 0)->seqid, 1U);
  s.seqid = UINT32_MAX;
  EXPECT_EQ(try_close(w, a.id, s).error(), Stop(Status::old_stateid));
}

// Against every set of earlier opens: a downgrade is allowed exactly if some of them add up to it.
TEST(OpenDowngrade, ToAnyUnionOfEarlierOpens) {
  World w;
  const World::Client a = w.make_client("a");
  std::mt19937 random(3);
  uint64_t inode = 100;
  for (int round = 0; round < 60; ++round) {
    std::vector<std::pair<uint8_t, uint8_t>> opened;
    for (uint64_t n = 1 + random() % 3; n > 0; --n)
      opened.emplace_back(static_cast<uint8_t>(1 + random() % 3), static_cast<uint8_t>(random() % 4));
    for (uint8_t access = 0; access < 5; ++access) {
      for (uint8_t deny = 0; deny < 5; ++deny) {
        Stateid s;
        ++inode;
        for (const auto& [x, d] : opened) s = *try_open(w, a.id, "one", x, d, InodeId(inode));
        bool possible = false;
        std::set<std::pair<uint8_t, uint8_t>> left;
        for (unsigned subset = 1; subset < 1U << opened.size(); ++subset) {
          uint8_t x = 0, d = 0;
          for (size_t i = 0; i < opened.size(); ++i) {
            if ((subset >> i & 1U) == 0) continue;
            x |= opened[i].first;
            d |= opened[i].second;
          }
          possible = possible || (x == access && d == deny);
        }
        const auto outcome = downgrade(w, a.id, s, access, deny);
        ASSERT_EQ(outcome.has_value(), possible);
        if (!possible) {
          EXPECT_EQ(outcome.error(), Stop(Status::invalid_argument));
          continue;
        }
        EXPECT_EQ(outcome->seqid, s.seqid + 1);
        const OpenRow& row = *w.cs().opens.peek({InodeId(inode), s.number});
        EXPECT_EQ(row.access, access);
        EXPECT_EQ(row.deny, deny);
        // What was given up cannot be taken again by a downgrade.
        for (const auto& [x, d] : opened) {
          if ((x & ~access) == 0 && (d & ~deny) == 0) continue;
          EXPECT_EQ(downgrade(w, a.id, *outcome, x, d).has_value(), x == access && d == deny);
        }
      }
    }
  }
  EXPECT_EQ(w.check_twins(), "");
}

TEST(OpenDowngrade, LetsOthersIn) {
  World w;
  const World::Client a = w.make_client("a"), b = w.make_client("b");
  ASSERT_TRUE(try_open(w, a.id, "one", share_read, 0));
  const Stateid both = *try_open(w, a.id, "one", share_both, share_both);
  EXPECT_EQ(try_open(w, b.id, "two", share_read, 0).error(), Stop(Status::share_denied));
  const Stateid narrowed = *downgrade(w, a.id, both, share_read, 0);
  EXPECT_TRUE(try_open(w, b.id, "two", share_both, 0));
  EXPECT_EQ(downgrade(w, a.id, both, share_read, 0).error(), Stop(Status::old_stateid));
  EXPECT_EQ(downgrade(w, b.id, narrowed, share_read, 0).error(), Stop(Status::bad_stateid));
}

TEST(Close, TellsWhenTheLastOneIsGone) {
  World w;
  const World::Client a = w.make_client("a"), b = w.make_client("b");
  const auto opened = [&] { return *w.run([&](state::Run& run) { return is_open(w.cs(), run, file); }); };
  EXPECT_FALSE(opened());
  const Stateid s1 = *try_open(w, a.id, "one", share_read, 0);
  const Stateid s2 = *try_open(w, b.id, "one", share_read, 0);
  EXPECT_TRUE(opened());
  ASSERT_TRUE(try_close(w, a.id, s1));
  EXPECT_TRUE(opened());
  EXPECT_TRUE(w.released.empty());
  const std::string rows = w.describe_rows(), twins = w.cs().describe_twins();
  w.fault_in_released = true;
  EXPECT_TRUE(try_close(w, b.id, s2).error().is_fault());
  EXPECT_EQ(w.describe_rows(), rows);
  EXPECT_EQ(w.cs().describe_twins(), twins);
  w.restart();
  ASSERT_TRUE(try_close(w, b.id, s2));
  EXPECT_FALSE(opened());
  EXPECT_EQ(w.released, std::vector{file});
}

TEST(Access, ByOpen) {
  World w;
  const World::Client a = w.make_client("a"), b = w.make_client("b");
  const Stateid reader = *try_open(w, a.id, "r", share_read, 0);
  const Stateid writer = *try_open(w, a.id, "w", share_write, 0);
  EXPECT_EQ(access_by(w, a.id, reader, IoKind::read)->open, reader.number);
  EXPECT_EQ(access_by(w, a.id, reader, IoKind::write).error(), Stop(Status::open_mode));
  EXPECT_TRUE(access_by(w, a.id, writer, IoKind::write));
  EXPECT_TRUE(access_by(w, a.id, writer, IoKind::read)) << "for read-modify-write";
  EXPECT_EQ(access_by(w, b.id, reader, IoKind::read).error(), Stop(Status::bad_stateid));
  EXPECT_EQ(access_by(w, a.id, reader, IoKind::read, InodeId(1)).error(), Stop(Status::bad_stateid));
  Stateid s = reader;
  s.seqid = 7;
  EXPECT_EQ(access_by(w, a.id, s, IoKind::read).error(), Stop(Status::bad_stateid));
  ASSERT_TRUE(try_open(w, a.id, "r", share_read, 0));
  EXPECT_EQ(access_by(w, a.id, reader, IoKind::read).error(), Stop(Status::old_stateid));
  s.seqid = 0;
  EXPECT_TRUE(access_by(w, a.id, s, IoKind::read));
  const Locked lock_state = *w.run([&](state::Run& run) {
    return lock(w.cs(), run,
                {.client = a.id,
                 .inode = file,
                 .type = LockType::write,
                 .range = {0, 9},
                 .stateid = writer,
                 .new_owner = true,
                 .owner = bytes_of("l")});
  });
  EXPECT_EQ(access_by(w, a.id, lock_state.stateid, IoKind::write)->open, writer.number);
  s = lock_state.stateid;
  s.seqid = 2;
  EXPECT_EQ(access_by(w, a.id, s, IoKind::write).error(), Stop(Status::bad_stateid));
  // The current stateid must have been resolved, and there are no other special ones.
  for (const Stateid special :
       {Stateid{1, {}, 0}, Stateid{UINT32_MAX, {}, 0}, Stateid{0, InodeId(UINT64_MAX), UINT32_MAX}})
    EXPECT_EQ(access_by(w, a.id, special, IoKind::read).error(), Stop(Status::bad_stateid));
}

TEST(Access, DenyModesHinderOthers) {
  World w;
  const World::Client a = w.make_client("a"), b = w.make_client("b");
  for (const Stateid special : {Stateid::anonymous(), Stateid::read_bypass()})
    for (const IoKind kind : {IoKind::read, IoKind::write})
      EXPECT_EQ(access_by(w, b.id, special, kind)->open, 0U);
  for (uint8_t deny = 0; deny < 4; ++deny) {
    const Stateid s = *try_open(w, a.id, "one", share_both, deny);
    for (const Stateid special : {Stateid::anonymous(), Stateid::read_bypass()}) {
      for (const IoKind kind : {IoKind::read, IoKind::write}) {
        const bool denied = (deny & (kind == IoKind::read ? share_read : share_write)) != 0;
        const auto outcome = access_by(w, b.id, special, kind);
        EXPECT_EQ(outcome.has_value(), !denied);
        if (!outcome) {
          EXPECT_EQ(outcome.error(), Stop(Status::locked));
        }
      }
    }
    EXPECT_TRUE(access_by(w, a.id, s, IoKind::read)) << "never oneself";
    ASSERT_TRUE(try_close(w, a.id, s));
  }
  // A read under an open for writing, too.
  const Stateid denier = *try_open(w, a.id, "one", share_read, share_read);
  const Stateid writer = *try_open(w, b.id, "two", share_write, 0);
  EXPECT_EQ(access_by(w, b.id, writer, IoKind::read).error(), Stop(Status::locked));
  EXPECT_TRUE(access_by(w, b.id, writer, IoKind::write));
  ASSERT_TRUE(try_close(w, a.id, denier));
  EXPECT_TRUE(access_by(w, b.id, writer, IoKind::read));
}

TEST(Open, TheNumberOfOpensIsBounded) {
  ClientState::Options options;
  options.opens_per_client_max = 2;
  World w(options);
  const World::Client a = w.make_client("a"), b = w.make_client("b");
  const Stateid s = *try_open(w, a.id, "one", share_read, 0);
  ASSERT_TRUE(try_open(w, a.id, "two", share_read, 0));
  EXPECT_EQ(try_open(w, a.id, "three", share_read, 0).error(), Stop(Status::resource));
  EXPECT_TRUE(try_open(w, a.id, "two", share_write, 0)) << "widening takes no more";
  EXPECT_TRUE(try_open(w, b.id, "one", share_read, 0)) << "each client has its own";
  w.restart();
  EXPECT_EQ(try_open(w, a.id, "three", share_read, 0).error(), Stop(Status::resource));
  ASSERT_TRUE(try_close(w, a.id, s));
  EXPECT_TRUE(try_open(w, a.id, "three", share_read, 0));
}

// Two clients open, widen, narrow and close at random, with restarts and abandoned runs. A model of who has
// what decides what must happen.
TEST(Open, TwoClientsAgainstAModel) {
  for (const bool collide : {false, true}) {
    std::mt19937_64 random(collide ? 5 : 6);
    const auto pick = [&](uint64_t n) { return random() % n; };
    ClientState::Options options;
    if (collide) options.hash_mask = 0;
    World w(options);
    const World::Client clients[] = {w.make_client("a"), w.make_client("b")};
    struct Mine {
      Stateid stateid;
      uint8_t access = 0, deny = 0;
    };
    std::map<std::tuple<uint64_t, size_t, std::string>, Mine> model;  // inode, client, owner
    for (int i = 0; i < 3000; ++i) {
      const size_t who = pick(2);
      const InodeId inode(1 + pick(3));
      const std::string owner(1, static_cast<char>('a' + pick(3)));
      const auto key = std::tuple(inode.value, who, owner);
      if (pick(3) != 0) {
        const auto access = static_cast<uint8_t>(1 + pick(3));
        const auto deny = static_cast<uint8_t>(pick(3) == 0 ? pick(4) : 0);
        bool conflict = false;
        for (const auto& [k, m] : model)
          conflict = conflict || (std::get<0>(k) == inode.value && k != key &&
                                  ((m.access & deny) != 0 || (m.deny & access) != 0));
        const auto body = [&](state::Run& run) {
          return open(w.cs(), run,
                      {.client = clients[who].id,
                       .owner = bytes_of(owner),
                       .inode = inode,
                       .access = access,
                       .deny = deny});
        };
        if (pick(10) == 0) w.abandon(w.next_id(), body);
        const auto outcome = w.run(body);
        ASSERT_EQ(outcome.has_value(), !conflict) << i;
        if (!outcome) continue;
        Mine& mine = model[key];
        EXPECT_EQ(outcome->seqid, mine.stateid.seqid + 1);
        mine = {*outcome, static_cast<uint8_t>(mine.access | access), static_cast<uint8_t>(mine.deny | deny)};
      } else if (auto it = model.find(key); it != model.end()) {
        ASSERT_TRUE(try_close(w, clients[who].id, it->second.stateid));
        model.erase(it);
      }
      if (pick(200) == 0) w.checkpoint();
      if (pick(300) == 0) w.restart();
      if (pick(50) == 0) {
        ASSERT_EQ(w.check_twins(), "");
      }
    }
    EXPECT_EQ(w.cs().opens.size(), model.size());
  }
}

}  // namespace
}  // namespace perdure::client
