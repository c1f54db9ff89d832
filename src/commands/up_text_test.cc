#include "commands/up_text.h"

#include <gtest/gtest.h>

namespace commissure {
namespace {

LocalChainOptions example() {
  return {.name = "local",
          .model = "/m.gguf",
          .model_name = "m",
          .cuts = {10, 20},
          .n_layers = 30,
          .port = 8080,
          .stage_flags = {"--precision", "exact", "--no-prefix-caching"}};
}

TEST(CheckSame, IsContentWithTheSameSettings) { EXPECT_TRUE(check_same(example(), example())); }

TEST(CheckSame, NamesEverySettingThatDiffersAndNoOther) {
  LocalChainOptions other = example();
  other.port = 9000;
  other.cuts = {};
  other.stage_flags = {"--precision", "fast", "--max-model-len", "4096"};
  const Status same = check_same(example(), other);
  ASSERT_FALSE(same);
  const std::string& message = same.error().message();
  for (const char* words :
       {"--port: 8080 there, 9000 here", "--cuts: 10,20 there, one stage here", "--precision: exact there, fast here",
        "--max-model-len: not given there, 4096 here", "--no-prefix-caching: given there, not given here"})
    EXPECT_NE(message.find(words), std::string::npos) << words << " is not in: " << message;
  EXPECT_EQ(message.find("--model:"), std::string::npos) << message;
  EXPECT_EQ(message.find("--host"), std::string::npos) << message;
}

}  // namespace
}  // namespace commissure
