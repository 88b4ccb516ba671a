#include "fs/xattr.h"

#include "base/mark.h"
#include "fs/access.h"

namespace perdure::fs {

namespace {

constexpr uint64_t xattr_chain_max = 256;
constexpr uint64_t first_xattr_position = 1U << 8U;
constexpr size_t linux_name_extra = 6;  // "user." and NUL

Outcome<void> check_xattr_name(std::string_view name) {
  if (name.empty()) return Status::invalid_argument;
  if (name.size() > xattr_name_bytes_max) return Status::name_too_long;
  if (name.find('\0') != name.npos) return Status::bad_character;
  return {};
}

XattrRow::Key first_xattr(InodeId id) {
  return {id, 0};
}
XattrRow::Key last_xattr(InodeId id) {
  return {id, ~uint64_t{0}};
}

bool has_xattrs(const InodeRow& inode) {
  return (inode.flags & InodeRow::has_xattrs) != 0;
}

// All that an object has, and where `name` belongs among it.
struct Held {
  size_t count = 0, list_bytes = 0, total_bytes = 0;
  state::Table<XattrRow>::Found found;      // the name's, if it is there
  uint64_t chain_begin = 0, chain_end = 0;  // positions of the names with its hash
};

Outcome<Held> look_through(FileSystem& fs, Run& run, InodeId id, const InodeRow& inode,
                           std::string_view name) {
  Held held;
  held.chain_begin = held.chain_end = fs.position_of(inode.volume, name);
  if (!has_xattrs(inode)) return held;
  const XattrRow::Key last = last_xattr(id);
  auto each = TRY(fs.xattrs.first(run, first_xattr(id), last));
  for (; each; each = TRY(fs.xattrs.next(run, each.key, last))) {
    const XattrRow& row = *each.row;
    ++held.count;
    held.list_bytes += row.xattr_name.size() + linux_name_extra;
    held.total_bytes += row.xattr_name.size() + row.value.size();
    if (each.key.position == held.chain_end) ++held.chain_end;
    if (row.xattr_name == name) held.found = each;
  }
  return held;
}

Outcome<void> check_room(const Held& held, std::string_view name, Bytes value) {
  size_t count = held.count + 1;
  size_t list_bytes = held.list_bytes + name.size() + linux_name_extra;
  size_t total_bytes = held.total_bytes + name.size() + value.size();
  if (held.found) {
    --count;
    list_bytes -= name.size() + linux_name_extra;
    total_bytes -= name.size() + held.found.row->value.size();
  } else if (held.chain_end == held.chain_begin + xattr_chain_max) {
    return Status::no_space;
  }
  if (count > xattrs_max || list_bytes > xattr_list_bytes_max || total_bytes > xattr_total_bytes_max)
    return Status::no_space;
  return {};
}

ChangeInfo store_touched(FileSystem& fs, Run& run, InodeId id, InodeRow& inode) {
  const uint64_t before = inode.change;
  fs.touch_attributes(run, inode);
  fs.store(run, id, inode);
  return {before, inode.change};
}

}  // namespace

// Objects of other types have none, so nothing else is said of them.
Outcome<Bytes> get_xattr(FileSystem& fs, Run& run, const Principal& who, InodeId id, std::string_view name) {
  const InodeRow inode = TRY(fs.load(run, id));
  TRY(check_xattr_name(name));
  TRY(check_permission(fs, run, id, inode, who, may_read));
  if (!has_xattrs(inode)) return Status::no_xattr;
  const uint64_t begin = fs.position_of(inode.volume, name);
  for (uint64_t position = begin; position < begin + xattr_chain_max; ++position) {
    const XattrRow* row = TRY(fs.xattrs.get(run, {id, position}));
    if (row == nullptr) break;
    if (row->xattr_name == name) return Bytes(row->value);
  }
  return Status::no_xattr;
}

Outcome<ChangeInfo> set_xattr(FileSystem& fs, Run& run, const Principal& who, InodeId id,
                              std::string_view name, Bytes value, SetXattr how) {
  InodeRow inode = TRY(fs.load(run, id));
  TRY(check_xattr_name(name));
  TRY(check_xattr_change(fs, run, id, inode, who));
  if (value.size() > xattr_value_bytes_max) return Status::xattr_too_big;
  const Held held = TRY(look_through(fs, run, id, inode, name));
  if (how == SetXattr::create && held.found) return Status::exists;
  if (how == SetXattr::replace && !held.found) return Status::no_xattr;
  TRY(check_room(held, name, value));

  // The store has none of its rows that memory does not hide, so the next look need not ask it.
  if (!has_xattrs(inode)) fs.xattrs.known_empty(first_xattr(id), last_xattr(id));
  const uint64_t position = held.found ? held.found.key.position : held.chain_end;
  fs.xattrs.put(run, {id, position}, {std::string(name), ByteVector(value.begin(), value.end())});
  inode.flags |= InodeRow::has_xattrs;
  return store_touched(fs, run, id, inode);
}

// The chain's last one moves into the hole, as in a directory (erase_entry()).
Outcome<ChangeInfo> remove_xattr(FileSystem& fs, Run& run, const Principal& who, InodeId id,
                                 std::string_view name) {
  InodeRow inode = TRY(fs.load(run, id));
  TRY(check_xattr_name(name));
  TRY(check_xattr_change(fs, run, id, inode, who));
  const Held held = TRY(look_through(fs, run, id, inode, name));
  if (!held.found) return Status::no_xattr;

  const XattrRow::Key hole = held.found.key, last{id, held.chain_end - 1};
  if (hole != last) {
    PERDURE_MARK("an extended attribute moves up in its chain");
    XattrRow moved = *TRY(fs.xattrs.get(run, last));
    fs.xattrs.put(run, hole, std::move(moved));
  }
  fs.xattrs.erase(run, last);
  if (held.count == 1) inode.flags &= ~InodeRow::has_xattrs;
  return store_touched(fs, run, id, inode);
}

Outcome<bool> list_xattrs(FileSystem& fs, Run& run, const Principal& who, InodeId id, uint64_t after_cookie,
                          const EachXattr& each) {
  const InodeRow inode = TRY(fs.load(run, id));
  TRY(check_permission(fs, run, id, inode, who, may_read));
  if (after_cookie != 0 && after_cookie < first_xattr_position) return Status::bad_cookie;
  if (!has_xattrs(inode)) return true;
  const XattrRow::Key last = last_xattr(id);
  auto next = TRY(fs.xattrs.next(run, {id, after_cookie}, last));
  for (; next; next = TRY(fs.xattrs.next(run, next.key, last)))
    if (!each(next.key.position, next.row->xattr_name)) return false;
  return true;
}

Outcome<std::vector<XattrRow::Key>> xattr_keys(FileSystem& fs, Run& run, InodeId id, const InodeRow& inode) {
  std::vector<XattrRow::Key> keys;
  if (!has_xattrs(inode)) return keys;
  const XattrRow::Key last = last_xattr(id);
  auto each = TRY(fs.xattrs.first(run, first_xattr(id), last));
  for (; each; each = TRY(fs.xattrs.next(run, each.key, last))) keys.push_back(each.key);
  return keys;
}

}  // namespace perdure::fs
