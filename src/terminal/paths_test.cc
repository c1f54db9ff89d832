#include "terminal/paths.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

#include "support/environment_guard.h"
#include "support/temp_folder.h"

namespace commissure {
namespace {

/// None of the variables is set at the beginning of a test.
class Paths : public ::testing::Test {
 protected:
  Paths() {
    for (const char* name : {"COMMISSURE_CACHE", "XDG_CACHE_HOME", "HOME", "COMMISSURE_RUN_DIR", "XDG_RUNTIME_DIR"})
      environment_.unset(name);
  }
  testing::EnvironmentGuard environment_;
};

TEST_F(Paths, OfTheCacheFollowTheFirstVariableThatIsSet) {
  const std::string in_tmp = "/tmp/commissure-cache-" + std::to_string(getuid());
  EXPECT_EQ(cache_dir(), in_tmp);
  environment_.set("HOME", "/home/ada");
  EXPECT_EQ(cache_dir(), "/home/ada/.cache/commissure");
  environment_.set("XDG_CACHE_HOME", "/x");
  EXPECT_EQ(cache_dir(), "/x/commissure");
  environment_.set("COMMISSURE_CACHE", "/disk/models");
  EXPECT_EQ(cache_dir(), "/disk/models");
  environment_.set("COMMISSURE_CACHE", "");
  EXPECT_EQ(cache_dir(), "/x/commissure") << "an empty one is as if unset";
}

TEST_F(Paths, OfWhatRunsAreInAFolderThatCanBeWritten) {
  EXPECT_EQ(run_dir(), "/tmp/commissure-" + std::to_string(getuid()));
  environment_.set("XDG_RUNTIME_DIR", "/no/such/folder");
  EXPECT_EQ(run_dir(), "/tmp/commissure-" + std::to_string(getuid())) << "as after `su`";
  const testing::TempFolder folder;
  environment_.set("XDG_RUNTIME_DIR", folder.path());
  EXPECT_EQ(run_dir(), folder.path("commissure"));
  environment_.set("COMMISSURE_RUN_DIR", "/r");
  EXPECT_EQ(run_dir(), "/r");
}

TEST_F(Paths, OfACacheOfOnesOwnAreNotChecked) {
  environment_.set("COMMISSURE_CACHE", "/no/such/folder");
  EXPECT_TRUE(check_cache_dir()) << "the person named it";
}

TEST_F(Paths, OfTheProgramAreItsOwn) { EXPECT_EQ(own_executable().filename(), "terminal_test"); }

}  // namespace
}  // namespace commissure
