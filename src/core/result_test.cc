#include "core/result.h"

#include <gtest/gtest.h>

namespace commissure {
namespace {

Result<int> half(int value) {
  if (value % 2 != 0) return Error(Code::kInvalidArgument, value, " is odd");
  return value / 2;
}

Result<int> quarter(int value) { return TRY(half(TRY(half(value)))); }

Status only_even(int value) {
  TRY(half(value));
  return {};
}

TEST(Result, CarriesAValueOrAnError) {
  EXPECT_EQ(quarter(12).value(), 3);
  const auto failed = quarter(6);
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error(), Error(Code::kInvalidArgument, "3 is odd"));
  EXPECT_EQ(failed.error().to_string(), "INVALID_ARGUMENT: 3 is odd");
}

TEST(Result, StatusReturnsEarly) {
  EXPECT_TRUE(only_even(2).has_value());
  EXPECT_EQ(only_even(3).error().code(), Code::kInvalidArgument);
}

TEST(Result, MovesValuesThatCannotBeCopied) {
  const auto make = []() -> Result<std::unique_ptr<int>> { return std::make_unique<int>(4); };
  const auto use = [&]() -> Result<int> { return *TRY(make()); };
  EXPECT_EQ(use().value(), 4);
}

TEST(Error, AddsContextInFront) {
  EXPECT_EQ(Error(Code::kDataLoss, "cut at ", 7).within("file x").message(), "file x: cut at 7");
}

TEST(Error, TellsBothEndsOfAPartAsLongAsAFile) {
  const Error error(Code::kInvalidArgument, "the key \"", std::string(10'000'000, 'k'),
                    "\" is unknown; choose another");
  EXPECT_LT(error.message().size(), Error::kMostPartBytes + 600);
  EXPECT_TRUE(error.message().ends_with("kk\" is unknown; choose another"));
  const Error wider(Code::kUnavailable, "stage b: ", error.message());
  EXPECT_LT(wider.message().size(), Error::kMostPartBytes + 600);
  EXPECT_TRUE(wider.message().ends_with("\" is unknown; choose another")) << "what wraps it keeps the cure";
}

}  // namespace
}  // namespace commissure
