#include "terminal/file_checks.h"

#include <gtest/gtest.h>

#include "support/temp_folder.h"

namespace commissure {
namespace {

constexpr const char* kSumOfAbc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

TEST(CheckFile, KnowsAFileBySizeAndSum) {
  const testing::TempFolder folder;
  const std::string file = folder.write("m.gguf", "abc");
  EXPECT_TRUE(check_file(file, 3, kSumOfAbc));
  EXPECT_TRUE(check_file(file, 3, "")) << "a sum that is not known is not checked";
  EXPECT_EQ(check_file(file, 4, kSumOfAbc).error().message(), "m.gguf has 3 bytes, expected 4; pull it again");
  const Status other = check_file(file, 3, std::string(64, '0'));
  EXPECT_EQ(other.error().code(), Code::kDataLoss);
  EXPECT_EQ(other.error().message(),
            std::string("m.gguf has SHA-256 ") + kSumOfAbc + ", expected " + std::string(64, '0') + "; pull it again");
  EXPECT_EQ(check_file(folder.path("none"), 3, "").error().code(), Code::kNotFound);
}

TEST(CheckFreeSpace, NamesTheFolderAndBothSizes) {
  const testing::TempFolder folder;
  EXPECT_TRUE(check_free_space(folder.path("a/b"), 1)) << "a folder that is not there yet is made";
  EXPECT_TRUE(std::filesystem::is_directory(folder.path("a/b")));
  const Status full = check_free_space(folder.path(), std::uint64_t{1} << 62);
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code(), Code::kResourceExhausted);
  EXPECT_TRUE(full.error().message().starts_with("not enough space in " + folder.path() + ": 4611686.0 TB needed, "))
      << full.error().message();
  EXPECT_TRUE(full.error().message().ends_with("make room or set COMMISSURE_CACHE to another disk"));
}

TEST(CheckFreeSpace, SaysWhyAFolderCannotBeMade) {
  const testing::TempFolder folder;
  const std::string file = folder.write("file", "");
  const Status refused = check_free_space(file + "/below", 1);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message(), "cannot create " + file + "/below: Not a directory");
}

TEST(RenameFile, MovesOverWhatIsThere) {
  const testing::TempFolder folder;
  const std::string from = folder.write("part", "new");
  folder.write("whole", "old and longer");
  EXPECT_TRUE(rename_file(from, folder.path("whole")));
  EXPECT_EQ(std::filesystem::file_size(folder.path("whole")), 3u);
  EXPECT_EQ(rename_file(from, folder.path("whole")).error().message(),
            "cannot rename " + from + " to " + folder.path("whole") + ": No such file or directory");
}

}  // namespace
}  // namespace commissure
