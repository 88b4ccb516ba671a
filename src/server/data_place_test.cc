// Where the data of a WRITE lie, on calls as clients send them.
#include "nfs4/data_place.h"

#include <gtest/gtest.h>

#include <random>

#include "server/testing/vserver_fixture.h"
#include "wire/rpc.h"

namespace perdure::server::testing {
namespace {

using nfs4::find_write_data;

constexpr size_t data_bytes = 300'000;

ByteVector call_of(const CompoundBuilder& compound, uint32_t program = nfs4::nfs4_program,
                   uint32_t version = 4) {
  wire::XdrEncoder call;
  wire::begin_call(call, 7, program, version, 1, {wire::AuthFlavor::AUTH_SYS, 1000, 1000, {1, 2, 3}},
                   "client");
  call.put_raw(compound.finish());
  return call.flatten();
}

CompoundBuilder sequence() {
  CompoundBuilder compound;
  compound.op(Opnum4::OP_SEQUENCE).fixed(ByteVector(16)).u32(1).u32(0).u32(0).u32(0);
  return compound;
}

ByteVector write_call(uint64_t offset, uint32_t program = nfs4::nfs4_program, uint32_t version = 4) {
  CompoundBuilder compound = sequence();
  compound.putfh(ByteVector(20, std::byte{5}))
      .write(ByteVector(16), offset, 0, ByteVector(data_bytes, std::byte{0xdd}))
      .op(Opnum4::OP_GETATTR)
      .u32(0);
  return call_of(compound, program, version);
}

TEST(DataPlace, IsFoundInAWrite) {
  for (const uint64_t offset : {0ULL, 1ULL << 20, 4097ULL, (1ULL << 40) + 4095}) {
    const ByteVector call = write_call(offset);
    const auto place = find_write_data(Bytes(call).first(1000));
    ASSERT_TRUE(place);
    EXPECT_EQ(place->in_page, offset % block_bytes);
    EXPECT_NE(call[place->offset - 1], std::byte{0xdd});
    for (size_t i = 0; i < data_bytes; ++i) ASSERT_EQ(call[place->offset + i], std::byte{0xdd});
    EXPECT_NE(call[place->offset + data_bytes], std::byte{0xdd});
    for (size_t n = 0; n < 1000; ++n) {
      const auto early = find_write_data(Bytes(call).first(n));
      ASSERT_EQ(early.has_value(), n >= place->offset) << n;
    }
  }
}

TEST(DataPlace, IsNotFoundInAnythingElse) {
  EXPECT_FALSE(find_write_data({}));
  EXPECT_FALSE(find_write_data(write_call(0, 100003, 3)));
  EXPECT_FALSE(find_write_data(write_call(0, 100004)));
  CompoundBuilder other = sequence();
  other.putrootfh().write(ByteVector(16), 0, 0, ByteVector(data_bytes));
  EXPECT_FALSE(find_write_data(call_of(other)));
  EXPECT_FALSE(find_write_data(call_of(sequence())));
}

TEST(DataPlace, LiesInsideWhatWasLookedAt) {
  std::mt19937 random(1);
  const ByteVector call = write_call(12345);
  for (int i = 0; i < 100'000; ++i) {
    ByteVector hostile(call.begin(), call.begin() + 1 + static_cast<ptrdiff_t>(random() % 600));
    for (size_t n = random() % 5; n > 0; --n)
      hostile[random() % hostile.size()] = static_cast<std::byte>(random());
    if (const auto place = find_write_data(hostile)) {
      ASSERT_LE(place->offset, hostile.size());
      ASSERT_LT(place->in_page, block_bytes);
    }
  }
}

}  // namespace
}  // namespace perdure::server::testing
