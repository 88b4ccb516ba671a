// DirtyPages: the dirty pages of all files, one by one, over the rows in which neighbours lie together.
//
// Everything here is in memory, so nothing faults. Pointers and Founds are valid until the run ends: a row is
// immutable, a change makes a new one, and whoever looks on sees what was there when he found it. Thread: the
// loop.
#pragma once

#include "fs/rows.h"
#include "state/table.h"

namespace perdure::fs {

class DirtyPages {
 public:
  using Groups = state::Table<DirtyPagesRow>;
  // A page that first() or next() found; row == nullptr: there is none up to `last`.
  struct Found {
    PageKey key{};
    const DirtyPage* row = nullptr;
    const DirtyPagesRow* group = nullptr;  // that it lies in
    explicit operator bool() const { return row != nullptr; }
  };

  explicit DirtyPages(state::Database& database) : groups_(database) {}

  // Null: the block is not dirty.
  const DirtyPage* get(state::Run& run, const PageKey& key);
  // Outside runs.
  const DirtyPage* peek(const PageKey& key) const { return page_of(groups_.peek(group_of(key)), key); }
  // The first one with from <= key <= last; the next one behind `after`.
  Found first(state::Run& run, const PageKey& from, const PageKey& last);
  Found next(state::Run& run, const Found& after, const PageKey& last);
  void put(state::Run& run, const PageKey& key, DirtyPage page);
  void erase(state::Run& run, const PageKey& key);

  // Pages.
  size_t size() const { return groups_.size(); }
  Groups& groups() { return groups_; }
  // Outside runs: f(key, page) in order.
  template <class F>
  void for_each(F&& f) const {
    groups_.for_each([&f](const DirtyPagesRow::Key& key, const DirtyPagesRow& row) {
      for (uint64_t i = 0; i < row.pages.size(); ++i)
        if (row.pages[i].page) f(key_of(key, i), row.pages[i]);
    });
  }

  // Changes many pages of a run, neighbours together: what it was told takes effect at the latest when it is
  // destroyed, and until then nobody sees it.
  class Edit {
   public:
    Edit(DirtyPages& pages, state::Run& run) : pages_(pages), run_(run) {}
    Edit(const Edit&) = delete;
    Edit& operator=(const Edit&) = delete;
    ~Edit() { finish(); }
    void put(const PageKey& key, DirtyPage page) { at(key) = std::move(page); }
    void erase(const PageKey& key) { at(key) = {}; }
    void finish();

   private:
    DirtyPage& at(const PageKey& key);

    DirtyPages& pages_;
    state::Run& run_;
    bool open_ = false;
    DirtyPagesRow::Key key_{};
    DirtyPagesRow row_;
  };

 private:
  static DirtyPagesRow::Key group_of(const PageKey& key) {
    return {key.inode, key.block.value / DirtyPagesRow::group_blocks};
  }
  static uint64_t index_of(const PageKey& key) { return key.block.value % DirtyPagesRow::group_blocks; }
  static PageKey key_of(const DirtyPagesRow::Key& group, uint64_t index) {
    return {group.inode, FileBlock(group.group * DirtyPagesRow::group_blocks + index)};
  }
  static const DirtyPage* page_of(const DirtyPagesRow* row, const PageKey& key) {
    return row != nullptr && row->pages[index_of(key)].page ? &row->pages[index_of(key)] : nullptr;
  }
  static Found find_in(const DirtyPagesRow* row, const DirtyPagesRow::Key& group, uint64_t index,
                       const PageKey& last);
  Found find_behind(state::Run& run, const DirtyPagesRow::Key& group, const PageKey& last);

  Groups groups_;
};

}  // namespace perdure::fs
