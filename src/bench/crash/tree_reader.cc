#include "bench/crash/tree_reader.h"

#include <algorithm>
#include <utility>

namespace perdure::bench {
namespace {

constexpr uint32_t read_blocks = 16;

Task<NfsStatus> read_blocks_of(Slot& slot, FileHandle fh, FoundNode& node) {
  const uint64_t blocks = (node.size + test_block_bytes - 1) / test_block_bytes;
  while (node.blocks.size() < blocks) {
    const uint64_t offset = node.blocks.size() * uint64_t{test_block_bytes};
    const auto length =
        static_cast<uint32_t>(std::min(uint64_t{read_blocks} * test_block_bytes, node.size - offset));
    slot.begin(false).putfh(fh).read(Stateid{}, offset, length);
    Reply& r = co_await slot.exchange();
    Bytes data;
    bool eof = false;
    if (!(r.putfh() && r.read(data, eof))) co_return r.error();
    if (data.empty()) co_return NfsStatus::malformed;
    for (; !data.empty(); data = data.subspan(std::min<size_t>(data.size(), test_block_bytes)))
      node.blocks.push_back(read_test_block(data.first(std::min<size_t>(data.size(), test_block_bytes))));
  }
  co_return NfsStatus::NFS4_OK;
}

Task<NfsStatus> read_target(Slot& slot, FileHandle fh, std::string& target) {
  slot.begin(false).putfh(fh).readlink();
  Reply& r = co_await slot.exchange();
  std::string_view text;
  if (r.putfh() && r.readlink(text)) target = text;
  co_return r.error();
}

// What can be read of one node, by its type.
Task<NfsStatus> read_node(Slot& slot, FileHandle fh, size_t file_blocks_max, FoundNode& node) {
  NfsStatus status = NfsStatus::NFS4_OK;
  if (node.type == FileType::NF4LNK) status = co_await read_target(slot, fh, node.target);
  const bool read = node.type == FileType::NF4REG && node.size <= file_blocks_max * test_block_bytes;
  if (read) status = co_await read_blocks_of(slot, fh, node);
  co_return status;
}

}  // namespace

Task<NfsStatus> read_tree(Slot& slot, FileHandle directory, size_t file_blocks_max, FoundTree& found) {
  std::vector<std::pair<std::string, FileHandle>> todo{{"", directory}};
  found[""].type = FileType::NF4DIR;
  while (!todo.empty()) {
    const std::string path = std::move(todo.back().first);
    const FileHandle fh = todo.back().second;
    todo.pop_back();
    std::vector<DirectoryEntry> entries;
    NfsStatus status = co_await read_directory(slot, fh, entries);
    if (status != NfsStatus::NFS4_OK) co_return status;
    for (const DirectoryEntry& entry : entries) {
      std::string below = path.empty() ? entry.name : path + "/" + entry.name;
      FileHandle child;
      Attributes a;
      status = co_await lookup(slot, fh, entry.name, child, a);
      if (status != NfsStatus::NFS4_OK) co_return status;
      FoundNode& node = found[below];
      node.type = a.type;
      node.fileid = a.fileid;
      node.links = a.numlinks;
      node.size = a.size;
      status = co_await read_node(slot, child, file_blocks_max, node);
      if (status != NfsStatus::NFS4_OK) co_return status;
      if (a.type == FileType::NF4DIR) todo.emplace_back(std::move(below), child);
    }
  }
  co_return NfsStatus::NFS4_OK;
}

Task<NfsStatus> read_counter(Slot& slot, FileHandle file, uint64_t& value) {
  slot.begin(false).putfh(file).read(Stateid{}, 0, sizeof value);
  Reply& r = co_await slot.exchange();
  Bytes data;
  bool eof = false;
  value = 0;
  if (r.putfh() && r.read(data, eof) && data.size() == sizeof value)
    std::memcpy(&value, data.data(), sizeof value);
  co_return r.error();
}

}  // namespace perdure::bench
