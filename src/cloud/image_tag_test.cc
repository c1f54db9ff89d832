#include "cloud/image_tag.h"

#include <gtest/gtest.h>

#include "support/temp_folder.h"

namespace commissure {
namespace {

/// A source tree with two files.
class ImageTag : public ::testing::Test {
 protected:
  ImageTag() {
    for (const char* name : {"src", "deploy", "docs"}) std::filesystem::create_directory(folder_.path(name));
    folder_.write("src/main.cc", "int main() {}");
    folder_.write("deploy/Dockerfile", "FROM debian");
  }
  std::string digest() { return source_digest(folder_.path()).value(); }
  const testing::TempFolder folder_;
};

TEST_F(ImageTag, ChangesWithEveryFileThatTheImageIsBuiltFrom) {
  const std::string before = digest();
  EXPECT_EQ(before.size(), 10u);
  EXPECT_EQ(digest(), before);
  folder_.write("src/main.cc", "int main() { }");
  const std::string changed = digest();
  EXPECT_NE(changed, before);
  folder_.write("src/more.cc", "");
  const std::string added = digest();
  EXPECT_NE(added, changed) << "an empty file is one more";
  std::filesystem::rename(folder_.path("src/more.cc"), folder_.path("src/other.cc"));
  EXPECT_NE(digest(), added) << "a name counts";
  std::filesystem::remove(folder_.path("src/other.cc"));
  EXPECT_EQ(digest(), changed);
}

TEST_F(ImageTag, StaysWhereNothingOfTheImageChanged) {
  const std::string before = digest();
  folder_.write("docs/page.md", "text");
  folder_.write("README.md", "text");
  EXPECT_EQ(digest(), before);
}

TEST(WeightsDigest, ChangesWithWhatWouldBeBaked) {
  CloudWeights weights;
  weights.repository = "acme/toy";
  const std::string before = weights_digest(weights);
  EXPECT_EQ(weights_digest(weights), before);
  for (const auto change :
       {+[](CloudWeights& w) { w.revision = "v2"; }, +[](CloudWeights& w) { w.repository = "acme/x"; },
        +[](CloudWeights& w) { w.prefix = "models/toy"; },
        +[](CloudWeights& w) { w.files.push_back({.path = "/m", .name = "m", .crc32c = "A"}); }}) {
    CloudWeights other = weights;
    change(other);
    EXPECT_NE(weights_digest(other), before);
  }
  CloudWeights moved = weights;
  moved.files = {{.path = "/a/m.gguf", .name = "m.gguf", .n_bytes = 1, .crc32c = "A"}};
  const std::string at_a = weights_digest(moved);
  moved.files[0].path = "/b/m.gguf";
  EXPECT_EQ(weights_digest(moved), at_a) << "where this machine keeps them is not theirs";
}

}  // namespace
}  // namespace commissure
