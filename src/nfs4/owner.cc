#include "nfs4/owner.h"

#include <charconv>

namespace perdure::nfs4 {

void put_owner(wire::XdrEncoder& out, OwnerLookup& owners, OwnerKind kind, uint32_t id) {
  if (OwnerNames* names = owners.names(); names != nullptr && names->options().shown) {
    const OwnerNames::Name found = names->find_name(kind, id);
    if (found.known == OwnerNames::Known::unasked) owners.miss({kind, id});
    if (found.known == OwnerNames::Known::yes)
      return out.put_string(std::string(found.name) + "@" + names->options().domain);
  }
  char text[16];
  const auto end = std::to_chars(std::begin(text), std::end(text), id).ptr;
  out.put_string({text, static_cast<size_t>(end - text)});
}

std::expected<uint32_t, Nfsstat4> parse_owner(OwnerLookup& owners, OwnerKind kind, std::string_view text) {
  if (text.empty()) return std::unexpected(Nfsstat4::NFS4ERR_INVAL);
  uint32_t id = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (problem == std::errc() && end == text.data() + text.size()) return id;
  if (owners.names() == nullptr) return std::unexpected(Nfsstat4::NFS4ERR_BADOWNER);
  const OwnerNames::Id found = owners.names()->find_id(kind, text);
  switch (found.known) {
    case OwnerNames::Known::unasked:
      owners.miss(owners.names()->question_of(kind, text));
      return 0;
    case OwnerNames::Known::yes:
      return found.id;
    case OwnerNames::Known::none:
      break;
    case OwnerNames::Known::failed:
      return std::unexpected(Nfsstat4::NFS4ERR_DELAY);
  }
  return std::unexpected(Nfsstat4::NFS4ERR_BADOWNER);
}

}  // namespace perdure::nfs4
