#include "hub/hub_answers.h"

#include <gtest/gtest.h>

namespace commissure {
namespace {

Json one_file(const std::string& path) { return Json::array({{{"path", path}, {"type", "file"}, {"size", 5}}}); }

TEST(HubAnswers, ListsFilesAndNoFolders) {
  const Json tree = *parse_json(R"([{"type": "directory", "path": "sub"}, 7, null, {"path": 3, "type": "file"},
      {"type": "file", "path": "sub/a.gguf", "size": 12, "lfs": {"oid": "ab", "size": 12}},
      {"type": "file", "path": "config.json", "size": -1, "lfs": 5}])");
  const auto files = read_file_list("o/r", tree);
  ASSERT_TRUE(files.has_value());
  ASSERT_EQ(files->size(), 2u);
  EXPECT_EQ(files->at(0).path, "sub/a.gguf");
  EXPECT_EQ(files->at(0).n_bytes, 12u);
  EXPECT_EQ(files->at(0).sha256, "ab");
  EXPECT_EQ(files->at(1).n_bytes, 0u);
  EXPECT_FALSE(read_file_list("o/r", Json::object()).has_value());
}

TEST(HubAnswers, RefusesPathsThatLeaveTheFolderOrAreNone) {
  for (const std::string path : {"../a", "/etc/passwd", "a/../../b", "a\\b", "a\nb", "", "a\x1b[2J"}) {
    const auto files = read_file_list("o/r", one_file(path));
    ASSERT_FALSE(files.has_value()) << path;
    EXPECT_EQ(files.error().code(), Code::kDataLoss);
  }
  EXPECT_EQ(read_file_list("o/r", one_file("a\x1b[2J")).error().message().find('\x1b'), std::string::npos);
  const auto files = read_file_list("o/r", one_file("../" + std::string(2'000'000, 'Q')));
  ASSERT_FALSE(files.has_value());
  EXPECT_LT(files.error().message().size(), 300u);
}

TEST(HubAnswers, AFileWhoseNameIsTooLongIsLeftOut) {
  Json tree = one_file("config.json");
  for (const std::string& path : {std::string(241, 'x'), "a/" + std::string(2'000'000, 'Q') + "/b"}) {
    tree.push_back(one_file(path).front());
  }
  std::string deep = "a";
  while (deep.size() <= 1024) deep += "/" + std::string(200, 'd');
  tree.push_back(one_file(deep).front());
  tree.push_back(one_file("model.safetensors").front());
  const auto files = read_file_list("o/r", tree);
  ASSERT_TRUE(files.has_value()) << "the others can be had";
  ASSERT_EQ(files->size(), 2u);
  EXPECT_EQ(files->front().path, "config.json");
  EXPECT_EQ(files->back().path, "model.safetensors");
}

TEST(HubAnswers, APathIsSafeNameByName) {
  for (const char* safe : {"a..gguf", "..a", "a/b..c/d", ".hidden", "a/..."}) EXPECT_TRUE(is_safe_path(safe)) << safe;
  for (const char* unsafe : {"a//b", "a/", "./a", "a/./b", "a/.."}) EXPECT_FALSE(is_safe_path(unsafe)) << unsafe;
  EXPECT_TRUE(is_safe_path("a/" + std::string(240, 'x')));
  EXPECT_FALSE(is_safe_path("a/" + std::string(241, 'x'))) << "no file system takes the name of its download";
}

TEST(HubAnswers, TakesACommitThatIsOneWord) {
  EXPECT_EQ(read_commit("o/r", *parse_json(R"({"sha": "0123abc"})")).value(), "0123abc");
  for (const char* info : {R"({"sha": "a/../../b"})", R"({"sha": "a?x=1"})", R"({"sha": ""})", R"({"sha": 1})", "[]"}) {
    EXPECT_FALSE(read_commit("o/r", *parse_json(info)).has_value()) << info;
  }
}

}  // namespace
}  // namespace commissure
