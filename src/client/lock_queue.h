// Who waits for locks (RFC 8881 §9.6), file by file, first come first served. Volatile: each that waits is a
// transaction (nfs4/lock_wait.h), and stands here from its first run to its end.
//
// One who is *called* has been told, or is just being told, that he may have his lock now. Until he has come
// for it, or has not come in time, nobody who waits too is given a lock that would be in his way. (Who only
// asks, and would not wait, is given whatever is free.)
#pragma once

#include <absl/container/btree_map.h>
#include <absl/container/flat_hash_map.h>

#include <optional>

#include "client/lock_rows.h"

namespace perdure::client {

// A lock that somebody wants.
struct WantedLock {
  ClientId client;
  InodeId inode;
  ByteVector owner;
  ByteRange range;
  bool write = false;
  template <class Self, class V>
  static void fields(Self& w, V&& v) {
    v("client", w.client), v("inode", w.inode), v("owner", w.owner);
    v("first", w.range.first), v("last", w.range.last), v("write", w.write);
  }
};

class LockQueues {
 public:
  struct Waiter {
    WantedLock wanted;
    bool called = false;
    bool asked = false;  // he has come again, and was denied
  };

  // Once is enough. What he wants does not change.
  Waiter& add(TransactionId id, const WantedLock& wanted);
  void remove(InodeId inode, TransactionId id);

  Waiter* find(InodeId inode, TransactionId id);
  // The one that waits for exactly this lock.
  std::optional<TransactionId> find(const WantedLock& wanted) const;
  // One who was called, and whom this lock would be in the way of.
  const Waiter* called_before(const WantedLock& wanted) const;

  // In the order in which they came.
  template <class F>
  void for_each(InodeId inode, F&& f) const {
    auto it = files_.find(inode);
    if (it == files_.end()) return;
    for (const auto& [id, waiter] : it->second) f(id, waiter);
  }
  bool anybody(InodeId inode) const { return files_.contains(inode); }
  size_t size() const { return size_; }
  size_t size(InodeId inode) const;
  size_t size(ClientId client) const;

 private:
  using File = absl::btree_map<TransactionId, Waiter>;
  absl::flat_hash_map<InodeId, File> files_;
  absl::flat_hash_map<ClientId, size_t> of_client_;
  size_t size_ = 0;
};

}  // namespace perdure::client
