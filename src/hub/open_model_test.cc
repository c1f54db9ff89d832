#include "hub/open_model.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "hub/model_header.h"
#include "hub/model_pack.h"
#include "hub/model_store.h"
#include "support/temp_folder.h"
#include "weights/model_writer.h"

namespace commissure::testing {
namespace {

/// Another working folder while it lives.
class WorkingFolder {
 public:
  explicit WorkingFolder(const std::string& path) { std::filesystem::current_path(path); }
  ~WorkingFolder() { std::filesystem::current_path(before_); }
  WorkingFolder(const WorkingFolder&) = delete;
  WorkingFolder& operator=(const WorkingFolder&) = delete;

 private:
  const std::filesystem::path before_ = std::filesystem::current_path();
};

TEST(OpenModel, AMadeUpModelIsFoundByItsName) {
  const auto model = resolve_model("synth:Gemma3-270M@0-3?7", false);
  ASSERT_TRUE(model.has_value()) << model.error().message();
  EXPECT_EQ(model->name, "synth-gemma-3-270m-layers-0-3-seed-7");
  EXPECT_EQ(model->location, "synth:gemma-3-270m@0-3?seed=7");
  EXPECT_TRUE(is_made_up(model->location));
  const auto opened = open_model(model->location, ReadMode::kMap, Vocabulary::kSkip);
  ASSERT_TRUE(opened.has_value()) << opened.error().message();
  EXPECT_EQ((*opened)->location(), model->location);
  EXPECT_TRUE(open_header("synth:gemma-3-27b", "", false).has_value());
  EXPECT_EQ(resolve_model("synth:gemma-3-28b", false).error().code(), Code::kNotFound);
  EXPECT_EQ(open_model("synth:tiny@7").error().code(), Code::kInvalidArgument);
}

TEST(OpenModel, ItsTokenizerIsThatOfAModelWhereverStagesRun) {
  const TempFolder folder;
  const std::string donor = folder.path("donor");
  ASSERT_TRUE(write_model(**open_model("synth:tiny"), donor, {}).has_value());
  const std::string relative = std::filesystem::relative(donor).string();
  const auto model = resolve_model("synth:gemma-3-270m?scale-down=32&tokenizer=" + relative, false);
  ASSERT_TRUE(model.has_value()) << model.error().message();
  EXPECT_TRUE(model->location.ends_with("tokenizer=" + donor)) << model->location;
  const auto opened = open_model(model->location);
  ASSERT_TRUE(opened.has_value()) << opened.error().message();
  EXPECT_EQ(*(*opened)->read_side_file("tokenizer.json"), *(*open_model(donor))->read_side_file("tokenizer.json"));
  const std::string odd = folder.path("a&seed=7");
  std::filesystem::create_directory(odd);
  std::filesystem::rename(donor, odd + "/donor");
  std::filesystem::create_symlink(odd, folder.path("plain"));
  EXPECT_TRUE(resolve_model("synth:tiny?tokenizer=" + folder.path("plain/donor"), false).has_value());
  const WorkingFolder inside(odd);
  const auto refused = resolve_model("synth:tiny?tokenizer=donor", false);
  ASSERT_FALSE(refused.has_value()) << refused->location;
  EXPECT_NE(refused.error().message().find("holds \"&\""), std::string::npos) << refused.error().message();
  EXPECT_EQ(resolve_model("synth:tiny?tokenizer=" + folder.path("none"), false).error().code(), Code::kNotFound);
}

TEST(OpenModel, WhatLiesNowhereIsNotPacked) {
  const auto packed = pack_model(*resolve_model("synth:tiny", false));
  ASSERT_FALSE(packed.has_value());
  EXPECT_NE(packed.error().message().find("write it first"), std::string::npos) << packed.error().message();
}

}  // namespace
}  // namespace commissure::testing
