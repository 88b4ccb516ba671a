#include "nfs4/file_handle.h"

namespace perdure::nfs4 {

namespace {
constexpr uint64_t version_word = uint64_t{1} << 56U;
}

void put_file_handle(wire::XdrEncoder& out, FileHandle handle, const fs::VolumeRow& volume) {
  out.put_u32(file_handle_bytes);
  out.put_u64(version_word);
  out.put_u64(volume.uuid[0]);
  out.put_u64(handle.inode.value);
}

std::optional<ParsedHandle> parse_file_handle(Bytes bytes) {
  if (bytes.size() != file_handle_bytes) return std::nullopt;
  wire::XdrDecoder in(bytes);
  if (in.get_u64() != version_word) return std::nullopt;
  ParsedHandle parsed;
  parsed.uuid = in.get_u64();
  parsed.handle.inode = InodeId(in.get_u64());
  if (!parsed.handle) return std::nullopt;
  return parsed;
}

}  // namespace perdure::nfs4
