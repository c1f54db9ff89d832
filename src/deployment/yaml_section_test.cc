#include "deployment/yaml_section.h"

#include <gtest/gtest.h>

namespace commissure {
namespace {

std::optional<std::string> variables(const std::string& name) {
  if (name == "NAME") return "ada";
  if (name == "EMPTY") return "";
  if (name == "NESTED") return "${NAME}";
  return std::nullopt;
}

/// One map of a file, and what its keys give.
class YamlSection : public ::testing::Test {
 protected:
  Section section(const std::string& text) { return {YAML::Load(text), environment_}; }

  /// The text of the key `x`, or the message of its error.
  std::string text(const std::string& value) {
    const auto found = section("x: " + value).text("x");
    return found ? found->value_or("absent") : found.error().message();
  }
  template <typename T, typename... Limits>
  std::string problem(const std::string& value, T field, Limits... limits) {
    const Status taken = section("x: " + value).take("x", field, limits...);
    return taken ? "" : taken.error().message();
  }

  const Environment environment_ = variables;
};

TEST_F(YamlSection, PutsVariablesIntoItsValues) {
  EXPECT_EQ(text("plain"), "plain");
  EXPECT_EQ(text("${NAME}"), "ada");
  EXPECT_EQ(text("a-${NAME}-${NAME}-z"), "a-ada-ada-z");
  EXPECT_EQ(text("${NONE:-else}"), "else");
  EXPECT_EQ(text("${NONE:-}x"), "x");
  EXPECT_EQ(text("a${EMPTY:-else}b"), "ab") << "one that is set to nothing is set";
  EXPECT_EQ(text("${NESTED}"), "${NAME}") << "what a variable holds is not read again";
  EXPECT_EQ(text("$NAME $$ {NAME}"), "$NAME $$ {NAME}") << "only ${...} is one";
}

TEST_F(YamlSection, NamesAVariableThatIsMissingOrCutOff) {
  EXPECT_EQ(text("${NONE}"), "line 1: the environment has no NONE; set it or write ${NONE:-value}");
  EXPECT_EQ(text("\"x ${NAME\""), "line 1: \"x ${NAME\" opens ${ and does not close it");
}

TEST_F(YamlSection, HasNoValueWhereAKeyIsEmptyOrAbsent) {
  EXPECT_EQ(text(""), "absent");
  EXPECT_EQ(text("null"), "absent");
  EXPECT_EQ(section("y: 1").text("x").value(), std::nullopt);
  EXPECT_EQ(text("[1]"), "line 1: x must be one value");
  int kept = 7;
  EXPECT_TRUE(section("y: 1").take("x", kept, 0, 9));
  EXPECT_EQ(kept, 7);
}

TEST_F(YamlSection, TakesWholeNumbersWithinTheirLimits) {
  int field = 0;
  EXPECT_TRUE(section("x: ${NONE:-12}").take("x", field, 1, 12));
  EXPECT_EQ(field, 12);
  for (const char* wrong : {"0", "13", "1.5", "0x2", "2 GB", "two", "99999999999", "\"\"", "+3"}) {
    EXPECT_TRUE(problem(wrong, 0, 1, 12).ends_with("it must be a whole number from 1 to 12"))
        << wrong << ": " << problem(wrong, 0, 1, 12);
  }
}

TEST_F(YamlSection, TakesNumbersAboveZero) {
  double field = 0;
  EXPECT_TRUE(section("x: 4.25").take("x", field));
  EXPECT_EQ(field, 4.25);
  for (const char* wrong : {"0", "-1", "inf", "nan", "1e9", "4,5", "4.5 USD"})
    EXPECT_TRUE(problem(wrong, 0.0).ends_with("it must be a number above zero")) << wrong;
}

TEST_F(YamlSection, TakesTrueAndFalseAndNoOtherWord) {
  bool field = false;
  EXPECT_TRUE(section("x: true").take("x", field));
  EXPECT_TRUE(field);
  for (const char* wrong : {"yes", "True", "on", "1"})
    EXPECT_EQ(problem(wrong, false), std::string("line 1: x is \"") + wrong + "\"; it must be true or false");
}

TEST_F(YamlSection, ChoosesTheFirstWhereNothingIsSaid) {
  const std::vector<const char*> choices = {"auto", "bf16", "int8"};
  EXPECT_EQ(section("y: 1").choose("x", choices).value(), "auto");
  EXPECT_EQ(section("x: int8").choose("x", choices).value(), "int8");
  EXPECT_EQ(section("\n\nx: int4").choose("x", choices).error().message(),
            "line 3: x is \"int4\"; it must be one of: auto, bf16, int8");
}

TEST_F(YamlSection, KnowsTheKeysThatWereAskedFor) {
  Section map = section("name: a\nregion: b\nextra: c\n");
  ASSERT_TRUE(map.text("name").has_value());
  ASSERT_TRUE(map.text("region").has_value());
  EXPECT_EQ(map.done().error().message(), "line 3: unknown key \"extra\"; did you mean name?");
  map.allow("extra");
  EXPECT_TRUE(map.done());
  Section swapped = section("naem: a\n");
  ASSERT_TRUE(swapped.text("naked").has_value());
  ASSERT_TRUE(swapped.text("name").has_value());
  EXPECT_EQ(swapped.done().error().message(), "line 1: unknown key \"naem\"; did you mean name?") << "a swap is one";
  EXPECT_FALSE(map.child("absent").IsDefined() && !map.child("absent").IsNull());
}

}  // namespace
}  // namespace commissure
