#include "nfs4/owner.h"

#include <charconv>

namespace perdure::nfs4 {

void put_owner(wire::XdrEncoder& out, uint32_t id) {
  char text[16];
  const auto end = std::to_chars(std::begin(text), std::end(text), id).ptr;
  out.put_string({text, static_cast<size_t>(end - text)});
}

std::expected<uint32_t, Nfsstat4> parse_owner(std::string_view text) {
  if (text.empty()) return std::unexpected(Nfsstat4::NFS4ERR_INVAL);
  uint32_t id = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (problem != std::errc() || end != text.data() + text.size())
    return std::unexpected(Nfsstat4::NFS4ERR_BADOWNER);
  return id;
}

}  // namespace perdure::nfs4
