#include "page/page_files.h"

#include <gtest/gtest.h>

#include <array>

#include "support/packed_page.h"

namespace commissure::testing {
namespace {

TEST(PageFiles, AreFoundByTheirWholePath) {
  const PackedPage page({{"/", "chat"}, {"/_next/a.js", "code"}, {"/dashboard", "numbers"}});
  ASSERT_NE(find_page_file(page.files(), "/dashboard"), nullptr);
  EXPECT_EQ(find_page_file(page.files(), "/dashboard")->path, "/dashboard");
  for (const char* path : {"", "/dash", "/dashboardx", "/_next", "/_next/", "/_next/../dashboard", "/z"})
    EXPECT_EQ(find_page_file(page.files(), path), nullptr) << path;
  EXPECT_EQ(find_page_file({}, "/"), nullptr);
}

TEST(PageFiles, UnpackToWhatWasPackedOrSayThatTheyAreBroken) {
  const std::string text(100'000, 'x');
  const PackedPage page({{"/", text}, {"/empty", ""}});
  EXPECT_EQ(*unpacked(page.files()[0]), text);
  EXPECT_EQ(*unpacked(page.files()[1]), "");

  PageFile cut = page.files()[0];
  cut.end -= 4;
  EXPECT_EQ(unpacked(cut).error().code(), Code::kInternal);
  PageFile longer = page.files()[0];
  longer.n_bytes -= 1;
  EXPECT_EQ(unpacked(longer).error().code(), Code::kInternal) << "no more room is given than was said";
}

TEST(PageFiles, OfThisProgramAreInOrderAndWhole) {
  std::string_view before;
  for (const PageFile& file : page_files()) {
    EXPECT_LT(before, file.path);
    before = file.path;
    const auto plain = unpacked(file);
    EXPECT_TRUE(plain.has_value()) << file.path;
    EXPECT_TRUE(file.etag.starts_with('"') && file.etag.ends_with('"')) << file.path;
  }
  if (!page_files().empty()) {
    const PageFile* const chat = find_page_file(page_files(), "/");
    ASSERT_NE(chat, nullptr);
    EXPECT_EQ(chat->content_type, "text/html; charset=utf-8");
    EXPECT_NE(unpacked(*chat)->find("<title"), std::string::npos);
  }
}

}  // namespace
}  // namespace commissure::testing
