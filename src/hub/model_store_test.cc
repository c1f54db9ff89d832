#include "hub/model_store.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "hub/catalogue.h"
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

TEST(ModelStore, AKnownModelsFileIsKnownWhereverItLies) {
  const KnownModel& known = known_models().front();
  const auto url = resolve_model("gs://bucket/models/" + std::string(known.file), false);
  ASSERT_TRUE(url);
  EXPECT_EQ(url->defaults.source, "catalogue");
  EXPECT_EQ(url->defaults.temperature, known.temperature);
  ASSERT_TRUE(url->defaults.dry);
  EXPECT_EQ(url->defaults.dry->multiplier, known.dry_multiplier);
  EXPECT_EQ(resolve_model("https://x.example/" + std::string(known.file) + "?key=1", false)->defaults.source,
            "catalogue");
  EXPECT_EQ(resolve_model("gs://bucket/models/other.gguf", false)->defaults.source, "");

  const TempFolder folder;
  folder.write(std::string(known.file), "another file of this name");
  const std::string path = folder.path(std::string(known.file));
  EXPECT_EQ(resolve_model(path, false)->defaults.source, "") << "its size is another one";
  fs::resize_file(path, known.n_bytes);  // sparse
  const auto copy = resolve_model(path, false);
  EXPECT_EQ(copy->defaults.source, "catalogue");
  EXPECT_EQ(copy->precision, "") << "a file is run like any other";
  EXPECT_EQ(copy->location, path);
}

TEST(ModelStore, WhatIsNotThereIsNamedWithWhatIs) {
  const auto model = resolve_model("no-such-model", false);
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code(), Code::kNotFound);
  EXPECT_NE(model.error().message().find("smollm2-135m"), std::string::npos) << model.error().message();
}

}  // namespace
}  // namespace commissure::testing
