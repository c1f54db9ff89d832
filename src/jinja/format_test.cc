// Python's two ways to format, held to what Python 3.11 gives.
#include <gtest/gtest.h>

#include "jinja/chat_template.h"

namespace commissure {
namespace {

/// The value of an expression as text, or "!" and what is wrong with it.
std::string value_of(std::string_view expression) {
  const auto compiled = ChatTemplate::compile("{{ " + std::string(expression) + " }}");
  if (!compiled) return "!" + compiled.error().message();
  const auto text = (*compiled)->render(Json::object());
  return text ? *text : "!" + text.error().message().substr(std::string_view("chat template: line 1: ").size());
}

TEST(JinjaPercent, FormatsAsPythonDoes) {
  EXPECT_EQ(value_of("'%5.1f|%-5d|%05d|%x|%s' % (3.14159, 42, -42, 255, 'é')"), "  3.1|42   |-0042|ff|é");
  EXPECT_EQ(value_of("'%(a)s-%(b)03d' % {'a': 1, 'b': 2}"), "1-002");
  EXPECT_EQ(value_of("'%*d|%.*f' % (5, 42, 2, 3.14159)"), "   42|3.14") << "width and precision from the arguments";
  EXPECT_EQ(value_of("'%+d|% d|%#x|%#o|%e|%g|%%' % (5, 5, 255, 8, 12345.678, 0.0001)"),
            "+5| 5|0xff|0o10|1.234568e+04|0.0001|%");
  EXPECT_EQ(value_of("'%.3s|%5.1s|%r' % ('abcdef', 'xyz', 'q')"), "abc|    x|'q'");
  EXPECT_EQ(value_of("'%s' % [1, 2]"), "[1, 2]") << "a list is one argument";
  EXPECT_EQ(value_of("'%d' % 3.9"), "3");
}

TEST(JinjaPercent, CountsItsArguments) {
  EXPECT_EQ(value_of("'%s' % ()"), "!not enough arguments for format string");
  EXPECT_EQ(value_of("'%s %s' % 1"), "!not enough arguments for format string");
  EXPECT_EQ(value_of("'%s' % (1, 2)"), "!not all arguments converted during string formatting");
  EXPECT_EQ(value_of("'%d' % 'x'"), "!%d format: a real number is required, not str");
  EXPECT_EQ(value_of("'%x' % 1.5"), "!%x format: an integer is required, not float");
  EXPECT_EQ(value_of("'%' % 1"), "!incomplete format");
  EXPECT_EQ(value_of("'%(a' % {}"), "!incomplete format key");
  EXPECT_EQ(value_of("'%(a)s' % {}"), "!no such key: 'a'");
  EXPECT_EQ(value_of("'%(a)s' % 1"), "!format requires a mapping");
  EXPECT_EQ(value_of("'%q' % 1").substr(0, 32), "!unsupported format character in");
}

TEST(JinjaBraces, AlignAndFill) {
  EXPECT_EQ(value_of("'{:>5}|{:<5}|{:^5}|{:*^7}'.format(1, 'a', 'b', 'c')"), "    1|a    |  b  |***c***");
  EXPECT_EQ(value_of("'{:é>4}|{:=+6}|{:5}|'.format(1, 7, true)"), "ééé1|+    7|    1|");
  EXPECT_EQ(value_of("'{:{w}}|{:{f}>{w}}'.format(1, 2, w=4, f='-')"), "   1|---2") << "fields inside a field";
  EXPECT_EQ(value_of("'{:.3}|{:5.1}|'.format('abcdef', 'xyz')"), "abc|x    |");
}

TEST(JinjaBraces, ShowNumbersInEveryForm) {
  EXPECT_EQ(value_of("'{:+d}|{: d}|{:,}|{:_}|{:#x}'.format(5, 5, 1234567, 1234567, 255)"),
            "+5| 5|1,234,567|1_234_567|0xff");
  EXPECT_EQ(value_of("'{:08.3f}|{:.2%}|{:e}|{:,.2f}'.format(3.14159, 0.256, 12345.678, 1234567.891)"),
            "0003.142|25.60%|1.234568e+04|1,234,567.89");
  EXPECT_EQ(value_of("'{:#06x}|{:#_x}|{:=#10o}|{:x=+#10x}'.format(255, 74565, 0 - 8, 255)"),
            "0x00ff|0x1_2345|-0o     10|+0xxxxxxff");
  EXPECT_EQ(value_of("'%#06x|%#.4x|%+#08X|%-#8x|' % (255, 255, 0 - 255, 255)"), "0x00ff|0x00ff|-0X000FF|0xff    |");
  EXPECT_EQ(value_of("'{:b} {:o} {:X} {:#b}'.format(5, 8, 255, 5)"), "101 10 FF 0b101");
  EXPECT_EQ(value_of("'{:g} {:g} {:.10g}'.format(1e10, 0.0001, 3.14159265)"), "1e+10 0.0001 3.14159265");
  EXPECT_EQ(value_of("'{:d} {:x}'.format(-9223372036854775807, -255)"), "-9223372036854775807 -ff");
}

TEST(JinjaBraces, GroupTheZerosThatFillANumber) {
  EXPECT_EQ(value_of("'{:010_d}|{:010,}|{:012,d}|{:06_}'.format(1234, 12, 1234, 0 - 5)"),
            "00_001_234|00,000,012|0,000,001,234|-0_005");
  EXPECT_EQ(value_of("'{:#012_x}|{:+012,d}|{:0=12,d}|{:*=12,d}|{:0>12,d}'.format(1234, 1234, 1234, 1234, 1234)"),
            "0x0_0000_04d2|+000,001,234|0,000,001,234|*******1,234|00000001,234");
  EXPECT_EQ(value_of("'{:012,.2f}|{:020_.3f}|{:012,.1%}|{:010_d}'.format(1234.5, 0 - 1234567.5, 12.5, 1234567890123)"),
            "0,001,234.50|-000_001_234_567.500|0,001,250.0%|1_234_567_890_123");
}

TEST(JinjaBraces, FindTheirArguments) {
  EXPECT_EQ(value_of("'{0[a]}{1[0]}{2!r}{k}'.format({'a': 1}, [7], 'q', k=3)"), "17'q'3");
  EXPECT_EQ(value_of("'{{}}{}{{'.format(1)"), "{}1{");
  EXPECT_EQ(value_of("'{}'.format(none)"), "None");
  EXPECT_EQ(value_of("'{a}{b}'.format_map({'a': 1, 'b': 2})"), "12");
  for (const char* wrong : {"'{} {}'.format(1)", "'{a}'.format()", "'{'.format()", "'}'.format()", "'{:d}'.format('x')",
                            "'{:s}'.format(5)", "'{0} {}'.format(1, 2)", "'{:s}'.format(true)", "'{!x}'.format(1)",
                            "'{:5.}'.format(1.0)", "'{[0}'.format([1])", "'{:{:{}}}'.format(1, 2, 3)"})
    EXPECT_EQ(value_of(wrong).substr(0, 1), "!") << wrong;
}

TEST(JinjaFormat, IsBounded) {
  for (const char* huge : {"'%999999999d' % 1", "'%.999d' % 1", "'{:999999999}'.format(1)", "'{:.999f}'.format(1.5)",
                           "'%99999999999999999999d' % 1", "'{:99999999999}'.format(1)"})
    EXPECT_EQ(value_of(huge).substr(0, 1), "!") << huge;
}

}  // namespace
}  // namespace commissure
