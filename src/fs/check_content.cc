// Content: symbolic links, extents, page rows, and the blocks of the store.
#include <algorithm>

#include "base/crc32c.h"
#include "fs/check_blocks.h"
#include "fs/check_inodes.h"
#include "fs/extents.h"

namespace perdure::fs {

namespace {

class ContentCheck {
 public:
  ContentCheck(FileSystem& fs, CheckedInodes& inodes, const CheckSurroundings& surroundings,
               state::Findings& findings, CheckFigures& figures)
      : fs_(fs), inodes_(inodes), surroundings_(surroundings), findings_(findings), figures_(figures) {}

  Result<void> run();

 private:
  // The rows of one file, as they go by.
  struct File {
    InodeId id;
    CheckedInode* inode = nullptr;
    uint64_t next = 0;         // behind the last extent so far
    uint64_t blocks = 0;       // with an extent or page row
    bool out_of_size = false;  // told
  };
  // Blocks with which something is wrong, and who names them.
  struct Suspect {
    BlockRange blocks;
    std::string_view problem;
    std::vector<std::string> users = {};
  };

  Result<void> check_targets();
  Result<void> check_files();
  File begin_file(InodeId id);
  void end_file(File& file);
  void check_extent(File& file, const ExtentRow::Key& key, const ExtentRow& row);
  void check_page(File& file, const PageKey& key, const PageRow& row);
  void check_size(File& file, uint64_t first, uint64_t stamp, const char* what);
  Result<void> check_freed();
  Result<void> check_references();
  Result<void> check_allocation();
  void use(BlockRange blocks);
  void suspect(const std::vector<BlockRange>& ranges, std::string_view problem);
  Result<void> name_users();
  void add_user(BlockRange blocks, const std::function<std::string(uint64_t first_index)>& describe_user);

  FileSystem& fs_;
  CheckedInodes& inodes_;
  const CheckSurroundings& surroundings_;
  state::Findings& findings_;
  CheckFigures& figures_;
  CheckedBlocks used_;
  // Of each block how many extents and freed rows name it beyond the first, in groups as in the rows.
  absl::btree_map<uint64_t, std::array<uint32_t, BlockReferenceRow::group_blocks>> more_;
  std::vector<Suspect> suspects_;
  uint64_t longest_suspect_ = 0;
};

Result<void> ContentCheck::run() {
  TRY(check_targets());
  TRY(check_files());
  TRY(check_freed());
  TRY(check_references());
  TRY(check_allocation());
  return name_users();
}

Result<void> ContentCheck::check_targets() {
  state::RowReader<SymlinkRow> rows(fs_.symlinks, inodes_.damaged());
  while (TRY(rows.next())) {
    const InodeId id = rows.key().inode;
    CheckedInode* inode = inodes_.find(id);
    if (inode == nullptr || inode->type != FileType::symlink) {
      findings_.add("inode {} has the target of a symbolic link, but {}", id,
                    inode == nullptr ? "does not exist" : "is none");
      continue;
    }
    inode->has_target = true;
    const uint64_t bytes = rows.row().target.size();
    if (bytes != inode->size || bytes == 0 || bytes > symlink_bytes_max)
      findings_.add("{}: its size is {}, but its target has {} bytes", inodes_.describe(id), inode->size,
                    bytes);
  }
  for (const CheckedInode& inode : inodes_.all())
    if (inode.type == FileType::symlink && !inode.has_target)
      findings_.add("{}: a symbolic link without a target", inodes_.describe(inode.id));
  return {};
}

// Extents and pages together, file by file: both are in the order of inode and file block.
Result<void> ContentCheck::check_files() {
  state::RowReader<ExtentRow> extents(fs_.extents, inodes_.damaged());
  state::RowReader<PageRow> pages(fs_.pages, inodes_.damaged());
  bool extent = TRY(extents.next()), page = TRY(pages.next());
  InodeId before;
  const auto pass_over = [&](InodeId end) {  // files without rows
    for (auto it = std::ranges::upper_bound(inodes_.all(), before, {}, &CheckedInode::id);
         it != inodes_.all().end() && it->id < end; ++it) {
      File file{it->id, &*it};
      end_file(file);
    }
  };
  while (extent || page) {
    const InodeId id = !page     ? extents.key().inode
                       : !extent ? pages.key().inode
                                 : std::min(extents.key().inode, pages.key().inode);
    pass_over(id);
    before = id;
    File file = begin_file(id);
    while ((extent && extents.key().inode == id) || (page && pages.key().inode == id)) {
      const bool page_first =
          page && pages.key().inode == id &&
          (!extent || extents.key().inode != id || pages.key().block <= extents.key().last_block);
      if (page_first) {
        check_page(file, pages.key(), pages.row());
        const bool covered =
            extent && extents.key().inode == id && extents.row().first_block <= pages.key().block;
        if (!covered && pages.key().block.value >= file.next) ++file.blocks;
        page = TRY(pages.next());
      } else {
        check_extent(file, extents.key(), extents.row());
        extent = TRY(extents.next());
      }
    }
    end_file(file);
  }
  pass_over(InodeId(UINT64_MAX));
  return {};
}

auto ContentCheck::begin_file(InodeId id) -> File {
  File file{id, inodes_.find(id)};
  if (file.inode == nullptr) {
    findings_.add("inode {} has data, but does not exist", id);
  } else if (file.inode->type != FileType::regular) {
    findings_.add("inode {} has data, but is a {}", id, type_name(file.inode->type));
    file.inode = nullptr;
  }
  return file;
}

void ContentCheck::end_file(File& file) {
  if (file.inode == nullptr || file.inode->type != FileType::regular) return;
  if (!file.inode->dropped() && file.inode->blocks != file.blocks)
    findings_.add("{}: it counts {} blocks, but has {}", inodes_.describe(file.id), file.inode->blocks,
                  file.blocks);
}

void ContentCheck::check_extent(File& file, const ExtentRow::Key& key, const ExtentRow& row) {
  const uint64_t count = row.crcs.size(), first = row.first_block.value;
  const auto where = [&] {
    return fmt::format("extent of file blocks {}..{} of {}", first, key.last_block,
                       inodes_.describe(file.id));
  };
  if (count == 0 || count > ExtentRow::blocks_max || first + count - 1 != key.last_block.value) {
    findings_.add("{}: it has {} checksums", where(), count);
    return;
  }
  if (first < file.next) findings_.add("{}: it overlaps the one before", where());
  file.blocks += key.last_block.value + 1 - std::min(key.last_block.value + 1, std::max(first, file.next));
  file.next = std::max(file.next, key.last_block.value + 1);
  if (key.last_block.value >= file_bytes_max / block_bytes + 1)
    findings_.add("{}: behind the end of the largest file", where());
  if (inodes_.in_future(row.stamp)) findings_.add("{}: of a later start of the server", where());
  if (file.inode != nullptr) {
    if (key.last_block.value >= file.inode->extent_end)
      findings_.add("{}: the inode says that there are none behind file block {}", where(),
                    file.inode->extent_end);
    check_size(file, key.last_block.value, row.stamp, "an extent");
  }
  const BlockRange blocks{row.block, static_cast<uint32_t>(count)};
  if (row.block.value == 0 || row.block.value >= surroundings_.blocks ||
      count > surroundings_.blocks - row.block.value)
    return findings_.add("{}: {}, but the block store has {} blocks", where(), describe(blocks),
                         surroundings_.blocks);
  use(blocks);
  figures_.used_blocks += count;
}

// Content behind the end of the file would come back if the file grew.
void ContentCheck::check_size(File& file, uint64_t block, uint64_t stamp, const char* what) {
  const CheckedInode& inode = *file.inode;
  if (inode.dropped() || inode.cut_off(FileBlock(block), stamp) || block < blocks_for(inode.size) ||
      std::exchange(file.out_of_size, true))
    return;
  findings_.add("{}: {} bytes long, but {} has content at file block {}", inodes_.describe(file.id),
                inode.size, what, block);
}

void ContentCheck::check_page(File& file, const PageKey& key, const PageRow& row) {
  ++figures_.page_rows;
  if (inodes_.in_future(row.stamp))
    findings_.add("page row of file block {} of {}: of a later start of the server", key.block,
                  inodes_.describe(file.id));
  if (file.inode == nullptr) return;
  check_size(file, key.block.value, row.stamp, "a page row");
  const uint64_t begin = key.block.value * block_bytes, size = file.inode->size;
  if (file.inode->dropped() || file.inode->cut_off(key.block, row.stamp) || size <= begin ||
      size - begin >= block_bytes || fs_.pending_inodes.peek({file.id}) != nullptr)
    return;
  const Bytes tail = row.page.bytes().subspan(size - begin);
  if (std::ranges::any_of(tail, [](std::byte b) { return b != std::byte{0}; }))
    findings_.add("page row of file block {} of {}: not zero behind the end of the file", key.block,
                  inodes_.describe(file.id));
}

// ------------------------------------------------------------------------------------------------ blocks

void ContentCheck::use(BlockRange blocks) {
  std::vector<BlockRange> again;
  used_.add(blocks, again);
  for (const BlockRange& range : again)
    for (uint64_t block = range.first.value; block < range.first.value + range.count; ++block)
      ++more_[block / BlockReferenceRow::group_blocks][block % BlockReferenceRow::group_blocks];
}

Result<void> ContentCheck::check_freed() {
  state::RowReader<FreedRow> rows(fs_.freed, inodes_.damaged());
  while (TRY(rows.next())) {
    if (inodes_.in_future(rows.key().sequence))
      findings_.add("freed row {}: of a later start of the server", rows.key().sequence);
    if (rows.row().ranges.empty()) findings_.add("freed row {}: it frees nothing", rows.key().sequence);
    for (const BlockRange& range : rows.row().ranges) {
      if (range.count == 0 || range.first.value == 0 || range.first.value >= surroundings_.blocks ||
          range.count > surroundings_.blocks - range.first.value) {
        findings_.add("freed row {}: {} blocks at {}, but the block store has {}", rows.key().sequence,
                      range.count, range.first, surroundings_.blocks);
        continue;
      }
      use(range);
      figures_.freed_blocks += range.count;
    }
  }
  return {};
}

// Shared blocks: as often as the rows say, and no others.
Result<void> ContentCheck::check_references() {
  std::vector<BlockRange> twice, miscounted;
  const auto compare = [&](uint64_t group, const auto& counted, const auto& found) {
    for (uint64_t i = 0; i < counted.size(); ++i) {
      if (counted[i] == found[i]) continue;
      append_range(counted[i] == 0 ? twice : miscounted, BlockNo(group * counted.size() + i), 1);
    }
  };
  constexpr std::array<uint32_t, BlockReferenceRow::group_blocks> none{};
  auto found = more_.begin();
  state::RowReader<BlockReferenceRow> rows(fs_.block_references, inodes_.damaged());
  while (TRY(rows.next())) {
    const uint64_t group = rows.key().group;
    for (; found != more_.end() && found->first < group; ++found) compare(found->first, none, found->second);
    if (rows.row().more == none) findings_.add("block reference row {}: it says nothing", group);
    const bool same = found != more_.end() && found->first == group;
    compare(group, rows.row().more, same ? (found++)->second : none);
  }
  for (; found != more_.end(); ++found) compare(found->first, none, found->second);
  suspect(twice, "used twice");
  suspect(miscounted, "shared, but not as often as is counted");
  return {};
}

Result<void> ContentCheck::check_allocation() {
  state::RowReader<AllocationRow> rows(fs_.allocations, inodes_.damaged());
  std::vector<BlockRange> leaked, missing;
  auto used = used_.groups().begin();
  const auto compare = [&](uint64_t group, const CheckedBlocks::Bits& marked,
                           const CheckedBlocks::Bits& in_use) {
    CheckedBlocks::Bits more{}, less{};
    for (size_t i = 0; i < marked.size(); ++i) {
      more[i] = marked[i] & ~in_use[i];
      less[i] = in_use[i] & ~marked[i];
    }
    append_blocks(group, more, leaked);
    append_blocks(group, less, missing);
  };
  while (TRY(rows.next())) {
    const uint64_t group = rows.key().group;
    for (; used != used_.groups().end() && used->first < group; ++used)
      compare(used->first, {}, used->second);
    if (used != used_.groups().end() && used->first == group)
      compare(group, rows.row().used, used++->second);
    else
      compare(group, rows.row().used, {});
  }
  for (; used != used_.groups().end(); ++used) compare(used->first, {}, used->second);
  for (const BlockRange& range : leaked)
    findings_.add("{}: marked as in use, but nothing uses {}", describe(range),
                  range.count == 1 ? "it" : "them");
  suspect(missing, "used, but marked as free");
  return {};
}

void ContentCheck::suspect(const std::vector<BlockRange>& ranges, std::string_view problem) {
  for (const BlockRange& range : ranges) {
    suspects_.push_back({range, problem});
    longest_suspect_ = std::max<uint64_t>(longest_suspect_, range.count);
  }
}

// Goes through all that use blocks once more, to say whose the suspects are.
Result<void> ContentCheck::name_users() {
  if (suspects_.empty()) return {};
  std::ranges::sort(suspects_, {}, [](const Suspect& s) { return s.blocks.first; });
  state::RowReader<ExtentRow> extents(fs_.extents, [](const std::string&) {});
  while (TRY(extents.next()))
    add_user({extents.row().block, static_cast<uint32_t>(extents.row().crcs.size())}, [&](uint64_t index) {
      return fmt::format("{} file block {}", inodes_.describe(extents.key().inode),
                         extents.row().first_block.value + index);
    });
  state::RowReader<FreedRow> rows(fs_.freed, [](const std::string&) {});
  while (TRY(rows.next()))
    for (const BlockRange& range : rows.row().ranges)
      add_user(range, [&](uint64_t) { return fmt::format("freed row {}", rows.key().sequence); });
  for (const Suspect& s : suspects_)
    findings_.add_line(s.problem,
                       fmt::format("{}: {}, by {}", describe(s.blocks), s.problem, fmt::join(s.users, ", ")));
  return {};
}

void ContentCheck::add_user(BlockRange blocks, const std::function<std::string(uint64_t)>& describe_user) {
  constexpr size_t users_max = 4;
  const uint64_t first = blocks.first.value, end = first + blocks.count;
  auto it = std::ranges::lower_bound(suspects_, BlockNo(first - std::min(first, longest_suspect_)), {},
                                     [](const Suspect& s) { return s.blocks.first; });
  for (; it != suspects_.end() && it->blocks.first.value < end; ++it) {
    const uint64_t from = it->blocks.first.value;
    if (from + it->blocks.count <= first || it->users.size() == users_max) continue;
    it->users.push_back(describe_user(std::max(from, first) - first));
  }
}

}  // namespace

Result<void> check_content(FileSystem& fs, CheckedInodes& inodes, const CheckSurroundings& surroundings,
                           state::Findings& findings, CheckFigures& figures) {
  return ContentCheck(fs, inodes, surroundings, findings, figures).run();
}

Result<void> check_data(FileSystem& fs, CheckedInodes& inodes, const CheckSurroundings& surroundings,
                        state::Findings& findings, CheckFigures& figures) {
  std::vector<std::byte> data(ExtentRow::blocks_max * block_bytes);
  state::RowReader<ExtentRow> rows(fs.extents, [](const std::string&) {});
  while (TRY(rows.next())) {
    const ExtentRow& row = rows.row();
    const uint64_t count = row.crcs.size();
    if (count > ExtentRow::blocks_max || row.block.value == 0 || row.block.value >= surroundings.blocks ||
        count > surroundings.blocks - row.block.value)
      continue;
    const auto where = [&](uint64_t i) {
      return fmt::format("block {}, file block {} of {}", row.block.value + i, row.first_block.value + i,
                         inodes.describe(rows.key().inode));
    };
    if (const auto read = surroundings.read_blocks(row.block, MutableBytes(data).first(count * block_bytes));
        !read) {
      findings.add("{} and {} more: {}", where(0), count - 1, read.error().message);
      continue;
    }
    const CheckedInode* inode = inodes.find(rows.key().inode);
    for (uint64_t i = 0; i < count; ++i) {
      const Bytes block = Bytes(data).subspan(i * block_bytes, block_bytes);
      ++figures.verified_blocks;
      if (crc32c(block) != row.crcs[i]) {
        findings.add("{}: its checksum is wrong", where(i));
        continue;
      }
      const uint64_t begin = (row.first_block.value + i) * block_bytes;
      if (inode == nullptr || inode->dropped() || inode->size <= begin ||
          inode->size - begin >= block_bytes ||
          inode->cut_off(FileBlock(row.first_block.value + i), row.stamp) ||
          fs.pending_inodes.peek({inode->id}) != nullptr)
        continue;
      const PageKey page{inode->id, FileBlock(row.first_block.value + i)};
      state::RowReader<PageRow> newer(fs.pages, [](const std::string&) {}, page, page);
      if (TRY(newer.next())) continue;  // hides it
      if (std::ranges::any_of(block.subspan(inode->size - begin),
                              [](std::byte b) { return b != std::byte{0}; }))
        findings.add("{}: not zero behind the end of the file", where(i));
    }
  }
  return {};
}

}  // namespace perdure::fs
