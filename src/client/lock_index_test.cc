// LockIndex against a list that is searched from its start to its end.
#include "client/lock_index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace perdure::client {
namespace {

using Lock = LockIndex::Lock;

class Model {
 public:
  std::vector<Lock> locks;
  LockIndex index;

  std::optional<Lock> find(uint64_t first, uint64_t last, uint32_t except) const {
    std::optional<Lock> lowest;
    for (const Lock& lock : locks) {
      if (lock.owner == except || lock.last < first || lock.first > last) continue;
      if (!lowest || std::pair(lock.first, lock.owner) < std::pair(lowest->first, lowest->owner))
        lowest = lock;
    }
    return lowest;
  }
  bool owner_overlaps(const Lock& lock) const {
    return std::ranges::any_of(locks, [&](const Lock& l) {
      return l.owner == lock.owner && l.first <= lock.last && l.last >= lock.first;
    });
  }
};

TEST(LockIndex, FindsWhatAListFinds) {
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    std::mt19937_64 random(seed);
    const auto pick = [&](uint64_t n) { return random() % n; };
    const uint64_t range = seed % 2 == 0 ? 300 : 20'000, owners = seed % 3 == 0 ? 300 : 3;
    Model m;
    for (int i = 0; i < 12'000; ++i) {
      // Grows, shrinks to nothing, and grows again.
      const bool growing = (i / 2000) % 2 == 0;
      if (pick(10) < (growing ? 8U : 2U)) {
        const uint64_t first = pick(range);
        const Lock lock{first, first + pick(pick(20) == 0 ? range : 8),
                        static_cast<uint32_t>(1 + pick(owners))};
        if (m.owner_overlaps(lock)) continue;
        m.index.insert(lock);
        m.locks.push_back(lock);
      } else if (!m.locks.empty()) {
        const size_t at = pick(m.locks.size());
        EXPECT_TRUE(m.index.erase(m.locks[at]));
        EXPECT_FALSE(m.index.erase(m.locks[at]));
        m.locks.erase(m.locks.begin() + static_cast<ptrdiff_t>(at));
      }
      const uint64_t first = pick(range), last = first + pick(pick(4) == 0 ? range : 4);
      const auto except = static_cast<uint32_t>(pick(owners + 2));
      ASSERT_EQ(m.index.find(first, last, except), m.find(first, last, except))
          << "seed " << seed << " step " << i;
      ASSERT_EQ(m.index.size(), m.locks.size());
    }
    size_t n = 0;
    m.index.for_each([&](const Lock&) { ++n; });
    EXPECT_EQ(n, m.locks.size());
  }
}

TEST(LockIndex, TheLastByteOfAllIsALock) {
  LockIndex index;
  index.insert({UINT64_MAX, UINT64_MAX, 1});
  EXPECT_TRUE(index.find(0, UINT64_MAX, 2));
  EXPECT_TRUE(index.find(UINT64_MAX, UINT64_MAX, 0));
  EXPECT_FALSE(index.find(0, UINT64_MAX - 1, 2));
  EXPECT_FALSE(index.find(0, UINT64_MAX, 1));
}

// Each of these searches would pass all locks, if it did not know how far the subtrees reach without the
// asker: then the test would take hours.
TEST(LockIndex, ManyLocksOfOneOrMostOwnersAreNotSearched) {
  constexpr uint64_t n = 200'000;
  LockIndex index;
  for (uint64_t i = 0; i < n; ++i) index.insert({10 * i, 10 * i + 1, 1});  // one owner's, with gaps
  index.insert({10 * n, 10 * n, 2});
  for (uint64_t i = 0; i < n; ++i) {
    EXPECT_EQ(index.find(0, 10 * n + 5, 1)->owner, 2U) << "behind all of mine";
    EXPECT_FALSE(index.find(10 * i + 2, 10 * i + 9, 3)) << "in a gap";
    EXPECT_FALSE(index.find(0, 10 * n - 1, 1)) << "only mine";
  }
  for (uint32_t i = 0; i < n; ++i) index.insert({i % 5, 5, 10 + i});  // of many owners, all on the same bytes
  for (uint64_t i = 0; i < n; ++i) EXPECT_FALSE(index.find(6, 9, 3));
}

}  // namespace
}  // namespace perdure::client
