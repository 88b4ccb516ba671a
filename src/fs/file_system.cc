#include "fs/file_system.h"

#include <algorithm>

#include "fs/data.h"
#include "state/database.h"

namespace perdure::fs {

namespace {
constexpr uint64_t inode_limit_step = 1024;
}  // namespace

bool Principal::in_group(uint32_t group) const {
  return group == gid || std::find(groups.begin(), groups.end(), group) != groups.end();
}

FileSystem::FileSystem(env::Env& env, state::Database& database, store::BlockStore& blocks, Hooks hooks,
                       FileSystemOptions options)
    : volumes(database),
      inodes(database),
      dirents(database),
      symlinks(database),
      xattrs(database),
      acls(database),
      extents(database),
      pages(database),
      allocations(database),
      freed(database),
      block_references(database),
      dirty_pages(database),
      pending_inodes(database),
      env_(env),
      database_(database),
      hooks_(std::move(hooks)),
      options_(options),
      data_(std::make_unique<Data>(*this, blocks, options.data)) {
  CHECK(options_.name_hash_bits >= 1 && options_.name_hash_bits <= 55);
}

FileSystem::~FileSystem() = default;

void FileSystem::restored() {
  data_->restored();
}

Outcome<InodeRow> FileSystem::load(Run& run, InodeId id) {
  const InodeRow* row = TRY(inodes.get(run, {id}));
  if (row == nullptr || row->dropped()) return Status::stale;
  InodeRow inode = *row;
  if (const PendingInodeRow* pending = TRY(pending_inodes.get(run, {id}))) {
    inode.size = pending->size;
    inode.blocks += pending->new_blocks;
    inode.change = pending->change;
    inode.mtime_ns = pending->mtime_ns;
    inode.ctime_ns = pending->ctime_ns;
  }
  return inode;
}

void FileSystem::store(Run& run, InodeId id, InodeRow inode) {
  const PendingInodeRow* pending = *pending_inodes.get(run, {id});  // unlogged: never faults
  if (pending != nullptr && pending->new_blocks != 0) {
    CHECK(pending->new_blocks <= inode.blocks);
    inode.blocks -= pending->new_blocks;
    pending_inodes.put(run, {id},
                       {inode.size, pending->new_blocks, inode.change, inode.mtime_ns, inode.ctime_ns});
  } else if (pending != nullptr) {
    pending_inodes.erase(run, {id});
  }
  inodes.put(run, {id}, inode);
}

void FileSystem::touch_content(Run& run, InodeRow& inode) {
  touch_attributes(run, inode);
  inode.mtime_ns = inode.ctime_ns;
}

void FileSystem::touch_attributes(Run& run, InodeRow& inode) {
  inode.ctime_ns = run.now().time_since_epoch().count();
  inode.change = new_change();
}

// A run that is abandoned takes the limit back, but not the counter: an id that it gave is lost, and the next
// call moves the limit again.
InodeId FileSystem::new_inode_id(Run& run, VolumeId volume) {
  const VolumeRow* row = volumes.peek({volume});
  CHECK(row != nullptr);
  uint64_t& next = next_inode_.try_emplace(volume, row->inode_limit).first->second;
  CHECK(next < uint64_t{1} << inode_counter_bits);
  if (next >= row->inode_limit) {
    VolumeRow moved = *row;
    moved.inode_limit = next + inode_limit_step;
    volumes.put(run, {volume}, std::move(moved));
  }
  return InodeId((uint64_t{volume.value - 1} << inode_counter_bits) | next++);
}

uint64_t FileSystem::position_of(VolumeId volume, std::string_view name) const {
  const VolumeRow* row = volumes.peek({volume});
  CHECK(row != nullptr);
  return position_of(*row, name);
}

uint64_t FileSystem::position_of(const VolumeRow& volume, std::string_view name) const {
  const uint64_t hash = siphash(volume.name_key, bytes_of(name)) >> (64 - options_.name_hash_bits);
  return std::max<uint64_t>(hash, 1) << 8U;
}

}  // namespace perdure::fs
