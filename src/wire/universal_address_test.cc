#include "wire/universal_address.h"

#include <gtest/gtest.h>

namespace perdure::wire {
namespace {

TEST(UniversalAddress, OfIpv4) {
  const auto address = parse_universal_address("tcp", "192.0.2.1.8.1");
  ASSERT_TRUE(address);
  EXPECT_EQ(to_string(*address), "192.0.2.1:2049");
}

TEST(UniversalAddress, OfIpv6) {
  const auto address = parse_universal_address("tcp6", "2001:db8::1.200.7");
  ASSERT_TRUE(address);
  EXPECT_EQ(to_string(*address), "[2001:db8::1]:51207");
}

TEST(UniversalAddress, WhatIsNone) {
  for (const char* text :
       {"", ".", "..", "1.2", "192.0.2.1", "192.0.2.1.8", "192.0.2.1.8.256", "192.0.2.1.8.-1",
        "192.0.2.1.8.1 ", "192.0.2.1.0.0", "192.0.2.1..1", "host.8.1", "::1.8.1", "192.0.2.1.8.1.1"})
    EXPECT_FALSE(parse_universal_address("tcp", text)) << text;
  EXPECT_FALSE(parse_universal_address("tcp6", "192.0.2.1.8.1"));
  EXPECT_FALSE(parse_universal_address("tcp6", "fe80::1%eth0.8.1"));
  EXPECT_FALSE(parse_universal_address("udp", "192.0.2.1.8.1"));
  EXPECT_FALSE(parse_universal_address("tcp", std::string_view("192.0.2.1\0x.8.1", 15)));
}

}  // namespace
}  // namespace perdure::wire
