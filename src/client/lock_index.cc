#include "client/lock_index.h"

#include <algorithm>
#include <iterator>
#include <tuple>
#include <utility>

#include "base/check.h"

namespace perdure::client {

namespace {

bool before(const LockIndex::Lock& a, const LockIndex::Lock& b) {
  return std::tie(a.first, a.owner) < std::tie(b.first, b.owner);
}

// Moves the upper part of an overfull `from` to `to`. What grows at one end leaves full nodes behind.
template <class T>
void split(std::vector<T>& from, std::vector<T>& to, size_t inserted_at) {
  size_t keep = from.size() / 2;
  if (inserted_at + 1 == from.size()) keep = from.size() - 1;
  if (inserted_at == 0) keep = 1;
  to.assign(std::make_move_iterator(from.begin() + static_cast<ptrdiff_t>(keep)),
            std::make_move_iterator(from.end()));
  from.resize(keep);
}

}  // namespace

LockIndex::LockIndex() = default;
LockIndex::~LockIndex() = default;
LockIndex::LockIndex(LockIndex&&) noexcept = default;
LockIndex& LockIndex::operator=(LockIndex&&) noexcept = default;

void LockIndex::Reach::add(uint64_t lock_last, uint32_t lock_owner) {
  if (lock_owner == owner) {
    last = std::max(last, lock_last);
  } else if (owner == 0 || lock_last > last) {
    other_last = std::exchange(last, lock_last);
    other_owner = std::exchange(owner, lock_owner);
  } else if (lock_owner == other_owner) {
    other_last = std::max(other_last, lock_last);
  } else if (other_owner == 0 || lock_last > other_last) {
    other_last = lock_last;
    other_owner = lock_owner;
  }
}

void LockIndex::Reach::add(const Reach& reach) {
  if (reach.owner != 0) add(reach.last, reach.owner);
  if (reach.other_owner != 0) add(reach.other_last, reach.other_owner);
}

LockIndex::Reach LockIndex::reach_of(const Node& node) {
  Reach reach;
  for (const Lock& lock : node.locks) reach.add(lock.last, lock.owner);
  for (const Child& child : node.children) reach.add(child.reach);
  return reach;
}

auto LockIndex::child_of(std::unique_ptr<Node> node) -> Child {
  const Lock from = node->children.empty() ? node->locks.front() : node->children.front().from;
  const Reach reach = reach_of(*node);
  return {from, reach, std::move(node)};
}

void LockIndex::insert(const Lock& lock) {
  CHECK(lock.owner != 0 && lock.first <= lock.last);
  ++size_;
  if (root_ == nullptr) root_ = std::make_unique<Node>();
  std::unique_ptr<Node> right = insert(*root_, lock);
  if (right == nullptr) return;
  auto root = std::make_unique<Node>();
  root->children.push_back(child_of(std::move(root_)));
  root->children.push_back(child_of(std::move(right)));
  root_ = std::move(root);
}

// Gives the new right neighbour if the node had to be split.
auto LockIndex::insert(Node& node, const Lock& lock) -> std::unique_ptr<Node> {
  if (node.children.empty()) {
    auto at = std::upper_bound(node.locks.begin(), node.locks.end(), lock, before);
    const auto index = static_cast<size_t>(at - node.locks.begin());
    node.locks.insert(at, lock);
    if (node.locks.size() <= fanout) return nullptr;
    auto right = std::make_unique<Node>();
    split(node.locks, right->locks, index);
    return right;
  }
  auto at = std::upper_bound(node.children.begin(), node.children.end(), lock,
                             [](const Lock& l, const Child& child) { return before(l, child.from); });
  if (at != node.children.begin()) --at;
  if (before(lock, at->from)) at->from = lock;
  std::unique_ptr<Node> right_child = insert(*at->node, lock);
  if (right_child == nullptr) {
    at->reach.add(lock.last, lock.owner);
    return nullptr;
  }
  at->reach = reach_of(*at->node);
  at = node.children.insert(std::next(at), child_of(std::move(right_child)));
  if (node.children.size() <= fanout) return nullptr;
  auto right = std::make_unique<Node>();
  split(node.children, right->children, static_cast<size_t>(at - node.children.begin()));
  return right;
}

bool LockIndex::erase(const Lock& lock) {
  if (root_ == nullptr || !erase(*root_, lock)) return false;
  --size_;
  while (root_ != nullptr && root_->children.size() == 1) {
    std::unique_ptr<Node> child = std::move(root_->children.front().node);
    root_ = std::move(child);
  }
  if (size_ == 0) root_.reset();
  return true;
}

bool LockIndex::erase(Node& node, const Lock& lock) {
  if (node.children.empty()) {
    auto at = std::lower_bound(node.locks.begin(), node.locks.end(), lock, before);
    if (at == node.locks.end() || *at != lock) return false;
    node.locks.erase(at);
    return true;
  }
  auto at = std::upper_bound(node.children.begin(), node.children.end(), lock,
                             [](const Lock& l, const Child& child) { return before(l, child.from); });
  if (at == node.children.begin() || !erase(*(--at)->node, lock)) return false;
  if (at->node->locks.empty() && at->node->children.empty())
    node.children.erase(at);
  else
    at->reach = reach_of(*at->node);
  return true;
}

auto LockIndex::find(uint64_t first, uint64_t last, uint32_t except) const -> std::optional<Lock> {
  const Lock* found = root_ == nullptr ? nullptr : find(*root_, first, last, except);
  return found == nullptr ? std::nullopt : std::optional(*found);
}

// A subtree that reaches `first` has an overlapping lock, unless the lock that reaches so far begins behind
// `last`: then all that follow do so as well. So at most one subtree per level is searched in vain.
auto LockIndex::find(const Node& node, uint64_t first, uint64_t last, uint32_t except) -> const Lock* {
  for (const Lock& lock : node.locks) {
    if (lock.first > last) return nullptr;
    if (lock.last >= first && lock.owner != except) return &lock;
  }
  for (const Child& child : node.children) {
    if (child.from.first > last) return nullptr;
    if (!child.reach.overlaps(first, except)) continue;
    if (const Lock* found = find(*child.node, first, last, except)) return found;
  }
  return nullptr;
}

}  // namespace perdure::client
