#include "core/index.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <string_view>

namespace commissure {
namespace {

TEST(Index, AShapeIsCountedWhereAnIntWouldOverflow) {
  constexpr int kSide = 1 << 20;
  static_assert(n_elements(kSide, kSide) == std::size_t{1} << 40);
  static_assert(n_elements(kSide, std::int64_t{kSide}, 2) == std::size_t{1} << 41);
  EXPECT_EQ(n_elements(3, 0), 0u);
}

TEST(Index, AContainerHasTheIndicesFromZeroToItsEnd) {
  constexpr std::array<int, 2> kTwo = {7, 8};
  EXPECT_FALSE(has_index(kTwo, -1));
  EXPECT_TRUE(has_index(kTwo, 0));
  EXPECT_TRUE(has_index(kTwo, 1));
  EXPECT_FALSE(has_index(kTwo, 2));
  EXPECT_FALSE(has_index(std::string_view(), 0));
}

TEST(Index, CountsAreInts) {
  static_assert(std::is_same_v<decltype(count_of(std::string_view("abc"))), int>);
  EXPECT_EQ(count_of(std::string_view("abc")), 3);
}

#ifndef NDEBUG
TEST(IndexDeathTest, ANegativeCountIsABrokenInvariant) { EXPECT_DEATH(to_size(-1), "n >= 0"); }
#endif

}  // namespace
}  // namespace commissure
