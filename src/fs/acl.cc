#include "fs/acl.h"

#include <algorithm>

namespace perdure::fs {

namespace {

using Who = AclRow::Who;
constexpr uint32_t inheritance = inherit_to_files | inherit_to_directories | inherit_once | inherit_only;

bool effective(const AclEntry& entry) {
  return (entry.flags & inherit_only) == 0;
}

bool inheritable(const AclEntry& entry) {
  return (entry.flags & (inherit_to_files | inherit_to_directories)) != 0;
}

bool named(const AclEntry& entry) {
  return entry.who == Who::user || entry.who == Who::group;
}

bool applies(const AclEntry& entry, const InodeRow& inode, const Principal& who) {
  if (!effective(entry)) return false;
  switch (entry.who) {
    case Who::owner:
      return who.uid == inode.uid;
    case Who::owner_group:
      return who.in_group(inode.gid);
    case Who::everyone:
      return true;
    case Who::user:
      return who.uid == entry.id;
    case Who::group:
      return who.in_group(entry.id);
  }
  return false;  // a damaged row
}

// The first entry that speaks of a right decides of it.
void add_to(Rights& rights, const AclEntry& entry) {
  if (entry.deny)
    rights.denied |= entry.mask & ~rights.allowed;
  else
    rights.allowed |= entry.mask & ~rights.denied;
}

// By the entries of `who` and of everyone (§6.3.2).
Rights rights_of(const Acl& acl, Who who) {
  Rights rights;
  for (const AclEntry& entry : acl.entries)
    if (effective(entry) && (entry.who == who || entry.who == Who::everyone)) add_to(rights, entry);
  return rights;
}

uint32_t bits_of_rights(uint32_t rights) {
  constexpr uint32_t writes = may_write | may_append;
  return ((rights & may_read) != 0 ? 4U : 0U) | ((rights & writes) == writes ? 2U : 0U) |
         ((rights & may_execute) != 0 ? 1U : 0U);
}

// Those that nobody has to whom all of `rights` are denied.
uint32_t bits_that_need(uint32_t rights) {
  return ((rights & may_read) != 0 ? 4U : 0U) | ((rights & (may_write | may_append)) != 0 ? 2U : 0U) |
         ((rights & may_execute) != 0 ? 1U : 0U);
}

}  // namespace

uint32_t rights_of_bits(FileType type, uint32_t bits) {
  constexpr uint32_t reads = may_read | may_read_named, writes = may_write | may_append | may_write_named;
  static constexpr auto of_others = [](uint32_t more) {
    std::array<uint32_t, 8> rights{};
    for (uint32_t i = 0; i < rights.size(); ++i)
      rights[i] = ((i & 4U) != 0 ? reads : 0U) | ((i & 2U) != 0 ? writes | more : 0U) |
                  ((i & 1U) != 0 ? may_execute : 0U);
    return rights;
  };
  static constexpr std::array<uint32_t, 8> file = of_others(0), directory = of_others(may_delete_child);
  return type == FileType::directory ? directory[bits & 7U] : file[bits & 7U];
}

Rights evaluate(const Acl& acl, const InodeRow& inode, const Principal& who) {
  Rights rights;
  for (const AclEntry& entry : acl.entries)
    if (applies(entry, inode, who)) add_to(rights, entry);
  return rights;
}

bool somebody_executes(const Acl& acl) {
  return std::ranges::any_of(acl.entries, [](const AclEntry& entry) {
    return !entry.deny && effective(entry) && (entry.mask & may_execute) != 0;
  });
}

uint32_t mode_of(const Acl& acl) {
  return bits_of_rights(rights_of(acl, Who::owner).allowed) << 6U |
         bits_of_rights(rights_of(acl, Who::owner_group).allowed) << 3U |
         bits_of_rights(rights_of(acl, Who::everyone).allowed);
}

Acl acl_of_mode(FileType type, uint32_t mode) {
  Acl acl;
  acl.entries = {{.who = Who::owner, .mask = rights_of_all | rights_of_owner},
                 {.who = Who::owner_group, .mask = rights_of_all},
                 {.who = Who::everyone, .mask = rights_of_all}};
  return with_mode(acl, type, mode, 0);
}

bool says_only_mode(const Acl& acl, FileType type) {
  return acl == acl_of_mode(type, mode_of(acl));
}

namespace {

// One list that is given a mode. The rights that a mode governs are taken from all entries of OWNER@, GROUP@
// and EVERYONE@, and stand in entries of their own: those of the owner in front, since whoever else he is
// does not matter then, those of the group and of everyone behind what named users and groups have.
class Moded {
 public:
  Moded(const Acl& acl, FileType type, uint32_t mode, uint32_t named_bits)
      : type_(type), user_(mode >> 6U & 7U), group_(mode >> 3U & 7U), other_(mode & 7U) {
    acl_.flags = acl.flags;
    for (const AclEntry& entry : acl.entries) take(entry, rights_of_bits(type, ~named_bits & 7U));
  }

  Acl result() {
    AclEntry owner{.who = Who::owner, .mask = rights(user_)};
    AclEntry group{.who = Who::owner_group, .mask = rights(group_)};
    AclEntry everyone{.who = Who::everyone, .mask = rights(other_)};
    absorb_from_front(owner);
    absorb_from_back(group);
    absorb_from_back(everyone);
    const uint32_t not_owner = rights(group_ | other_) | named_allowed_;
    put({.deny = true, .who = Who::owner, .mask = not_owner & rights(7) & ~rights(user_)});
    put(owner);
    acl_.entries.insert(acl_.entries.end(), rest_.begin(), rest_.end());
    put(group);
    put({.deny = true, .who = Who::owner_group, .mask = rights(other_ & ~group_)});
    put(everyone);
    return std::move(acl_);
  }

 private:
  uint32_t rights(uint32_t bits) const { return rights_of_bits(type_, bits); }
  void put(const AclEntry& entry) {
    if (entry.mask != 0) acl_.entries.push_back(entry);
  }

  void take(const AclEntry& entry, uint32_t withheld) {
    if (!effective(entry)) return rest_.push_back(entry);
    const uint32_t taken = !named(entry) ? rights(7) : entry.deny ? 0 : withheld;
    if ((entry.mask & taken) != 0) {
      if (inheritable(entry)) rest_.push_back(entry), rest_.back().flags |= inherit_only;
      rest_.push_back(entry);
      rest_.back().mask &= ~taken;
      rest_.back().flags &= ~inheritance;
      if (rest_.back().mask == 0) rest_.pop_back();
    } else {
      rest_.push_back(entry);
    }
    if (named(entry) && !entry.deny) named_allowed_ |= entry.mask & ~taken;
  }

  // What is left of an entry of the same kind becomes part of `into`, if nothing between them denies it.
  static bool absorbs(AclEntry& into, const AclEntry& entry, uint32_t denied) {
    if (entry.deny || entry.who != into.who || (entry.flags & ~is_inherited) != 0 ||
        (entry.mask & denied) != 0)
      return false;
    into.mask |= entry.mask;
    return true;
  }
  static void note(uint32_t& denied, const AclEntry& entry) {
    if (entry.deny && effective(entry)) denied |= entry.mask;
  }
  void absorb_from_front(AclEntry& into) {
    uint32_t denied = 0;
    std::erase_if(rest_, [&](const AclEntry& entry) {
      note(denied, entry);
      return absorbs(into, entry, denied);
    });
  }
  void absorb_from_back(AclEntry& into) {
    std::ranges::reverse(rest_);
    absorb_from_front(into);
    std::ranges::reverse(rest_);
  }

  const FileType type_;
  const uint32_t user_, group_, other_;
  uint32_t named_allowed_ = 0;
  std::vector<AclEntry> rest_;
  Acl acl_;
};

}  // namespace

Acl with_mode(const Acl& acl, FileType type, uint32_t mode, uint32_t named_bits) {
  return Moded(acl, type, mode, named_bits).result();
}

Acl effective_for(const Acl& acl, FileType type) {
  if (type == FileType::directory) return acl;
  Acl result{.flags = acl.flags, .entries = {}};
  for (AclEntry entry : acl.entries) {
    if (!effective(entry)) continue;
    entry.flags &= ~inheritance;
    result.entries.push_back(entry);
  }
  return result;
}

Acl inherited(const Acl& parent, FileType type) {
  Acl result{.flags = parent.flags & acl_auto_inherit, .entries = {}};
  for (AclEntry entry : parent.entries) {
    const bool to_files = (entry.flags & inherit_to_files) != 0;
    const bool to_directories = (entry.flags & inherit_to_directories) != 0;
    const bool once = (entry.flags & inherit_once) != 0;
    uint32_t flags = is_inherited;
    if (type != FileType::directory) {
      if (!to_files) continue;
    } else {
      // What is meant for files alone passes through a directory, unless it goes no further.
      if (!to_directories && (!to_files || once)) continue;
      if (!once) flags |= entry.flags & (inherit_to_files | inherit_to_directories);
      if (!to_directories) flags |= inherit_only;
    }
    entry.flags = flags;
    result.entries.push_back(entry);
  }
  return result;
}

// Deviation: RFC 8275 §5 has the umask ignored when anything was inherited. Then one inherited entry for some
// user would open new files to everybody. So the umask still holds for those of OWNER@, GROUP@ and EVERYONE@
// whom nothing inherited allows anything; and where something does, the mode takes from it and never adds.
Acl inherited_with_mode(const Acl& inherited, FileType type, uint32_t mode, std::optional<uint32_t> umask) {
  Acl acl = inherited;
  uint32_t bits = 0;
  const struct {
    Who who;
    unsigned shift;
    uint32_t always;
  } classes[] = {{Who::owner, 6, rights_of_all | rights_of_owner},
                 {Who::owner_group, 3, rights_of_all},
                 {Who::everyone, 0, rights_of_all}};
  for (const auto& c : classes) {
    const auto speaks = [&](const AclEntry& entry) { return effective(entry) && entry.who == c.who; };
    const auto allows = [&](const AclEntry& entry) { return speaks(entry) && !entry.deny; };
    if (std::ranges::none_of(inherited.entries, speaks))
      acl.entries.push_back({.who = c.who, .mask = c.always});
    uint32_t limit = 7;
    if (umask) {
      const Rights rights = rights_of(inherited, c.who);
      limit = std::ranges::any_of(inherited.entries, allows)
                  ? bits_of_rights(rights.allowed)
                  : ~(*umask >> c.shift) & ~bits_that_need(rights.denied) & 7U;
    }
    bits |= mode & limit << c.shift;
  }
  return with_mode(acl, type, bits, mode >> 3U & 7U);
}

}  // namespace perdure::fs
