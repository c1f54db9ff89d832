#include "grammar/source_check.h"

#include <gtest/gtest.h>

#include <string>

namespace commissure {
namespace {

std::string problem(std::string_view text) {
  const Status checked = check_ebnf(text);
  return checked ? "none" : checked.error().message();
}

std::uint64_t parts(std::string_view text, Notation notation = Notation::kRegex) {
  return unfolded_parts(text, notation, kMaxUnfolded, "it").value_or(0);
}

std::string repeated(std::string_view text, int n) {
  std::string all;
  for (int i = 0; i < n; ++i) all += text;
  return all;
}

TEST(SourceCheck, MacrosAreRefusedHoweverTheyAreWritten) {
  for (const char* name : {"Token", "ExcludeToken", "Regex", "TagDispatch", "TokenTagDispatch", "Substring"}) {
    for (const char* behind : {"(5)", " (5)", "\n\t(5)", "#(\n(5)", ""}) {
      const std::string text = "root ::= \"a\"\n  | " + std::string(name) + behind;
      EXPECT_EQ(problem(text).rfind("line 2: '" + std::string(name), 0), 0u) << text << ": " << problem(text);
    }
  }
  EXPECT_NE(problem("root ::= \"a\"{5}Token(3)"), "none");
  EXPECT_NE(problem("root ::= 5Token(3)"), "none") << "the compiler reads a number and a name";
  EXPECT_NE(problem("root ::= \"a\" # until here\rToken(3)"), "none") << "a comment ends at a carriage return too";
}

TEST(SourceCheck, MacrosInLiteralsAndCommentsAreText) {
  EXPECT_EQ(problem("root ::= \"Token(5)\" [Regex(=] # Substring(\nTokens (\"(=\" my-Token Number(\"a\"))"), "none");
}

TEST(SourceCheck, LookaheadsOptionsAndZeroBytesAreRefused) {
  EXPECT_NE(problem("root ::= \"a\" (=\"b\")").find("lookahead"), std::string::npos);
  EXPECT_NE(problem("root[temperature=1] ::= \"a\"").find("options"), std::string::npos);
  EXPECT_NE(problem("root ::= a\n a[stop_capture=\"]\"]  ::= \"a\"").find("options"), std::string::npos);
  EXPECT_EQ(problem("root ::= a[b]\na ::= \"::=\""), "none");
  EXPECT_EQ(problem("root ::= a[=] \"::=\""), "none");
  EXPECT_NE(problem(std::string("root ::= \"a\"\0Token(3)", 21)).find("zero"), std::string::npos);
}

TEST(SourceCheck, RepetitionsMultiply) {
  EXPECT_EQ(parts("abc"), 3u);
  EXPECT_EQ(parts("a{7}b"), 8u);
  EXPECT_EQ(parts("(ab{3}){2,5}[^{9}]\\{"), 22u);
  EXPECT_EQ(parts("((a{10}){10}){10}"), 1000u);
  EXPECT_EQ(parts("((a{40}){40}){40}"), 0u) << "too many";
  EXPECT_EQ(parts("a{4294967297}"), 0u);
  EXPECT_EQ(parts("(){4294967297}"), 0u) << "a count that no number holds, of nothing";
  EXPECT_EQ(parts("(){9}"), 9u);
}

TEST(SourceCheck, ACharacterByItsNumberIsOnePart) {
  EXPECT_EQ(parts("\\u{6587}\\u{9999}"), 2u);
  EXPECT_EQ(parts("\\u{6587}{3}"), 3u);
  EXPECT_EQ(parts("\\u{6587"), 1u);
}

TEST(SourceCheck, LiteralsNamesAndCommentsOfAGrammarAreOnePartOrNone) {
  EXPECT_EQ(parts(R"(root ::= "{9}(((" # {50}{60}(()", Notation::kEbnf), 5u);
  EXPECT_EQ(parts("\"a\" # x\r {7}", Notation::kEbnf), 7u);
  EXPECT_EQ(parts("\"a\" { 3 , 8 }", Notation::kEbnf), 8u);
  EXPECT_EQ(parts("\"a\"{60000}", Notation::kEbnf), 0u);
}

TEST(SourceCheck, NestingIsBounded) {
  EXPECT_EQ(parts(repeated("(", 255) + "a" + repeated(")", 255)), 1u);
  EXPECT_EQ(parts(repeated("(", 60'000) + "a" + repeated(")", 60'000)), 0u);
  EXPECT_EQ(parts("a+??"), 1u);
  EXPECT_EQ(parts("a" + repeated("*", 8000)), 0u);
  EXPECT_EQ(parts("a" + repeated("{1}", 2000)), 0u);
  EXPECT_EQ(parts("\"a\"" + repeated(" *", 2000), Notation::kEbnf), 0u);
  EXPECT_EQ(parts(repeated("(a*)*", 1000)), 1000u);
}

}  // namespace
}  // namespace commissure
