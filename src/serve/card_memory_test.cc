#include "serve/card_memory.h"

#include <gtest/gtest.h>

namespace commissure {
namespace {

constexpr std::uint64_t kGB = 1'000'000'000;

TEST(CardMemory, AStageFitsWhereItsPartsDoAndTheLogOfRowsIsTheHosts) {
  const StageEstimate stage{
      .plan = {}, .weight_bytes = 7 * kGB, .kv_bytes = 2 * kGB, .row_log_bytes = 50 * kGB, .scratch_bytes = kGB};
  const CardUse use{.weight_bytes = 8 * kGB, .load_bytes = 9 * kGB, .product_bytes = kGB};
  const std::uint64_t needed = 12 * kGB + kCardOwnBytes;
  EXPECT_TRUE(check_card_memory(stage, use, needed));
  const Status refused = check_card_memory(stage, use, needed - 1);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kResourceExhausted);
  for (const char* part : {"weights 8.0 GB, keys", "keys and values 2.0 GB", "--device cpu"}) {
    EXPECT_NE(refused.error().message().find(part), std::string::npos) << refused.error().message();
  }
}

/// A large head beside few keys and values.
TEST(CardMemory, AStageThatDoesNotFitWhileItIsLoadedDoesNotFit) {
  const StageEstimate stage{.plan = {}, .weight_bytes = 4 * kGB, .kv_bytes = kGB / 10, .scratch_bytes = kGB / 10};
  const CardUse use{.weight_bytes = 4 * kGB, .load_bytes = 6 * kGB, .product_bytes = kGB / 10};
  EXPECT_TRUE(check_card_memory(stage, use, 6 * kGB + kCardOwnBytes));
  const Status refused = check_card_memory(stage, use, 6 * kGB + kCardOwnBytes - 1);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message().find("weights 4.0 GB (6.0 GB while they are packed)"), std::string::npos)
      << refused.error().message();
}

}  // namespace
}  // namespace commissure
