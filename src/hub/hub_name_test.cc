#include "hub/hub_name.h"

#include <gtest/gtest.h>

namespace commissure {

namespace {

TEST(HubName, AFilesNameTellsItsQuantisation) {
  EXPECT_EQ(quantisation_of("gemma-3-27b-it-Q4_K_M.gguf"), "Q4_K_M");
  EXPECT_EQ(quantisation_of("SmolLM2-135M-Instruct.Q4_1.gguf"), "Q4_1");
  EXPECT_EQ(quantisation_of("gemma-3-270m-q4_k_m.gguf"), "Q4_K_M");
  EXPECT_EQ(quantisation_of("BF16/gemma-3-27b-it-BF16-00001-of-00002.gguf"), "BF16");
  EXPECT_EQ(quantisation_of("x-UD-IQ2_XXS.gguf"), "UD-IQ2_XXS");
  for (const char* other : {"mmproj-F16.gguf", "model.gguf", "x-Q8_0.safetensors", "Q8_0/notes.txt"}) {
    EXPECT_EQ(quantisation_of(other), "") << other;
  }
  EXPECT_EQ(quantisation_of("x-Q4_F16.gguf"), "Q4_F16");
  EXPECT_EQ(quantisation_of("x_F16.gguf"), "F16");
  // However long the hub makes a name.
  const std::string digits(1'000'000, '0');
  EXPECT_EQ(quantisation_of("x-Q" + digits + ".gguf"), "Q" + digits);
  EXPECT_EQ(parse_hub_name("a/b:q8_0").quantisation, "Q8_0");
  EXPECT_EQ(parse_hub_name("a/b").repo, "a/b");
}

TEST(HubName, OneQuantisationIsOneFileOrAllItsParts) {
  const std::vector<std::string> paths = {"README.md", "x-Q8_0-00002-of-00002.gguf", "x-Q8_0-00001-of-00002.gguf",
                                          "x-Q4_K_M.gguf", "mmproj-x-F16.gguf"};
  EXPECT_EQ(*choose_quantisation("a/b", paths, "Q4_K_M"), std::vector<std::string>{"x-Q4_K_M.gguf"});
  EXPECT_EQ(*choose_quantisation("a/b", paths, "Q8_0"),
            (std::vector<std::string>{"x-Q8_0-00001-of-00002.gguf", "x-Q8_0-00002-of-00002.gguf"}));
  EXPECT_EQ(choose_quantisation("a/b", paths, "Q5_0").error().message(),
            "a/b holds no Q5_0; choose one with hf:a/b:QUANTISATION; there are: Q4_K_M, Q8_0");
  EXPECT_NE(choose_quantisation("a/b", paths, "").error().message().find("holds GGUF files"), std::string::npos);
  EXPECT_FALSE(choose_quantisation("a/b", {"model.gguf"}, "Q8_0"));
  EXPECT_FALSE(choose_quantisation("a/b", {"x-Q8_0.gguf", "y-Q8_0.gguf"}, "Q8_0")) << "which of them?";
}

TEST(HubName, NamesAFileToo) {
  const std::vector<std::string> paths = {"README.md", "a/tiny.gguf", "big-Q8_0.gguf"};
  const auto chosen = choose_quantisation("o/r", paths, parse_hub_name("o/r:Tiny.gguf").quantisation);
  ASSERT_TRUE(chosen) << chosen.error().message();
  EXPECT_EQ(*chosen, std::vector<std::string>{"a/tiny.gguf"});
  EXPECT_FALSE(choose_quantisation("o/r", paths, "NONE.GGUF"));
}

}  // namespace

}  // namespace commissure
