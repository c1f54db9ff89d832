#include "core/short_text.h"

#include <gtest/gtest.h>

namespace commissure {
namespace {

TEST(ShortText, CutsBetweenCharacters) {
  EXPECT_EQ(short_text("abc", 3), "abc");
  EXPECT_EQ(short_text("abcd", 3), "abc...");
  EXPECT_EQ(short_text("ab\u00e4c", 3), "ab...");
  EXPECT_EQ(short_text("\xbf\xbf\xbf", 1), "...");
  EXPECT_EQ(short_text("", 0), "");
}

}  // namespace
}  // namespace commissure
