#include "core/spelling.h"

#include <gtest/gtest.h>

namespace commissure {
namespace {

TEST(EditDistance, CountsLettersAndSwaps) {
  EXPECT_EQ(edit_distance("ask", "ask"), 0);
  EXPECT_EQ(edit_distance("askk", "ask"), 1);
  EXPECT_EQ(edit_distance("modle", "model"), 1) << "a swap is one";
  EXPECT_EQ(edit_distance("", "abc"), 3);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
}

}  // namespace
}  // namespace commissure
