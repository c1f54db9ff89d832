#include "hub/model_store.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "support/temp_folder.h"

namespace commissure::testing {
namespace {

namespace fs = std::filesystem;

TEST(ModelStore, ALinkKeepsItsOwnNameAndNeighbours) {
  const TempFolder folder;
  const std::string blob = folder.write("00cafe", "weights");
  fs::create_directory(folder.path("snapshot"));
  fs::create_symlink(blob, folder.path("snapshot/plain.gguf"));
  const auto model = resolve_model(folder.path("snapshot/plain.gguf"), false);
  ASSERT_TRUE(model) << model.error().message();
  EXPECT_EQ(model->name, "plain");
  EXPECT_EQ(fs::path(model->location).filename(), "plain.gguf");
}

TEST(ModelStore, AFolderIsNamedWithAndWithoutASlash) {
  const TempFolder folder;
  fs::create_directory(folder.path("model"));
  for (const char* name : {"model", "model/", "model/.", "./model"}) {
    const auto model = resolve_model(folder.path(name), false);
    ASSERT_TRUE(model) << name << ": " << model.error().message();
    EXPECT_EQ(model->name, "model") << name;
    EXPECT_EQ(model->location, folder.path("model")) << name;
  }
}

TEST(ModelStore, APathBecomesAbsolute) {
  const TempFolder folder;
  folder.write("a.gguf", "weights");
  const fs::path relative = fs::relative(folder.path("a.gguf"));
  EXPECT_EQ(resolve_model(relative.string(), false)->location, folder.path("a.gguf"));
}

TEST(ModelStore, WhatIsNotThereIsNamedWithWhatIs) {
  const auto model = resolve_model("no-such-model", false);
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code(), Code::kNotFound);
  EXPECT_NE(model.error().message().find("smollm2-135m"), std::string::npos) << model.error().message();
}

}  // namespace
}  // namespace commissure::testing
