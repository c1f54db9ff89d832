#include "terminal/program_call.h"

#include <gtest/gtest.h>

#include <random>

#include "terminal/captured_process.h"

namespace commissure {
namespace {

TEST(CommandLine, QuotesWhatAShellWouldRead) {
  EXPECT_EQ(command_line({.arguments = {"gcloud", "run", "--memory=16Gi", "a/b:c,d@e+f%"}}),
            "gcloud run --memory=16Gi a/b:c,d@e+f%");
  EXPECT_EQ(command_line({.arguments = {"echo", "two words", "", "$HOME", "it's"}}),
            "echo 'two words' '' '$HOME' 'it'\\''s'");
}

TEST(CommandLine, ShowsInputButNoSecret) {
  EXPECT_EQ(command_line({.arguments = {"cat"}, .input = "a b"}), "cat <<<'a b'");
  const std::string secret = command_line({.arguments = {"docker", "login"}, .input = "hunter2", .secret_input = true});
  EXPECT_EQ(secret, "docker login <<<\"$SECRET\"");
  EXPECT_EQ(command_line({.arguments = {"docker", "login"}, .input_of = {"gcloud", "auth", "print-access-token"}}),
            "gcloud auth print-access-token | docker login");
}

/// What `--dry-run` prints can be pasted into a shell: it gives each argument as it was, whatever it holds.
TEST(CommandLine, IsReadBackByAShellAsItWas) {
  std::mt19937 random(3);
  const std::string letters = "ab '\"\\$`!*?[]{}()<>|&;#~=%\n\t\xc3\xa9-";
  std::vector<std::string> arguments;
  for (int i = 0; i < 300; ++i) {
    std::string& word = arguments.emplace_back();
    for (std::size_t n = random() % 9; n > 0; --n) word += letters[random() % letters.size()];
  }
  std::vector<std::string> printed = arguments;
  printed.insert(printed.begin(), {"printf", "%s|\\n"});
  std::string wanted;
  for (const std::string& word : arguments) wanted += word + "|\n";
  const auto answer = run_captured({.arguments = {"sh", "-c", command_line({.arguments = printed})}});
  ASSERT_TRUE(answer.has_value()) << answer.error().message();
  EXPECT_EQ(answer->output, wanted) << answer->errors;
}

}  // namespace
}  // namespace commissure
