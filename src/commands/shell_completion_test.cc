#include "commands/shell_completion.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <string>

#include "commands/manual_page.h"
#include "support/temp_folder.h"

namespace commissure::testing {
namespace {

/// A small program with each kind of flag.
class ShellCompletion : public ::testing::Test {
 protected:
  ShellCompletion() {
    CLI::App* up = app_.add_subcommand("up", "Bring it up: [all] of it. And more");
    up->add_option("-m,--model", model_, "a model's file");
    up->add_option("--kv-dtype", type_, "type of keys")->check(CLI::IsMember({"bf16", "int8"}));
    up->add_flag("--local", is_local_, "on this machine; it's small");
    up->add_flag("--secret-flag", is_local_, "not for people")->group("");
    up->footer("Examples:\n  commissure up");
    app_.add_subcommand("models", "List")->add_subcommand("rm", "Remove one");
    app_.add_subcommand("supervise", "hidden")->group("");
  }

  CommandDoc doc() const { return read_command(app_); }

  /// What bash offers behind the words, of which the last is the one being typed.
  std::string bash(const std::string& words) {
    const std::string script = folder_.write("completion.bash", *shell_completion(doc(), "bash"));
    const std::string command = "bash -uc 'source " + script + "; COMP_WORDS=(" + words +
                                "); COMP_CWORD=$((${#COMP_WORDS[@]}-1)); _commissure; echo \"${COMPREPLY[*]}\"'";
    std::string out;
    std::FILE* const pipe = ::popen(command.c_str(), "r");
    if (pipe == nullptr) return "bash did not start";
    std::array<char, 256> buffer{};
    while (std::fgets(buffer.data(), static_cast<int>(buffer.size()), pipe) != nullptr) out += buffer.data();
    EXPECT_EQ(::pclose(pipe), 0) << words;
    return out;
  }

  CLI::App app_{"Serves models", "commissure"};
  std::string model_, type_;
  bool is_local_ = false;
  TempFolder folder_;
};

TEST_F(ShellCompletion, OfBashOffersCommandsFlagsAndValues) {
  EXPECT_EQ(bash("commissure u"), "up\n");
  EXPECT_EQ(bash("commissure supe"), "\n") << "what people are not meant to call";
  EXPECT_EQ(bash("commissure up --lo"), "--local\n");
  EXPECT_EQ(bash("commissure up --secret"), "\n");
  EXPECT_EQ(bash("commissure up --kv-dtype i"), "int8\n");
  EXPECT_EQ(bash("commissure models r"), "rm\n");
  const std::string file = folder_.write("model.gguf", "");
  EXPECT_EQ(bash("commissure up -m " + file.substr(0, file.size() - 3)), file + "\n");
  EXPECT_EQ(bash("commissure up " + file.substr(0, file.size() - 3)), file + "\n") << "a value by itself";
}

TEST_F(ShellCompletion, OfZshAndFishKeepDescriptionsApartFromTheirOwnSigns) {
  const std::string zsh = *shell_completion(doc(), "zsh");
  EXPECT_NE(zsh.find("'up:Bring it up\\: \\[all\\] of it'"), std::string::npos) << zsh;
  EXPECT_NE(zsh.find("'*--kv-dtype[type of keys]:TEXT:(bf16 int8)'"), std::string::npos) << zsh;
  EXPECT_NE(zsh.find("it'\\''s small"), std::string::npos) << zsh;
  const std::string fish = *shell_completion(doc(), "fish");
  EXPECT_NE(fish.find("__fish_seen_subcommand_from up' -s m -l model -r -F -d 'a model'\\''s file'"), std::string::npos)
      << fish;
  EXPECT_EQ(shell_completion(doc(), "csh").error().code(), Code::kInvalidArgument);
}

TEST_F(ShellCompletion, TheManualNamesEveryCommandAndFlagThatHelpNames) {
  const std::string page = manual_page(doc(), "1.2.3");
  EXPECT_TRUE(page.starts_with(".TH COMMISSURE 1 \"\" \"commissure 1.2.3\"")) << page;
  for (const char* part : {".SS \"up\"", ".SS \"models rm\"", "\\-\\-kv\\-dtype", "bf16|int8", "  commissure up"})
    EXPECT_NE(page.find(part), std::string::npos) << part << "\n" << page;
  EXPECT_EQ(page.find("secret"), std::string::npos);
  EXPECT_EQ(page.find("supervise"), std::string::npos);
}

}  // namespace
}  // namespace commissure::testing
