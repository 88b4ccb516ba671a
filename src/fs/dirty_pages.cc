#include "fs/dirty_pages.h"

namespace perdure::fs {

const DirtyPage* DirtyPages::get(state::Run& run, const PageKey& key) {
  return page_of(*groups_.get(run, group_of(key)), key);
}

// The first page of the group from `index` on.
auto DirtyPages::find_in(const DirtyPagesRow* row, const DirtyPagesRow::Key& group, uint64_t index,
                         const PageKey& last) -> Found {
  for (; index < row->pages.size(); ++index) {
    const PageKey key = key_of(group, index);
    if (key > last) break;
    if (row->pages[index].page) return {key, &row->pages[index], row};
  }
  return {};
}

// The first page of the groups behind `group`.
auto DirtyPages::find_behind(state::Run& run, const DirtyPagesRow::Key& group, const PageKey& last) -> Found {
  const auto found = *groups_.next(run, group, group_of(last));
  return found ? find_in(found.row, found.key, 0, last) : Found{};
}

auto DirtyPages::first(state::Run& run, const PageKey& from, const PageKey& last) -> Found {
  const DirtyPagesRow::Key group = group_of(from);
  if (from > last) return {};
  if (const DirtyPagesRow* row = *groups_.get(run, group))
    if (const Found found = find_in(row, group, index_of(from), last)) return found;
  return find_behind(run, group, last);
}

auto DirtyPages::next(state::Run& run, const Found& after, const PageKey& last) -> Found {
  const DirtyPagesRow::Key group = group_of(after.key);
  if (const Found found = find_in(after.group, group, index_of(after.key) + 1, last)) return found;
  return find_behind(run, group, last);
}

void DirtyPages::put(state::Run& run, const PageKey& key, DirtyPage page) {
  Edit(*this, run).put(key, std::move(page));
}

void DirtyPages::erase(state::Run& run, const PageKey& key) {
  if (get(run, key) != nullptr) Edit(*this, run).erase(key);
}

DirtyPage& DirtyPages::Edit::at(const PageKey& key) {
  const DirtyPagesRow::Key group = group_of(key);
  if (!open_ || key_ != group) {
    finish();
    const DirtyPagesRow* row = *pages_.groups_.get(run_, group);
    row_ = row == nullptr ? DirtyPagesRow() : *row;
    key_ = group;
    open_ = true;
  }
  return row_.pages[index_of(key)];
}

void DirtyPages::Edit::finish() {
  if (!std::exchange(open_, false)) return;
  if (row_.items() == 0)
    pages_.groups_.erase(run_, key_);
  else
    pages_.groups_.put(run_, key_, std::move(row_));
}

}  // namespace perdure::fs
