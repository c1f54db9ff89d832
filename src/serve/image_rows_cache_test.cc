#include "serve/image_rows_cache.h"

#include <gtest/gtest.h>

namespace commissure::testing {
namespace {

ImageRowsCache::Rows rows(const std::string& key, std::size_t n_bytes) {
  return std::make_shared<const ImageRows>(ImageRows{.key = key, .values = std::vector<bf16>(n_bytes / sizeof(bf16))});
}

constexpr std::size_t kMiB = std::size_t{1} << 20;

TEST(ImageRowsCache, FindsByFileAndByPixels) {
  ImageRowsCache cache(4 * kMiB);
  cache.add("file", rows("pixels", kMiB));
  ASSERT_NE(cache.of_file("file"), nullptr);
  EXPECT_EQ(cache.of_file("file")->key, "pixels");
  EXPECT_EQ(cache.of_key("pixels"), cache.of_file("file"));
  EXPECT_EQ(cache.of_file("pixels"), nullptr);
  EXPECT_EQ(cache.of_key("file"), nullptr);
}

TEST(ImageRowsCache, ForgetsWhatWasAskedForLongestAgo) {
  ImageRowsCache cache(3 * kMiB);
  for (const char* name : {"a", "b", "c"}) cache.add(name, rows(name, kMiB));
  EXPECT_EQ(cache.n_bytes(), 3 * kMiB);
  EXPECT_NE(cache.of_file("a"), nullptr);
  cache.add("d", rows("d", kMiB));
  EXPECT_EQ(cache.of_file("b"), nullptr);
  for (const char* name : {"a", "c", "d"}) EXPECT_NE(cache.of_file(name), nullptr) << name;
  cache.add("two", rows("two", 2 * kMiB));
  EXPECT_EQ(cache.n_bytes(), 3 * kMiB);
  EXPECT_NE(cache.of_file("d"), nullptr);
}

TEST(ImageRowsCache, KeepsNothingThatIsLargerThanItself) {
  ImageRowsCache cache(kMiB);
  cache.add("a", rows("a", kMiB));
  cache.add("large", rows("large", 2 * kMiB));
  EXPECT_EQ(cache.of_file("large"), nullptr);
  EXPECT_NE(cache.of_file("a"), nullptr);
}

TEST(ImageRowsCache, HoldsAtMostAThousandSmallOnes) {
  ImageRowsCache cache(64 * kMiB);
  for (int i = 0; i < 2000; ++i) cache.add(std::to_string(i), rows(std::to_string(i), 2));
  EXPECT_EQ(cache.of_file("975"), nullptr);
  EXPECT_NE(cache.of_file("976"), nullptr);
}

}  // namespace
}  // namespace commissure::testing
