#include "commands/suggestion.h"

#include <gtest/gtest.h>

namespace commissure {
namespace {

class Suggestion : public ::testing::Test {
 protected:
  Suggestion() {
    CLI::App* up = app_.add_subcommand("up", "");
    up->add_option("--model", text_, "");
    up->add_option("--max-model-len", text_, "");
    app_.add_subcommand("ask", "");
    app_.add_subcommand("status", "");
    app_.add_subcommand("supervise", "")->group("");
  }
  CLI::App app_;
  std::string text_;
};

TEST_F(Suggestion, IsTheNearestCommand) {
  EXPECT_EQ(suggestion(app_, {"askk"}), "commissure ask");
  EXPECT_EQ(suggestion(app_, {"statsu"}), "commissure status");
  EXPECT_EQ(suggestion(app_, {"frobnicate"}), "");
  EXPECT_EQ(suggestion(app_, {"supervize"}), "") << "one that people do not call";
}

TEST_F(Suggestion, IsTheNearestFlagOfTheCommand) {
  EXPECT_EQ(suggestion(app_, {"up", "--modle", "x"}), "--model");
  EXPECT_EQ(suggestion(app_, {"up", "--model", "x", "--max-modle-len=7"}), "--max-model-len");
  EXPECT_EQ(suggestion(app_, {"up", "--temperature", "0"}), "");
  EXPECT_EQ(suggestion(app_, {"up", "--model"}), "") << "it is a flag; what is wrong is another thing";
}

}  // namespace
}  // namespace commissure
