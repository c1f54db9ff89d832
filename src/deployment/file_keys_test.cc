#include "deployment/file_keys.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "support/file_key_text.h"

namespace commissure {
namespace {

const std::filesystem::path kSource = COMMISSURE_SOURCE_DIR;

std::string contents(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Compares a file that follows from the table; `make keys` writes it instead.
void expect_written(const std::string& name, const std::string& text) {
  if (std::getenv("COMMISSURE_WRITE_KEYS") != nullptr) std::ofstream(kSource / name) << text;
  EXPECT_TRUE(contents(kSource / name) == text) << name << " is not as the table of keys says; run: make keys";
}

TEST(FileKeys, TheSchemaFollowsFromTheTable) { expect_written("docs/commissure.schema.json", schema_of_keys()); }

TEST(FileKeys, TheDocumentationFollowsFromTheTable) { expect_written("docs/commissure-yaml.md", page_of_keys()); }

/// A file in which the key, in its map, has its example.
std::string with_example(const FileKey& key, std::span<const FileKey> keys) {
  const std::string line = std::string(key.name) + ": " + key.example;
  if (keys.data() == stage_keys().data()) return "model: hf:acme/toy\nstages: [{" + line + "}]\n";
  if (keys.data() == network_keys().data()) return "model: hf:acme/toy\nnetwork: {" + line + "}\n";
  const std::string name = key.name;
  return std::string(name == "model" ? "" : "model: hf:acme/toy\n") + (name == "streams" ? "context: 2048\n" : "") +
         line + "\n";
}

/// Every key is read into its field, and its example is another value than that of a file without it.
TEST(FileKeys, AnExampleIsReadAndChangesItsField) {
  for (const std::span<const FileKey> keys : {deployment_keys(), stage_keys(), network_keys()}) {
    for (const FileKey& key : keys) {
      const auto file = parse_cloud_file(with_example(key, keys), "", {});
      ASSERT_TRUE(file.has_value()) << key.name << ": " << file.error().message();
      if (std::holds_alternative<KeySetter>(key.field) || std::holds_alternative<KeyPart>(key.field)) continue;
      EXPECT_NE(key_text(key, *file, file->spec.stages.front()), key_text(key, CloudFile(), CloudStage())) << key.name;
    }
  }
}

/// What a row tells the stages' program, the program is told, and it listens for that.
TEST(FileKeys, AStageIsToldWhatItsProgramReads) {
  const std::string settings = contents(kSource / "src/serve/stage_settings.cc");
  const std::string flags = contents(kSource / "src/commands/stage.cc");
  int n_told = 0;
  for (const std::span<const FileKey> keys : {deployment_keys(), stage_keys()}) {
    for (const FileKey& key : keys) {
      const auto file = parse_cloud_file(with_example(key, keys), "", {});
      const CloudStage& stage = file->spec.stages.front();
      const std::string value = key_text(key, *file, stage);
      if (*key.variable != '\0') {
        ++n_told;
        EXPECT_EQ(stage.environment, (std::vector<std::pair<std::string, std::string>>{{key.variable, value}}));
        EXPECT_NE(settings.find('"' + std::string(key.variable) + '"'), std::string::npos) << key.variable;
      }
      if (*key.flag != '\0') {
        ++n_told;
        EXPECT_EQ(file->spec.stage_arguments, (std::vector<std::string>{key.flag, value}));
        EXPECT_NE(flags.find('"' + std::string(key.flag)), std::string::npos) << key.flag;
      }
    }
  }
  EXPECT_GE(n_told, 2);
}

TEST(FileKeys, AStageIsNotToldOfADefault) {
  for (const char* text : {"model: m\n", "model: m\nkv_dtype: auto\n", "model: m\nkv_dtype: bf16\n"}) {
    const auto file = parse_cloud_file(text, "", {});
    ASSERT_TRUE(file.has_value()) << text;
    EXPECT_TRUE(file->spec.stages.front().environment.empty()) << text;
    EXPECT_TRUE(file->spec.stage_arguments.empty()) << text;
  }
}

TEST(FileKeys, ALineOfTheFileSaysWhatItsKeyIs) {
  EXPECT_EQ(file_line(deployment_keys(), "context", "4096"), "context: 4096 # longest sequence in tokens\n");
}

}  // namespace
}  // namespace commissure
