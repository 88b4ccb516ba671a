#include "fs/create.h"

#include "fs/access.h"

namespace perdure::fs {

namespace {

// What the row keeps of a verifier: 0 there means that the file was not made by an exclusive create.
uint64_t stored_verifier(const CreateRequest& request) {
  constexpr uint64_t for_zero = 0x8d9f3c6ab2417e05;
  if (request.mode != CreateMode::exclusive) return 0;
  return request.verifier != 0 ? request.verifier : for_zero;
}

Outcome<void> check_request(const CreateRequest& request, const Principal& who) {
  switch (request.type) {
    case FileType::regular:
    case FileType::directory:
    case FileType::socket:
    case FileType::fifo:
      return {};
    case FileType::symlink:
      if (request.target.empty() || request.target.find('\0') != std::string_view::npos)
        return Status::invalid_argument;
      if (request.target.size() > symlink_bytes_max) return Status::name_too_long;
      return {};
    case FileType::block_device:
    case FileType::character_device:
      if (!who.is_root()) return Status::not_permitted;
      return {};
  }
  return Status::bad_type;
}

// The name is taken.
Outcome<Created> existing(FileSystem& fs, Run& run, const Directory& directory, const Entry& entry,
                          const CreateRequest& request) {
  Created result{.inode = entry.row->inode, .type = entry.row->type, .directory = unchanged(directory)};
  switch (request.mode) {
    case CreateMode::unchecked:
      return result;
    case CreateMode::guarded:
      return Status::exists;
    case CreateMode::exclusive:
      if (entry.row->type != FileType::regular) return Status::exists;
      if (TRY(fs.load(run, entry.row->inode)).create_verifier != stored_verifier(request))
        return Status::exists;
      result.own = true;
      return result;
  }
  return Status::exists;
}

}  // namespace

Outcome<Created> create(FileSystem& fs, Run& run, const Principal& who, InodeId directory_id,
                        std::string_view name, const CreateRequest& request) {
  Directory directory = TRY(load_directory(fs, run, directory_id));
  TRY(check_name(name));
  TRY(check_permission(fs, run, directory, who, may_execute));
  if (const Entry entry = TRY(find_entry_for_change(fs, run, directory, name)))
    return existing(fs, run, directory, entry, request);
  TRY(check_permission(fs, run, directory, who, right_to_add(request.type)));
  TRY(check_request(request, who));
  InodeRow inode;
  inode.type = request.type;
  inode.volume = directory.row.volume;
  std::optional<Acl> acl =
      TRY(set_initial_attributes(fs, run, who, directory, request.attributes, request.inherits, inode));

  const InodeId id = fs.new_inode_id(run, inode.volume);
  if (acl) set_acl(fs, run, id, inode, std::move(*acl));
  inode.links = 1;
  inode.change = fs.new_change();
  inode.create_verifier = stored_verifier(request);
  if (request.type == FileType::directory) {
    inode.links = 2;
    inode.parent = directory_id;
    fs.dirents.known_empty({id, 0}, {id, ~uint64_t{0}});
  } else if (request.type == FileType::symlink) {
    inode.size = request.target.size();
    fs.symlinks.put_new(run, {id}, {std::string(request.target)});
  } else if (request.type == FileType::block_device || request.type == FileType::character_device) {
    inode.device_major = request.device_major;
    inode.device_minor = request.device_minor;
  }
  fs.inodes.put_new(run, {id}, inode);
  TRY(insert_entry(fs, run, directory, name, id, request.type));
  return Created{id, request.type, true, true, store_directory(fs, run, directory)};
}

}  // namespace perdure::fs
