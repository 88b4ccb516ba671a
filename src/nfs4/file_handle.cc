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

std::optional<FileHandle> parse_file_handle(Bytes bytes, const fs::VolumeRow& volume) {
  if (bytes.size() != file_handle_bytes) return std::nullopt;
  wire::XdrDecoder in(bytes);
  const bool ours = in.get_u64() == version_word && in.get_u64() == volume.uuid[0];
  const FileHandle handle{InodeId(in.get_u64())};
  if (!ours || !handle) return std::nullopt;
  return handle;
}

}  // namespace perdure::nfs4
