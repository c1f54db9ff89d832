#include "synth/random_file.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "core/dtype.h"
#include "kernels/quant.h"
#include "synth/random_values.h"

namespace commissure::testing {
namespace {

RandomTensor matrix(DType dtype, std::int64_t n_rows, std::int64_t n_cols, std::uint64_t offset = 0) {
  RandomTensor tensor;
  tensor.info = {.name = "m", .dtype = dtype, .shape = {n_rows, n_cols}, .source = 0, .offset = offset, .n_bytes = 0};
  tensor.info.n_bytes = static_cast<std::uint64_t>(n_rows) * row_bytes(dtype, n_cols);
  tensor.rows.push_back({.key = tensor_key(1, "m"), .first = 0, .count = n_rows, .spread = {0.5, 2.0}});
  return tensor;
}

std::string read(RandomFile& file, std::uint64_t offset, std::uint64_t n_bytes) {
  const auto range = file.read(offset, n_bytes);
  EXPECT_TRUE(range.has_value());
  return range ? std::string(reinterpret_cast<const char*>(range->bytes.data()), range->bytes.size()) : "";
}

TEST(RandomFile, HasTheSameBytesWhereverAReadBegins) {
  for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32, DType::kQ8_0}) {
    std::vector<RandomTensor> tensors = {matrix(dtype, 5, 64), matrix(dtype, 3, 96, 5 * row_bytes(dtype, 64) + 7)};
    const std::uint64_t n_bytes = tensors[1].info.offset + tensors[1].info.n_bytes + 5;
    RandomFile file("f", "head", tensors, n_bytes);
    ASSERT_EQ(file.size(), n_bytes + 4);
    const std::string whole = read(file, 0, file.size());
    EXPECT_EQ(whole.substr(0, 4), "head");
    EXPECT_EQ(whole.substr(4 + tensors[0].info.n_bytes, 7), std::string(7, '\0')) << "between two tensors";
    EXPECT_EQ(whole.substr(file.size() - 5), std::string(5, '\0'));
    for (std::uint64_t begin = 0; begin < file.size(); begin += 37) {
      for (const std::uint64_t length : {std::uint64_t{1}, std::uint64_t{63}, std::uint64_t{300}}) {
        const std::uint64_t n = std::min(length, file.size() - begin);
        ASSERT_EQ(read(file, begin, n), whole.substr(begin, n)) << dtype_name(dtype) << " from " << begin;
      }
    }
    EXPECT_EQ(file.read(file.size(), 1).error().code(), Code::kOutOfRange);
  }
}

TEST(RandomFile, ManyThreadsMakeTheBytesOfOne) {
  constexpr std::int64_t kRows = 900, kCols = 2048;  // worth seven threads
  RandomFile file("f", "", {matrix(DType::kBF16, kRows, kCols)}, kRows * kCols * 2);
  const std::string whole = read(file, 0, file.size());
  for (std::int64_t row = 0; row < kRows; row += 101) {
    ASSERT_EQ(read(file, row * kCols * 2, kCols * 2), whole.substr(row * kCols * 2, kCols * 2)) << row;
  }
}

TEST(RandomFile, ValuesHaveTheirMeanAndDeviation) {
  RandomFile file("f", "", {matrix(DType::kF32, 64, 1000)}, 64 * 1000 * 4);
  const std::string bytes = read(file, 0, file.size());
  std::vector<float> values(bytes.size() / 4);
  std::memcpy(values.data(), bytes.data(), bytes.size());
  double sum = 0, squares = 0, neighbours = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    sum += values[i];
    squares += (values[i] - 0.5) * (values[i] - 0.5);
    if (i > 0) neighbours += (values[i] - 0.5) * (values[i - 1] - 0.5);
  }
  const auto n = static_cast<double>(values.size());
  EXPECT_NEAR(sum / n, 0.5, 4 * 2.0 / std::sqrt(n));  // four standard errors
  EXPECT_NEAR(std::sqrt(squares / n), 2.0, 4 * 2.0 / std::sqrt(2 * n));
  EXPECT_NEAR(neighbours / n / 4.0, 0.0, 4 / std::sqrt(n));
}

TEST(RandomFile, SeedsNamesAndRowsHaveStreamsOfTheirOwn) {
  const auto first = [](std::uint64_t key, std::int64_t row) {
    std::array<std::uint32_t, kLevels> table{};
    for (std::size_t i = 0; i < table.size(); ++i) table[i] = static_cast<std::uint32_t>(i);
    std::array<std::uint32_t, 16> out{};
    draw_row(key, row, table, out.size(), reinterpret_cast<std::byte*>(out.data()));
    return out;
  };
  const auto one = first(tensor_key(1, "a"), 0);
  EXPECT_EQ(one, first(tensor_key(1, "a"), 0));
  EXPECT_NE(one, first(tensor_key(2, "a"), 0));
  EXPECT_NE(one, first(tensor_key(1, "b"), 0));
  EXPECT_NE(one, first(tensor_key(1, "a"), 1));
}

TEST(RandomFile, InterleavedRowsAreThoseOfTheHalves) {
  RandomTensor plain = matrix(DType::kF32, 16, 8), interleaved = plain;
  interleaved.rows[0].interleaved_dim = 8;  // two heads
  RandomFile a("a", "", {plain}, plain.info.n_bytes), b("b", "", {interleaved}, plain.info.n_bytes);
  const std::array<int, 16> source = {0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15};
  for (std::uint64_t row = 0; row < source.size(); ++row) {
    EXPECT_EQ(read(b, row * 32, 32), read(a, static_cast<std::uint64_t>(source[row]) * 32, 32)) << row;
  }
}

}  // namespace
}  // namespace commissure::testing
