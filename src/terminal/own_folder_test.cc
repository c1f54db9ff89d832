#include "terminal/own_folder.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

namespace commissure {
namespace {

namespace fs = std::filesystem;

/// A folder that is gone after the test.
class OwnFolder : public ::testing::Test {
 protected:
  OwnFolder() {
    std::string name = (fs::temp_directory_path() / "own_folder_XXXXXX").string();
    root_ = mkdtemp(name.data());
  }
  ~OwnFolder() override {
    std::error_code ignored;
    fs::remove_all(root_, ignored);
  }
  fs::path root_;
};

TEST_F(OwnFolder, IsMadeForNobodyElse) {
  ASSERT_TRUE(make_own_folder(root_ / "above" / "run"));
  struct stat made{};
  ASSERT_EQ(stat((root_ / "above" / "run").c_str(), &made), 0);
  EXPECT_EQ(made.st_mode & 07777, 0700u);
  EXPECT_TRUE(make_own_folder(root_ / "above" / "run")) << "one that is there already";
}

TEST_F(OwnFolder, ThatIsMissingIsFine) { EXPECT_TRUE(check_own_folder(root_ / "none")); }

TEST_F(OwnFolder, ThatOthersMayWriteIsRefused) {
  for (const mode_t mode : {0720, 0702, 0777, 01777}) {
    ASSERT_EQ(chmod(root_.c_str(), mode), 0);
    const Status checked = check_own_folder(root_);
    ASSERT_FALSE(checked);
    EXPECT_NE(checked.error().message().find("may be written by others"), std::string::npos);
  }
  ASSERT_EQ(chmod(root_.c_str(), 0755), 0);
  EXPECT_TRUE(check_own_folder(root_));
}

TEST_F(OwnFolder, OfAnotherUserIsRefused) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can give a folder away";
  ASSERT_EQ(chown(root_.c_str(), 4001, 4001), 0);
  const Status checked = make_own_folder(root_);
  ASSERT_FALSE(checked);
  EXPECT_NE(checked.error().message().find("another user (4001)"), std::string::npos);
}

TEST_F(OwnFolder, ThatIsALinkIsRefused) {
  fs::create_directory_symlink(root_, root_ / "link");
  EXPECT_FALSE(check_own_folder(root_ / "link"));
  EXPECT_FALSE(make_own_folder(root_ / "link"));
}

}  // namespace
}  // namespace commissure
