#include <algorithm>
#include <cmath>

#include "core/dtype.h"
#include "core/index.h"
#include "kernels/quant.h"
#include "support/backend_testing.h"

namespace commissure {
namespace {

using testing::backend_for;
using testing::random_values;
using testing::same_bits;

constexpr int kHeadRows = 5003, kHeadWidth = 352;
constexpr float kNever = -std::numeric_limits<float>::infinity();

void put_half(std::vector<std::byte>& bytes, std::uint16_t value) {
  bytes.push_back(static_cast<std::byte>(value & 0xff));
  bytes.push_back(static_cast<std::byte>(value >> 8));
}

/// Whole blocks of 32, each with the scale that its largest value asks for.
std::vector<std::byte> stored_head(DType dtype, const std::vector<float>& values) {
  std::vector<std::byte> bytes;
  for (std::size_t block = 0; block < values.size(); block += 32) {
    float scale = 0.0f;
    for (std::size_t i = block; i < block + 32; ++i) scale = std::max(scale, std::abs(values[i]) / 127.0f);
    scale = half_to_float(float_to_half(scale));
    if (dtype == DType::kQ8_0) put_half(bytes, float_to_half(scale));
    for (std::size_t i = block; i < block + 32; ++i) {
      switch (dtype) {
        case DType::kQ8_0:
          bytes.push_back(static_cast<std::byte>(static_cast<std::int8_t>(
              scale > 0.0f ? std::clamp(std::nearbyint(values[i] / scale), -128.0f, 127.0f) : 0.0f)));
          break;
        case DType::kBF16: put_half(bytes, to_bf16(values[i])); break;
        case DType::kF16: put_half(bytes, float_to_half(values[i])); break;
        default: {
          const auto* at = reinterpret_cast<const std::byte*>(&values[i]);
          bytes.insert(bytes.end(), at, at + sizeof(float));
        }
      }
    }
  }
  return bytes;
}

/// Normal values, a few of them far out, as trained heads and their inputs have them.
std::vector<float> with_outliers(std::size_t n, unsigned seed, float scale) {
  std::vector<float> values = random_values(n, seed, scale);
  for (std::size_t i = seed % 17; i < n; i += 61) values[i] *= 9.0f;
  return values;
}

MatrixSource head(DType dtype, const std::vector<float>& values, int n_rows = kHeadRows) {
  return testing::source_of(dtype, n_rows, stored_head(dtype, values), kHeadWidth);
}

/// The source with a screen; empty where the backend makes none.
MatrixSource screened(Backend& backend, MatrixSource source) {
  auto screen = std::make_shared<std::vector<std::byte>>(backend.screen_bytes(source));
  if (!screen->empty() && backend.pack_screen(source, *screen)) source.screen = {*screen, screen};
  return source;
}

std::vector<float> logits(Backend& backend, const MatrixSource& source, const std::vector<float>& x,
                          const std::vector<LogitsUse>& uses, float softcap = 0.0f) {
  const auto weight = backend.load_matrix(source).value();
  const int n_rows = count_of(uses);
  const auto in = testing::upload(backend, x, n_rows);
  const auto n_values = uses.size() * to_size(source.n_rows);
  const auto out = testing::upload(backend, std::vector<float>(n_values, NAN), n_rows);
  backend.logits(in.rows, *weight, uses, softcap, out.rows);
  return testing::download(backend, out.rows);
}

/// How many of `found` were not computed; the others have the bits of `all`, the n largest among them.
int check_found(std::span<const float> all, std::span<const float> found, int n_largest) {
  std::vector<float> sorted(all.begin(), all.end());
  std::ranges::sort(sorted, std::ranges::greater());
  int n_left_out = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (found[i] == kNever && all[i] != kNever) {
      ++n_left_out;
      EXPECT_LT(all[i], sorted[n_largest - 1]) << "output " << i << " was left out";
    } else {
      EXPECT_TRUE(same_bits(all.subspan(i, 1), found.subspan(i, 1))) << i << ": " << all[i] << ", " << found[i];
    }
  }
  return n_left_out;
}

class HeadSearchOf : public ::testing::TestWithParam<DType> {};

TEST_P(HeadSearchOf, WhatIsFoundHasTheBitsOfTheWholeHead) {
  const MatrixSource source = head(GetParam(), with_outliers(std::size_t{kHeadRows} * kHeadWidth, 3, 0.5f));
  for (const std::string& isa : available_isas()) {
    for (const int n_threads : {1, 3}) {
      const auto backend = backend_for(isa, n_threads);
      const MatrixSource with_screen = screened(*backend, source);
      EXPECT_EQ(with_screen.screen.bytes.empty(), isa == "reference" || isa == "generic") << isa;
      for (int n_rows = 1; n_rows <= 4; ++n_rows) {
        const auto x = with_outliers(n_elements(n_rows, kHeadWidth), 40 + static_cast<unsigned>(n_rows), 2.0f);
        std::vector<LogitsUse> uses;
        for (int row = 0; row < n_rows; ++row) uses.push_back({.n_largest = 1 + row});
        for (const float cap : {0.0f, 30.0f}) {
          const auto all = logits(*backend, source, x, uses, cap), found = logits(*backend, with_screen, x, uses, cap);
          for (int row = 0; row < n_rows; ++row) {
            const auto at = [&](const std::vector<float>& values) {
              return std::span(values).subspan(row * kHeadRows, kHeadRows);
            };
            const int n_left_out = check_found(at(all), at(found), 1 + row);
            if (with_screen.screen.bytes.empty()) continue;
            EXPECT_GT(n_left_out, kHeadRows / 2) << isa << ", row " << row << ", cap " << cap;
          }
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, HeadSearchOf, ::testing::Values(DType::kQ8_0, DType::kBF16, DType::kF16, DType::kF32),
                         [](const auto& info) { return std::string(dtype_name(info.param)); });

TEST(HeadSearch, EqualOutputsAreAllFound) {
  std::vector<float> values = random_values(std::size_t{kHeadRows} * kHeadWidth, 8);
  const std::vector<float> x = random_values(kHeadWidth, 9);
  for (const int output : {17, 2500, 5002}) {  // each of these is the largest
    for (int i = 0; i < kHeadWidth; ++i) values[output * kHeadWidth + i] = x[i];
  }
  for (const std::string& isa : testing::fast_isas()) {
    const auto backend = backend_for(isa);
    const MatrixSource source = screened(*backend, head(DType::kQ8_0, values));
    const auto found = logits(*backend, source, x, {{.n_largest = 1}});
    EXPECT_TRUE(found[17] == found[2500] && found[17] == found[5002]) << isa;
    EXPECT_EQ(std::ranges::max_element(found) - found.begin(), 17) << isa;
  }
}

TEST(HeadSearch, LogitsThatASoftcapMakesEqualAreAllFound) {
  std::vector<float> values = with_outliers(std::size_t{kHeadRows} * kHeadWidth, 8, 0.05f);
  const std::vector<float> x = random_values(kHeadWidth, 9);
  for (const auto& [output, size] : {std::pair(17, 1.0f), {2500, 1.25f}, {5002, 1.5f}}) {
    for (int i = 0; i < kHeadWidth; ++i) values[output * kHeadWidth + i] = size * x[i];
  }
  for (const std::string& isa : testing::fast_isas()) {
    const auto backend = backend_for(isa);
    const MatrixSource whole = head(DType::kF32, values), searched = screened(*backend, whole);
    for (const float cap : {5.0f, 2000.0f}) {
      const auto all = logits(*backend, whole, x, {{.n_largest = 1}}, cap);
      const auto found = logits(*backend, searched, x, {{.n_largest = 1}}, cap);
      EXPECT_EQ(all[17] == all[5002], cap == 5.0f) << isa << ": where it saturates, and only there";
      if (searched.screen.bytes.empty()) continue;
      EXPECT_GT(check_found(all, found, 1), kHeadRows / 2) << isa << ", " << cap;
      EXPECT_EQ(std::ranges::max_element(found) - found.begin(), std::ranges::max_element(all) - all.begin()) << isa;
    }
  }
}

TEST(HeadSearch, AHeadWithoutSpreadIsReadWhole) {
  const std::vector<float> one_row = random_values(kHeadWidth, 5);
  std::vector<float> values, x = random_values(kHeadWidth, 6);
  for (int row = 0; row < kHeadRows; ++row) values.insert(values.end(), one_row.begin(), one_row.end());
  for (const std::string& isa : testing::fast_isas()) {
    const auto backend = backend_for(isa);
    const MatrixSource source = head(DType::kQ8_0, values);
    const auto all = logits(*backend, source, x, {{.n_largest = 1}});
    const auto found = logits(*backend, screened(*backend, source), x, {{.n_largest = 1}});
    EXPECT_TRUE(same_bits(all, found)) << isa;
  }
}

TEST(HeadSearch, WhoeverAsksForAllOrForATargetGetsAll) {
  const MatrixSource source = head(DType::kQ8_0, with_outliers(std::size_t{kHeadRows} * kHeadWidth, 3, 0.5f));
  const std::vector<float> x = with_outliers(2 * kHeadWidth, 4, 2.0f);
  for (const std::string& isa : testing::fast_isas()) {
    const auto backend = backend_for(isa);
    const MatrixSource with_screen = screened(*backend, source);
    for (const LogitsUse second : {LogitsUse{}, LogitsUse{.target = 7}, LogitsUse{.n_largest = kHeadRows}}) {
      const std::vector<LogitsUse> uses = {{.n_largest = 1}, second};
      EXPECT_TRUE(same_bits(logits(*backend, source, x, uses), logits(*backend, with_screen, x, uses))) << isa;
    }
  }
}

TEST(HeadSearch, NumbersThatAreNoneGiveWhatTheWholeHeadGives) {
  const MatrixSource source = head(DType::kQ8_0, with_outliers(std::size_t{kHeadRows} * kHeadWidth, 3, 0.5f));
  for (const std::string& isa : testing::fast_isas()) {
    const auto backend = backend_for(isa);
    const MatrixSource with_screen = screened(*backend, source);
    for (const float odd : {NAN, INFINITY, -INFINITY, 3e38f}) {
      std::vector<float> x = random_values(kHeadWidth, 7);
      x[100] = odd;
      const auto all = logits(*backend, source, x, {{.n_largest = 1}});
      const auto found = logits(*backend, with_screen, x, {{.n_largest = 1}});
      for (std::size_t i = 0; i < all.size(); ++i) {
        const bool same = all[i] == found[i] || (std::isnan(all[i]) && std::isnan(found[i])) || found[i] == kNever;
        ASSERT_TRUE(same) << isa << ", " << odd << ": " << all[i] << ", " << found[i];
      }
      EXPECT_TRUE(std::isfinite(odd) || std::isnan(found[0])) << isa;
    }
  }
}

TEST(HeadSearch, WeightsThatCannotBeBoundedHaveNoScreen) {
  for (const std::string& isa : testing::fast_isas()) {
    const auto backend = backend_for(isa);
    for (const std::uint16_t scale : {0x7e00, 0x7c00, 0x8001, 0x7bff}) {  // NaN, infinity, negative, 8 times too large
      MatrixSource source = head(DType::kQ8_0, random_values(16 * kHeadWidth, 3), 16);
      std::vector<std::byte> bytes(source.data.bytes.begin(), source.data.bytes.end());
      bytes[34 * 20] = static_cast<std::byte>(scale & 0xff);
      bytes[34 * 20 + 1] = static_cast<std::byte>(scale >> 8);
      source = testing::source_of(DType::kQ8_0, 16, std::move(bytes), kHeadWidth);
      EXPECT_TRUE(screened(*backend, source).screen.bytes.empty()) << isa << ", " << scale;
    }
    for (const float value : {NAN, INFINITY, 3e38f}) {
      std::vector<float> values = random_values(16 * kHeadWidth, 3);
      values[999] = value;
      EXPECT_TRUE(screened(*backend, head(DType::kF32, values, 16)).screen.bytes.empty()) << isa << ", " << value;
    }
    const MatrixSource odd = testing::source_of(DType::kF32, 4, random_values(4 * 33, 1), 33);
    EXPECT_EQ(backend->screen_bytes(odd), 0u) << isa;
  }
}

TEST(HeadSearch, AScreenOfAnotherSizeIsRefused) {
  for (const std::string& isa : testing::fast_isas()) {
    const auto backend = backend_for(isa);
    MatrixSource source = screened(*backend, head(DType::kQ8_0, random_values(16 * kHeadWidth, 3), 16));
    if (source.screen.bytes.empty()) continue;  // generic
    source.screen.bytes = source.screen.bytes.first(64);
    EXPECT_EQ(backend->load_matrix(source).error().code(), Code::kInvalidArgument) << isa;
  }
}

}  // namespace
}  // namespace commissure
