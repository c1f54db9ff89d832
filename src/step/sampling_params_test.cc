#include "step/sampling_params.h"

#include <gtest/gtest.h>

#include <limits>

namespace commissure {
namespace {

SamplingParams with(auto change) {
  SamplingParams params;
  change(params);
  return params;
}

void expect_refused(const SamplingParams& params, const char* field) {
  const Status status = validate(params);
  ASSERT_FALSE(status.has_value()) << field;
  EXPECT_EQ(status.error().code(), Code::kInvalidArgument);
  EXPECT_NE(status.error().message().find(field), std::string::npos) << status.error().message();
}

TEST(SamplingParams, AcceptsDefaultsAndTheEdgesOfEveryRange) {
  EXPECT_TRUE(validate(SamplingParams{}).has_value());
  EXPECT_TRUE(validate(with([](auto& p) {
                p.temperature = 0.0f;
                p.min_p = 1.0f;
                p.n_logprobs = 20;
                p.top_p = std::numeric_limits<float>::denorm_min();
                p.banned = {TokenId(0)};
              })).has_value());
  EXPECT_TRUE(validate(with([](auto& p) { p.temperature = 2.0f; })).has_value());
}

TEST(SamplingParams, RefusesValuesOutsideTheirRangeByName) {
  expect_refused(with([](auto& p) { p.temperature = -0.01f; }), "temperature");
  expect_refused(with([](auto& p) { p.temperature = 2.01f; }), "temperature");
  expect_refused(with([](auto& p) { p.top_k = -1; }), "top_k");
  expect_refused(with([](auto& p) { p.top_p = 0.0f; }), "top_p");
  expect_refused(with([](auto& p) { p.top_p = 1.1f; }), "top_p");
  expect_refused(with([](auto& p) { p.min_p = -0.1f; }), "min_p");
  expect_refused(with([](auto& p) { p.n_logprobs = -2; }), "logprobs");
  expect_refused(with([](auto& p) { p.n_logprobs = 21; }), "logprobs");
  expect_refused(with([](auto& p) { p.banned = {TokenId(-1)}; }), "banned");
}

TEST(SamplingParams, RefusesNumbersThatAreNotFinite) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  for (const float bad : {nan, inf, -inf}) {
    expect_refused(with([&](auto& p) { p.temperature = bad; }), "temperature");
    expect_refused(with([&](auto& p) { p.top_p = bad; }), "top_p");
    expect_refused(with([&](auto& p) { p.min_p = bad; }), "min_p");
  }
}

}  // namespace
}  // namespace commissure
