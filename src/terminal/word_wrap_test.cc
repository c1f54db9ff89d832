#include "terminal/word_wrap.h"

#include <gtest/gtest.h>

namespace commissure {
namespace {

/// The text as it is shown when it comes `size` bytes at a time.
std::string wrapped(std::string_view text, int width, std::size_t size) {
  WordWrap wrap(width);
  std::string shown;
  for (std::size_t i = 0; i < text.size(); i += size) shown += wrap.push(text.substr(i, size));
  return shown + wrap.finish();
}

TEST(WordWrap, BreaksLinesBetweenWordsHoweverTheTextComes) {
  for (const std::size_t size : {1, 2, 3, 7, 100}) {
    EXPECT_EQ(wrapped("the quick brown fox jumps", 10, size), "the quick\nbrown fox\njumps") << size;
    EXPECT_EQ(wrapped("one\ntwo three\n\nfour", 9, size), "one\ntwo three\n\nfour") << size;
  }
}

TEST(WordWrap, KeepsIndentationAndLeavesOutTheSpaceOfABreak) {
  EXPECT_EQ(wrapped("if x:\n    go home", 10, 1), "if x:\n    go\nhome");
}

TEST(WordWrap, CountsColumnsAndNotBytes) {
  EXPECT_EQ(wrapped("äöü äöü", 7, 1), "äöü äöü");
  EXPECT_EQ(wrapped("日本 日本", 8, 1), "日本\n日本") << "nine columns";
  EXPECT_EQ(wrapped("e\u0301e\u0301 e\u0301", 4, 1), "e\u0301e\u0301 e\u0301") << "four columns";
}

TEST(WordWrap, ShowsALongWordInPieces) {
  WordWrap wrap(5);
  EXPECT_EQ(wrap.push("abcdefg"), "abcde");
  EXPECT_EQ(wrap.finish(), "fg");
}

TEST(WordWrap, LetsNoControlCharactersThrough) {
  EXPECT_EQ(wrapped("a\x1b[31mb\x07\x7f\xc2\x9b"
                    "c\r\nd",
                    80, 1),
            "a[31mbc\nd");
}

TEST(WordWrap, WithoutAWidthBreaksNothing) {
  EXPECT_EQ(wrapped(std::string(300, 'a') + " b", 0, 1), std::string(300, 'a') + " b");
}

TEST(ColumnsOf, CountsWhatIsSeen) {
  EXPECT_EQ(columns_of(""), 0u);
  EXPECT_EQ(columns_of("Brücke —"), 8u);
  EXPECT_EQ(columns_of("日本の"), 6u);
  EXPECT_EQ(columns_of("e\u0301\U0001f600"), 3u);
  EXPECT_EQ(columns_of("\xff\xe6"), 2u) << "bytes that are no character take a column each";
}

TEST(CharactersOf, AreTheTextInPieces) {
  EXPECT_EQ(characters_of("aö日"), (std::vector<std::string_view>{"a", "ö", "日"}));
  EXPECT_EQ(characters_of("x\xe6\x97"), (std::vector<std::string_view>{"x", "\xe6\x97"})) << "one that is cut off";
}

TEST(WordWrap, FurtherLinesBeginBelowTheFirst) {
  EXPECT_EQ(wrapped_lines("temperature 0, top_p 0.95, min_p 0.1, top_k 40", 2, 30),
            "temperature 0, top_p 0.95,\n  min_p 0.1, top_k 40");
  EXPECT_EQ(wrapped_lines("one two", 2, 0), "one two");
}

}  // namespace
}  // namespace commissure
