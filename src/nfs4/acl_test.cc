#include "nfs4/acl.h"

#include <gtest/gtest.h>

#include <random>

namespace perdure::nfs4 {
namespace {

using Who = fs::AclRow::Who;

const fs::Acl some_list{
    .flags = fs::acl_protected,
    .entries = {{.deny = true, .who = Who::user, .id = 1000, .flags = fs::inherit_to_files, .mask = 0x27},
                {.who = Who::group, .id = UINT32_MAX, .flags = fs::is_inherited, .mask = fs::acl_mask},
                {.who = Who::owner, .mask = 0},
                {.who = Who::owner_group, .mask = 0x1},
                {.who = Who::everyone, .flags = 0xf, .mask = 0x120080}}};

ByteVector encoded(const fs::Acl& acl, AclAttribute attribute) {
  wire::XdrEncoder out;
  OwnerLookup numbers;
  put_acl(out, numbers, acl, attribute);
  return out.flatten();
}

std::expected<fs::Acl, Nfsstat4> decoded(Bytes bytes, AclAttribute attribute) {
  wire::XdrDecoder in(bytes);
  OwnerLookup numbers;
  return get_acl(in, numbers, attribute);
}

TEST(AclXdr, WhatIsPutIsGot) {
  EXPECT_EQ(decoded(encoded(some_list, AclAttribute::dacl), AclAttribute::dacl), some_list);
  fs::Acl without = some_list;
  without.flags = 0;
  without.entries[1].flags = 0;
  EXPECT_EQ(decoded(encoded(some_list, AclAttribute::acl), AclAttribute::acl), without);
  EXPECT_EQ(decoded(encoded({}, AclAttribute::acl), AclAttribute::acl), fs::Acl{});
}

TEST(AclXdr, WhatIsCutOffIsRefused) {
  for (const AclAttribute attribute : {AclAttribute::acl, AclAttribute::dacl}) {
    const ByteVector whole = encoded(some_list, attribute);
    for (size_t size = 0; size < whole.size(); ++size) {
      const auto acl = decoded(Bytes(whole).first(size), attribute);
      ASSERT_FALSE(acl);
      EXPECT_EQ(acl.error(), Nfsstat4::NFS4ERR_BADXDR);
    }
  }
}

// Whatever is taken can be kept and shown.
TEST(AclXdr, AnyBytesAreTakenOrRefused) {
  std::minstd_rand random(7);
  const ByteVector whole = encoded(some_list, AclAttribute::dacl);
  size_t taken = 0;
  for (int i = 0; i < 20000; ++i) {
    ByteVector bytes = whole;
    for (auto n = 1 + random() % 3; n > 0; --n)
      bytes[random() % bytes.size()] ^= static_cast<std::byte>(1U << random() % 8);
    const auto acl = decoded(bytes, AclAttribute::dacl);
    if (!acl) continue;
    ++taken;
    ASSERT_LE(acl->entries.size(), fs::acl_entries_max);
    ASSERT_EQ(decoded(encoded(*acl, AclAttribute::dacl), AclAttribute::dacl), *acl);
  }
  EXPECT_GT(taken, 1000U);
}

TEST(AclXdr, AsManyEntriesAsAreKept) {
  fs::Acl acl;
  acl.entries.resize(fs::acl_entries_max);
  EXPECT_TRUE(decoded(encoded(acl, AclAttribute::acl), AclAttribute::acl));
  acl.entries.emplace_back();
  EXPECT_EQ(decoded(encoded(acl, AclAttribute::acl), AclAttribute::acl).error(),
            Nfsstat4::NFS4ERR_ATTRNOTSUPP);
}

}  // namespace
}  // namespace perdure::nfs4
