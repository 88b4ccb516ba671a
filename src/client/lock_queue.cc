#include "client/lock_queue.h"

#include <algorithm>

namespace perdure::client {

namespace {

bool same_owner(const WantedLock& a, const WantedLock& b) {
  return a.client == b.client && std::ranges::equal(a.owner, b.owner);
}

}  // namespace

auto LockQueues::add(TransactionId id, const WantedLock& wanted) -> Waiter& {
  auto [it, fresh] = files_[wanted.inode].try_emplace(id, Waiter{.wanted = wanted});
  if (fresh) {
    ++size_;
    ++of_client_[wanted.client];
  }
  return it->second;
}

void LockQueues::remove(InodeId inode, TransactionId id) {
  auto file = files_.find(inode);
  if (file == files_.end()) return;
  auto it = file->second.find(id);
  if (it == file->second.end()) return;
  auto count = of_client_.find(it->second.wanted.client);
  if (--count->second == 0) of_client_.erase(count);
  --size_;
  file->second.erase(it);
  if (file->second.empty()) files_.erase(file);
}

auto LockQueues::find(InodeId inode, TransactionId id) -> Waiter* {
  auto file = files_.find(inode);
  if (file == files_.end()) return nullptr;
  auto it = file->second.find(id);
  return it == file->second.end() ? nullptr : &it->second;
}

std::optional<TransactionId> LockQueues::find(const WantedLock& wanted) const {
  auto file = files_.find(wanted.inode);
  if (file == files_.end()) return std::nullopt;
  for (const auto& [id, waiter] : file->second)
    if (same_owner(waiter.wanted, wanted) && waiter.wanted.range == wanted.range &&
        waiter.wanted.write == wanted.write)
      return id;
  return std::nullopt;
}

auto LockQueues::called_before(const WantedLock& wanted) const -> const Waiter* {
  auto file = files_.find(wanted.inode);
  if (file == files_.end()) return nullptr;
  for (const auto& [id, waiter] : file->second) {
    const ByteRange& range = waiter.wanted.range;
    if (waiter.called && (waiter.wanted.write || wanted.write) && range.first <= wanted.range.last &&
        wanted.range.first <= range.last && !same_owner(waiter.wanted, wanted))
      return &waiter;
  }
  return nullptr;
}

size_t LockQueues::size(InodeId inode) const {
  auto it = files_.find(inode);
  return it == files_.end() ? 0 : it->second.size();
}

size_t LockQueues::size(ClientId client) const {
  auto it = of_client_.find(client);
  return it == of_client_.end() ? 0 : it->second;
}

}  // namespace perdure::client
