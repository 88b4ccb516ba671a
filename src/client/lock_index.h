// LockIndex: who holds a lock on any of these bytes, other than me? The locks of one file and one type, in
// memory only: it is made from the LockRows at restoration and follows every change of them.
//
// An augmented B-tree, ordered by first byte and owner. For each subtree it knows how far its locks reach,
// and how far they reach leaving out the owner that reaches furthest; so a search goes straight to the first
// lock that matters, however many others (or of the asker's own) lie beside it. With n locks:
//   insert, erase, find: O(log n)
// Leaves that become empty are removed; others are never merged.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace perdure::client {

class LockIndex {
 public:
  struct Lock {
    uint64_t first = 0, last = 0;
    uint32_t owner = 0;  // number of its LockStateRow, never 0
    bool operator==(const Lock&) const = default;
  };

  LockIndex();
  ~LockIndex();
  LockIndex(LockIndex&&) noexcept;
  LockIndex& operator=(LockIndex&&) noexcept;

  // Two locks of one owner never overlap.
  void insert(const Lock& lock);
  // False: it is not there.
  bool erase(const Lock& lock);
  // The lock with the lowest first byte among those that overlap first..last and are not `except`'s (0: all
  // count).
  std::optional<Lock> find(uint64_t first, uint64_t last, uint32_t except) const;

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  template <class F>
  void for_each(F&& f) const {
    if (root_ != nullptr) for_each(*root_, f);
  }

  // How far the locks of a subtree reach: the furthest last byte, and the furthest one of another owner.
  struct Reach {
    uint64_t last = 0, other_last = 0;
    uint32_t owner = 0, other_owner = 0;  // 0: there is none
    void add(uint64_t lock_last, uint32_t lock_owner);
    void add(const Reach& reach);
    bool overlaps(uint64_t first, uint32_t except) const {
      return owner != except ? owner != 0 && last >= first : other_owner != 0 && other_last >= first;
    }
  };

 private:
  struct Node;
  struct Child {
    Lock from;  // every lock in it is at or behind this one, and before the next child's
    Reach reach;
    std::unique_ptr<Node> node;
  };
  struct Node {  // a leaf has only locks, an inner node only children
    std::vector<Lock> locks;
    std::vector<Child> children;
  };
  static constexpr size_t fanout = 32;

  static std::unique_ptr<Node> insert(Node& node, const Lock& lock);
  static bool erase(Node& node, const Lock& lock);
  static const Lock* find(const Node& node, uint64_t first, uint64_t last, uint32_t except);
  static Reach reach_of(const Node& node);
  static Child child_of(std::unique_ptr<Node> node);
  template <class F>
  static void for_each(const Node& node, F& f) {
    for (const Lock& lock : node.locks) f(lock);
    for (const Child& child : node.children) for_each(*child.node, f);
  }

  std::unique_ptr<Node> root_;
  size_t size_ = 0;
};

}  // namespace perdure::client
