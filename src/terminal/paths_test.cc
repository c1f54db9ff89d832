#include "terminal/paths.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "support/temp_folder.h"

namespace commissure {
namespace {

/// Variables that are as they were after the test; all of them unset at its beginning.
class Paths : public ::testing::Test {
 protected:
  static constexpr std::array<const char*, 5> kNames = {"COMMISSURE_CACHE", "XDG_CACHE_HOME", "HOME",
                                                        "COMMISSURE_RUN_DIR", "XDG_RUNTIME_DIR"};
  Paths() {
    for (const char* name : kNames) {
      const char* value = std::getenv(name);
      before_.emplace_back(name, value == nullptr ? std::optional<std::string>() : value);
      unsetenv(name);
    }
  }
  ~Paths() override {
    for (const auto& [name, value] : before_) value ? setenv(name, value->c_str(), 1) : unsetenv(name);
  }

 private:
  std::vector<std::pair<const char*, std::optional<std::string>>> before_;
};

TEST_F(Paths, OfTheCacheFollowTheFirstVariableThatIsSet) {
  const std::string in_tmp = "/tmp/commissure-cache-" + std::to_string(getuid());
  EXPECT_EQ(cache_dir(), in_tmp);
  setenv("HOME", "/home/ada", 1);
  EXPECT_EQ(cache_dir(), "/home/ada/.cache/commissure");
  setenv("XDG_CACHE_HOME", "/x", 1);
  EXPECT_EQ(cache_dir(), "/x/commissure");
  setenv("COMMISSURE_CACHE", "/disk/models", 1);
  EXPECT_EQ(cache_dir(), "/disk/models");
  setenv("COMMISSURE_CACHE", "", 1);
  EXPECT_EQ(cache_dir(), "/x/commissure") << "an empty one is as if unset";
}

TEST_F(Paths, OfWhatRunsAreInAFolderThatCanBeWritten) {
  EXPECT_EQ(run_dir(), "/tmp/commissure-" + std::to_string(getuid()));
  setenv("XDG_RUNTIME_DIR", "/no/such/folder", 1);
  EXPECT_EQ(run_dir(), "/tmp/commissure-" + std::to_string(getuid())) << "as after `su`";
  const testing::TempFolder folder;
  setenv("XDG_RUNTIME_DIR", folder.path().c_str(), 1);
  EXPECT_EQ(run_dir(), folder.path("commissure"));
  setenv("COMMISSURE_RUN_DIR", "/r", 1);
  EXPECT_EQ(run_dir(), "/r");
}

TEST_F(Paths, OfACacheOfOnesOwnAreNotChecked) {
  setenv("COMMISSURE_CACHE", "/no/such/folder", 1);
  EXPECT_TRUE(check_cache_dir()) << "the person named it";
}

TEST_F(Paths, OfTheProgramAreItsOwn) { EXPECT_EQ(own_executable().filename(), "terminal_test"); }

}  // namespace
}  // namespace commissure
