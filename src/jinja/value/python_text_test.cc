#include "jinja/value/python_text.h"

#include <gtest/gtest.h>

#include <limits>

#include "jinja/value/heap.h"

namespace commissure::jinja {
namespace {

std::string repr(std::string_view text) {
  std::string out;
  append_repr(out, text);
  return out;
}

TEST(PythonText, CountsCodePoints) {
  EXPECT_EQ(count_code_points("aé日😀"), 4u);
  EXPECT_EQ(byte_offset("aé日😀", 0), 0u);
  EXPECT_EQ(byte_offset("aé日😀", 2), 3u);
  EXPECT_EQ(byte_offset("aé日😀", 4), 10u);
  EXPECT_EQ(byte_offset("aé日😀", 99), 10u) << "behind the end is the end";
  EXPECT_EQ(split_code_points("aé日"), (std::vector<std::string_view>{"a", "é", "日"}));
}

TEST(PythonText, ReadsBrokenBytesAsOneLetterAndGoesOn) {
  for (const std::string_view text : {"\xff", "\xc3", "\xe6\x97", "\xf0\x9f\x98", "\x80"}) {
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t before = at;
      EXPECT_EQ(next_code_point(text, at), U'\ufffd');
      ASSERT_GT(at, before);
      ASSERT_LE(at, text.size());
    }
  }
}

/// One letter and what Python says of it: space, printable, alpha, decimal, digit, numeric, upper, lower.
struct Letter {
  char32_t letter;
  const char* claims;
};

TEST(PythonText, SaysOfLettersWhatPythonSays) {
  for (const auto& [letter, claims] : std::initializer_list<Letter>{{U'a', ".pa....l"},
                                                                    {U'1', ".p.ddn.."},
                                                                    {U'\u00b2', ".p..dn.."},
                                                                    {U'\u00bd', ".p...n.."},
                                                                    {U'\u2167', ".p...nu."},
                                                                    {U'\u00aa', ".pa....l"},
                                                                    {U'\u02b0', ".pa....l"},
                                                                    {U'_', ".p......"},
                                                                    {U'\u0300', ".p......"},
                                                                    {U'\u00a0', "s......."},
                                                                    {U'\u2003', "s......."},
                                                                    {U'\u200b', "........"},
                                                                    {U'\u0660', ".p.ddn.."}}) {
    std::string found;
    for (const auto& [claim, sign] : std::initializer_list<std::pair<bool (*)(char32_t), char>>{{is_python_space, 's'},
                                                                                                {is_printable, 'p'},
                                                                                                {is_alpha, 'a'},
                                                                                                {is_decimal, 'd'},
                                                                                                {is_digit, 'd'},
                                                                                                {is_numeric, 'n'},
                                                                                                {is_upper, 'u'},
                                                                                                {is_lower, 'l'}})
      found += claim(letter) ? sign : '.';
    EXPECT_EQ(found, claims) << static_cast<std::uint32_t>(letter);
  }
}

TEST(PythonText, MapsCaseAsPythonDoes) {
  EXPECT_EQ(to_upper("Grüße ﬁn ŉ"), "GRÜSSE FIN \u02bcN");
  EXPECT_EQ(to_lower("ΣΑΣ ΑΣ. Σ İ"), "σας ας. σ i\u0307") << "a sigma at the end of a word";
  EXPECT_EQ(to_title("o'neill x1y straße ǆ"), "O'Neill X1Y Straße ǅ");
  EXPECT_EQ(capitalized("oNeILL And"), "Oneill and");
  EXPECT_EQ(swapped_case("Grüße"), "gRÜSSE");
}

TEST(PythonText, StripsSpacesOrTheLettersOfASet) {
  EXPECT_EQ(strip("\t a b\u2003\n", Side::kBoth), "a b");
  EXPECT_EQ(strip("  a ", Side::kLeft), "a ");
  EXPECT_EQ(strip("  a ", Side::kRight), "  a");
  EXPECT_EQ(strip(" \n", Side::kBoth), "");
  EXPECT_EQ(strip("éxéyé", Side::kBoth, "é"), "xéy");
  EXPECT_EQ(strip("abcba", Side::kBoth, "ba"), "c");
  EXPECT_EQ(strip("abc", Side::kBoth, ""), "abc");
}

TEST(PythonText, QuotesAsReprDoes) {
  EXPECT_EQ(repr("it's"), R"("it's")");
  EXPECT_EQ(repr("\""), R"('"')");
  EXPECT_EQ(repr("'\""), R"('\'"')");
  EXPECT_EQ(repr(std::string_view("\\\n\t\r\0\x7f", 6)), R"('\\\n\t\r\x00\x7f')");
  EXPECT_EQ(repr("é日😀"), "'é日😀'");
  EXPECT_EQ(repr("\u00a0\u200b\u2028"), R"('\xa0\u200b\u2028')");
}

TEST(PythonText, WritesFloatsAsReprDoes) {
  for (const auto& [value, text] :
       std::initializer_list<std::pair<double, const char*>>{{0.1, "0.1"},
                                                             {100, "100.0"},
                                                             {-0.0, "-0.0"},
                                                             {1e15, "1000000000000000.0"},
                                                             {1e16, "1e+16"},
                                                             {123456789012345678.0, "1.2345678901234568e+17"},
                                                             {1e-4, "0.0001"},
                                                             {1e-5, "1e-05"},
                                                             {2.5e-7, "2.5e-07"},
                                                             {5e-324, "5e-324"},
                                                             {1.7976931348623157e308, "1.7976931348623157e+308"},
                                                             {std::numeric_limits<double>::infinity(), "inf"},
                                                             {-std::numeric_limits<double>::infinity(), "-inf"},
                                                             {std::numeric_limits<double>::quiet_NaN(), "nan"}})
    EXPECT_EQ(float_repr(value), text);
}

TEST(JinjaHeap, GrowsATextWhereItLies) {
  Heap heap({});
  Value text = heap.text("a").value();
  const char* begin = text.text;
  for (int i = 0; i < 100; ++i) text = heap.concat(text.view(), "b").value();
  EXPECT_EQ(text.text, begin) << "never copied";
  EXPECT_EQ(text.view(), "a" + std::string(100, 'b'));
}

TEST(JinjaHeap, KeepsAShorterTextAsItWasWhileALongerOneGrowsOnIt) {
  Heap heap({});
  const Value base = heap.text("base").value();
  const Value one = heap.concat(base.view(), "-one").value();
  const Value two = heap.concat(base.view(), "-two").value();
  EXPECT_EQ(base.view(), "base");
  EXPECT_EQ(one.view(), "base-one");
  EXPECT_EQ(two.view(), "base-two");
}

TEST(JinjaHeap, RefusesWhatIsBeyondItsLimits) {
  Heap heap({.memory_bytes = 1 << 20, .text_bytes = 1000});
  EXPECT_TRUE(heap.text(std::string(1000, 'x')).has_value());
  EXPECT_EQ(heap.concat(std::string(600, 'x'), std::string(600, 'y')).error().code(), Code::kResourceExhausted);
  EXPECT_FALSE(heap.array<Value>(std::size_t{1} << 60).has_value()) << "no product that wraps";
  std::size_t n_texts = 0;
  while (n_texts < 5000 && heap.text(std::string(999, 'x'))) ++n_texts;
  EXPECT_LT(n_texts, 1100u) << "a million bytes";
  EXPECT_GT(n_texts, 800u);
  EXPECT_EQ(heap.charge(1 << 20).error().message(), "the template needs more than 1 MiB");
}

TEST(JinjaHeap, LaysValuesWhereTheirTypeMayLie) {
  Heap heap({});
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(heap.text(std::string(static_cast<std::size_t>(i % 7 + 1), 'x')).has_value());
    const Value* values = heap.array<Value>(3).value();
    ASSERT_EQ(reinterpret_cast<std::uintptr_t>(values) % alignof(Value), 0u);
    ASSERT_EQ(values[2].kind, Kind::kUndefined);
  }
}

}  // namespace
}  // namespace commissure::jinja
