#include "core/sha256.h"

#include <gtest/gtest.h>

#include <string>

#include "support/temp_folder.h"

namespace commissure {
namespace {

// FIPS 180-4's example.
constexpr const char* kAbc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

TEST(Sha256, MatchesTheStandardInOnePieceAndInMany) {
  Sha256 whole, parts, empty;
  whole.update("abc");
  for (const char* part : {"a", "", "bc"}) parts.update(std::string_view(part));
  EXPECT_EQ(whole.finish(), kAbc);
  EXPECT_EQ(parts.finish(), kAbc);
  EXPECT_EQ(empty.finish(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(Sha256, HashesFiles) {
  const testing::TempFolder folder;
  EXPECT_EQ(sha256_of_file(folder.write("abc", "abc")).value(), kAbc);
  EXPECT_EQ(sha256_of_file(folder.path("absent")).error().code(), Code::kNotFound);
}

}  // namespace
}  // namespace commissure
