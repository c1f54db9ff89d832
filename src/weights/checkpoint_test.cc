#include "weights/checkpoint.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>

namespace commissure {
namespace {

constexpr const char* kSmolLm2 = "SmolLM2-135M-Instruct.Q4_1.gguf";
constexpr const char* kGemma3 = "gemma-3-270m-q4_k_m.gguf";

/// The path of a real model, or "" when this machine has none.
std::string real_model(const char* file) {
  const char* folder = std::getenv("COMMISSURE_TEST_MODELS");
  const std::string path = folder == nullptr ? "" : std::string(folder) + "/" + file;
  return std::filesystem::exists(path) ? path : "";
}

TEST(Checkpoint, OpensTheRealModels) {
  for (const char* file : {kSmolLm2, kGemma3}) {
    const std::string path = real_model(file);
    if (path.empty()) GTEST_SKIP() << "set COMMISSURE_TEST_MODELS to a folder with " << file;
    for (const ReadMode mode : {ReadMode::kMap, ReadMode::kRead}) {
      const auto checkpoint = Checkpoint::open(path, mode);
      ASSERT_TRUE(checkpoint.has_value()) << checkpoint.error().message();
      EXPECT_FALSE((*checkpoint)->tensors().empty());
      EXPECT_NE((*checkpoint)->find("token_embd.weight"), nullptr);
      EXPECT_EQ((*checkpoint)->bytes_read(), (*checkpoint)->header_bytes());
    }
  }
}

}  // namespace
}  // namespace commissure
