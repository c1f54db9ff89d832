#include "kernels/kv_type.h"

#include <gtest/gtest.h>

namespace commissure {
namespace {

TEST(KvType, HasNamesThatAreUnderstood) {
  for (const KvType type : {KvType::kBF16, KvType::kInt8}) EXPECT_EQ(parse_kv_type(kv_type_name(type)).value(), type);
  EXPECT_EQ(parse_kv_type("auto").value(), KvType::kBF16);
  const auto unknown = parse_kv_type("fp8");
  ASSERT_FALSE(unknown.has_value());
  EXPECT_NE(unknown.error().message().find("auto, bf16 or int8"), std::string::npos) << unknown.error().message();
}

TEST(KvType, CountsKeysValuesAndScales) {
  EXPECT_EQ(kv_position_bytes(KvType::kBF16, 3, 64), 2u * 3 * 64 * 2);
  EXPECT_EQ(kv_position_bytes(KvType::kInt8, 3, 64), 2u * 3 * (64 + 4));
  EXPECT_EQ(kv_position_bytes(KvType::kBF16, 3, 100), 2u * 3 * 112 * 2);
  EXPECT_EQ(kv_position_bytes(KvType::kInt8, 3, 2), 2u * 3 * (16 + 4));
}

}  // namespace
}  // namespace commissure
