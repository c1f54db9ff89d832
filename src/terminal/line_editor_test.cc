#include "terminal/line_editor.h"

#include <gtest/gtest.h>

namespace commissure {
namespace {

TEST(ShownPaste, IsTheTextItselfWhenItIsShort) { EXPECT_EQ(shown_paste("ls -l /tmp", 0), "ls -l /tmp"); }

TEST(ShownPaste, StandsForLinesAndLongTexts) {
  EXPECT_EQ(shown_paste("one\ntwo\nthree", 0), "[pasted: 3 lines, 13 characters]");
  EXPECT_EQ(shown_paste(std::string(5000, 'x'), 0), "[pasted: 1 line, 5000 characters]");
  EXPECT_EQ(shown_paste("ä\nö", 0), "[pasted: 2 lines, 3 characters]");
}

TEST(ShownPaste, IsAnotherForEachPaste) { EXPECT_NE(shown_paste("a\nb", 0), shown_paste("a\nb", 1)); }

}  // namespace
}  // namespace commissure
