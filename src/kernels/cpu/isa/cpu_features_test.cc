#include "kernels/cpu/isa/cpu_features.h"

#include <gtest/gtest.h>

namespace commissure::cpu {
namespace {

TEST(CpuFeatures, TakesAmxOnlyWhenAskedFor) {
  EXPECT_EQ(best_isa([](Isa) { return true; }), Isa::kAvx512);
  EXPECT_EQ(best_isa([](Isa isa) { return isa != Isa::kAmx; }), Isa::kAvx512);
  EXPECT_EQ(best_isa([](Isa isa) { return isa <= Isa::kAvx2; }), Isa::kAvx2);
  EXPECT_EQ(best_isa([](Isa isa) { return isa == Isa::kGeneric; }), Isa::kGeneric);
  EXPECT_EQ(best_isa([](Isa) { return false; }), Isa::kReference);
}

}  // namespace
}  // namespace commissure::cpu
