#include "weights/quantisation.h"

#include <gtest/gtest.h>

namespace commissure {
namespace {

TEST(Quantisation, NamesComeBack) {
  for (const char* name : {"none", "int8", "nf4", "int8+head", "nf4+head"}) {
    const auto wish = parse_quant(name);
    ASSERT_TRUE(wish.has_value()) << name;
    EXPECT_EQ(quant_name(*wish), name);
  }
}

TEST(Quantisation, OthersAreRefusedWithTheListOfThem) {
  for (const char* name : {"int3", "INT8", "none+head", "int8 ", "nf4+", "int8+heads"}) {
    const auto wish = parse_quant(name);
    ASSERT_FALSE(wish.has_value()) << name;
    EXPECT_NE(wish.error().message().find("none, int8 or nf4"), std::string::npos) << wish.error().message();
  }
}

TEST(Quantisation, IsNamedOnceForAllStagesOrOnceForEach) {
  const QuantWish int8 = {.type = Quantisation::kInt8}, nf4 = {.type = Quantisation::kNf4, .head = true};
  EXPECT_EQ(*parse_quants("int8", 3), (std::vector<QuantWish>{int8, int8, int8}));
  EXPECT_EQ(*parse_quants("none,int8,nf4+head", 3), (std::vector<QuantWish>{{}, int8, nf4}));
  EXPECT_EQ(*parse_quants("", 2), (std::vector<QuantWish>{{}, {}}));
  EXPECT_FALSE(parse_quants("int8,nf4", 3).has_value());
  EXPECT_FALSE(parse_quants("int8,int3", 2).has_value());
}

TEST(Quantisation, RowsThatAreNoWholeBlocksKeepTheNextBestType) {
  EXPECT_EQ(quantised_dtype(Quantisation::kNf4, DType::kBF16, 640), DType::kNF4);
  EXPECT_EQ(quantised_dtype(Quantisation::kNf4, DType::kBF16, 96), DType::kQ8_0);
  EXPECT_EQ(quantised_dtype(Quantisation::kNf4, DType::kBF16, 40), DType::kBF16);
  EXPECT_EQ(quantised_dtype(Quantisation::kInt8, DType::kF32, 96), DType::kQ8_0);
  EXPECT_EQ(quantised_dtype(Quantisation::kNone, DType::kF16, 640), DType::kF16);
}

}  // namespace
}  // namespace commissure
