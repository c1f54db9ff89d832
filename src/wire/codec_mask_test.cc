#include <gtest/gtest.h>

#include <limits>

#include "core/index.h"
#include "step/step_room.h"
#include "wire/codec_values.h"

namespace commissure {
namespace {

v1::Step one_draw() {
  v1::Step step;
  v1::Slice& slice = *step.add_slices();
  slice.add_tokens(1);
  slice.set_sample(true);
  step.set_n_rows(1);
  return step;
}

std::string problem(const v1::Step& step) {
  const auto batch = decode(step);
  return batch ? "none" : batch.error().message();
}

TEST(CodecMask, ComesAsIdsOrAsBits) {
  v1::Step ids = one_draw(), bits = one_draw();
  for (const int id : {35, 3}) ids.mutable_slices(0)->add_drawable(id);
  bits.mutable_slices(0)->set_drawable_bits(std::string("\x08\0\0\0\x08\0\0\0", 8));
  const auto a = decode(ids), b = decode(bits), none = decode(one_draw());
  ASSERT_TRUE(a && b && none);
  EXPECT_TRUE(a->slices[0].mask.has(3) && a->slices[0].mask.has(35));
  EXPECT_EQ(a->slices[0].mask, b->slices[0].mask);
  EXPECT_TRUE(none->slices[0].mask.empty());
}

TEST(CodecMask, OneOfNoModelIsRefused) {
  v1::Step step = one_draw();
  v1::Slice& slice = *step.mutable_slices(0);
  const int n_most = static_cast<int>(TokenMask::kMaxWords) * TokenMask::kBits;
  for (const int id : {-1, std::numeric_limits<int>::min(), n_most, std::numeric_limits<int>::max()}) {
    slice.clear_drawable();
    slice.add_drawable(id);
    EXPECT_NE(problem(step).find("in a mask"), std::string::npos) << id;
  }
  slice.clear_drawable();
  slice.add_drawable(n_most - 1);
  EXPECT_EQ(problem(step), "none");
  slice.set_drawable_bits("abcd");
  EXPECT_NE(problem(step).find("two forms"), std::string::npos);
  slice.clear_drawable();
  for (const std::size_t n_bytes : {std::size_t{3}, std::size_t{5}, 4 * TokenMask::kMaxWords + 4}) {
    slice.set_drawable_bits(std::string(n_bytes, 'x'));
    EXPECT_NE(problem(step).find("mask of tokens of"), std::string::npos) << n_bytes;
  }
  slice.set_drawable_bits(std::string(8, '\0'));
  EXPECT_NE(problem(step).find("without a token"), std::string::npos);
}

TEST(CodecMask, StandsOnlyWhereATokenIsDrawn) {
  v1::Step step = one_draw();
  step.mutable_slices(0)->add_drawable(3);
  step.mutable_slices(0)->set_sample(false);
  EXPECT_NE(problem(step).find("none is drawn"), std::string::npos);
}

TEST(CodecMask, AStepDoesNotUnpackToAnySize) {
  v1::Step step = one_draw();
  step.mutable_slices(0)->add_drawable(static_cast<int>(TokenMask::kMaxWords) * TokenMask::kBits - 1);
  const int n_fit = static_cast<int>(kMaxStepMaskWords / TokenMask::kMaxWords);
  for (int i = 1; i < n_fit; ++i) *step.add_slices() = step.slices(0);
  step.set_n_rows(n_fit);
  EXPECT_EQ(problem(step), "none");
  *step.add_slices() = step.slices(0);
  step.set_n_rows(n_fit + 1);
  EXPECT_NE(problem(step).find("masks of over"), std::string::npos);
}

}  // namespace
}  // namespace commissure
