#include "serve/card_memory.h"

#include <gtest/gtest.h>

namespace commissure {
namespace {

constexpr std::uint64_t kGB = 1'000'000'000;

TEST(CardMemory, AStageFitsWhereItsPartsDoAndTheLogOfRowsIsTheHosts) {
  const StageEstimate stage{
      .plan = {}, .weight_bytes = 8 * kGB, .kv_bytes = 2 * kGB, .row_log_bytes = 50 * kGB, .scratch_bytes = kGB};
  const std::uint64_t needed = 11 * kGB + kCardOwnBytes;
  EXPECT_TRUE(check_card_memory(stage, needed));
  const Status refused = check_card_memory(stage, needed - 1);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kResourceExhausted);
  for (const char* part : {"weights 8.0 GB", "keys and values 2.0 GB", "--device cpu"}) {
    EXPECT_NE(refused.error().message().find(part), std::string::npos) << refused.error().message();
  }
}

}  // namespace
}  // namespace commissure
