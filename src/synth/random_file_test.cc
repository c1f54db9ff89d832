#include "synth/random_file.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <set>

#include "core/dtype.h"
#include "kernels/quant.h"
#include "synth/random_values.h"

namespace commissure::testing {
namespace {

RandomTensor matrix(DType dtype, std::int64_t n_rows, std::int64_t n_cols, std::uint64_t offset = 0) {
  RandomTensor tensor;
  tensor.info = {.name = "m", .dtype = dtype, .shape = {n_rows, n_cols}, .source = 0, .offset = offset, .n_bytes = 0};
  tensor.info.n_bytes = static_cast<std::uint64_t>(n_rows) * row_bytes(dtype, n_cols);
  tensor.rows.push_back(
      {.key = tensor_key(1, "m"), .first = 0, .count = n_rows, .spread = {dtype == DType::kMXFP4 ? 0.0 : 0.5, 2.0}});
  return tensor;
}

std::string read(RandomFile& file, std::uint64_t offset, std::uint64_t n_bytes) {
  const auto range = file.read(offset, n_bytes);
  EXPECT_TRUE(range.has_value());
  return range ? std::string(reinterpret_cast<const char*>(range->bytes.data()), range->bytes.size()) : "";
}

TEST(RandomFile, HasTheSameBytesWhereverAReadBegins) {
  for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32, DType::kQ8_0, DType::kMXFP4}) {
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
    draw_row({key, row, 0, out.size()}, table, reinterpret_cast<std::byte*>(out.data()));
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

TEST(RandomFile, AnyColumnsOfARowAreThoseOfTheWholeRow) {
  RandomTensor whole = matrix(DType::kF32, 4, 64), part = matrix(DType::kF32, 2, 16);
  part.rows[0].drawn_row = 1;
  part.rows[0].drawn_column = 32;
  RandomFile a("a", "", {whole}, whole.info.n_bytes), b("b", "", {part}, part.info.n_bytes);
  for (std::uint64_t row = 0; row < 2; ++row) {
    EXPECT_EQ(read(b, row * 64, 64), read(a, (row + 1) * 256 + 128, 64)) << row;
  }
}

std::vector<float> fp4_row(RandomFile& file, std::uint64_t row, std::int64_t n_cols) {
  const std::uint64_t length = row_bytes(DType::kMXFP4, n_cols);
  const std::string bytes = read(file, row * length, length);
  std::vector<float> values(static_cast<std::size_t>(n_cols));
  dequantise(DType::kMXFP4, reinterpret_cast<const std::byte*>(bytes.data()), values);
  return values;
}

TEST(RandomFile, ValuesOfMxfp4HaveTheirDeviationWhateverTheScale) {
  for (const double deviation : {0.001, 0.0156, 0.5, 1.0, 1.99, 3.0}) {
    RandomTensor tensor = matrix(DType::kMXFP4, 64, 1024);
    tensor.rows[0].spread = {0.0, deviation};
    RandomFile file("f", "", {tensor}, tensor.info.n_bytes);
    double sum = 0, squares = 0;
    std::set<float> values;
    for (std::uint64_t row = 0; row < 64; ++row) {
      for (const float value : fp4_row(file, row, 1024)) {
        sum += static_cast<double>(value);
        squares += static_cast<double>(value) * static_cast<double>(value);
        values.insert(value);
      }
    }
    const double n = 64 * 1024;
    EXPECT_NEAR(sum / n, 0.0, 4 * deviation / std::sqrt(n));
    EXPECT_NEAR(std::sqrt(squares / n) / deviation, 1.0, 0.05) << deviation << ": rounding adds a few percent";
    EXPECT_GE(values.size(), 11u) << "of the format's 15, zero counted once";
  }
}

TEST(RandomFile, CodesAndScalesThatStandApartSayWhatBlocksSay) {
  constexpr std::int64_t kRows = 3, kCols = 64;
  RandomTensor gate = matrix(DType::kMXFP4, kRows, kCols), up = gate;
  up.rows[0].key = tensor_key(1, "up");
  RandomTensor codes = gate, scales = gate;
  codes.form = RowForm::kCodes;
  codes.info.shape = {1, 2 * kRows, 2, 16};
  scales.form = RowForm::kScales;
  scales.info.shape = {1, 2 * kRows, 2};
  for (RandomTensor* tensor : {&codes, &scales}) {
    tensor->info.dtype = DType::kU8;
    tensor->info.n_bytes = static_cast<std::uint64_t>(2 * kRows) * (tensor == &codes ? 32 : 2);
    tensor->rows[0].count = 2 * kRows;
    tensor->rows[0].odd_key = up.rows[0].key;
  }
  RandomFile gates("g", "", {gate}, gate.info.n_bytes), ups("u", "", {up}, up.info.n_bytes);
  RandomFile code_file("c", "", {codes}, codes.info.n_bytes), scale_file("s", "", {scales}, scales.info.n_bytes);
  const std::string all_codes = read(code_file, 0, code_file.size()),
                    exponents = read(scale_file, 0, scale_file.size());
  for (std::size_t row = 0; row < 2 * kRows; ++row) {
    const std::vector<float> expected = fp4_row(row % 2 == 0 ? gates : ups, row / 2, kCols);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const auto byte = static_cast<std::uint8_t>(all_codes[row * 32 + i / 2]);
      const auto exponent = static_cast<std::uint8_t>(exponents[row * 2 + i / 32]);
      const float value = static_cast<float>(kFp4Values[i % 2 == 0 ? byte & 15 : byte >> 4]) * fp4_scale(exponent);
      ASSERT_EQ(value, expected[i]) << row << ", " << i;
    }
  }
}

TEST(RandomFile, VectorsTakeTurnsByColumns) {
  RandomTensor gate = matrix(DType::kBF16, 3, 8), up = gate, both = matrix(DType::kBF16, 3, 16);
  up.rows[0].key = both.rows[0].odd_key = tensor_key(1, "up");
  RandomFile gates("g", "", {gate}, gate.info.n_bytes), ups("u", "", {up}, up.info.n_bytes);
  RandomFile file("b", "", {both}, both.info.n_bytes);
  for (std::uint64_t i = 0; i < 24; ++i) {
    EXPECT_EQ(read(file, 4 * i, 2), read(gates, 2 * i, 2)) << i;
    EXPECT_EQ(read(file, 4 * i + 2, 2), read(ups, 2 * i, 2)) << i;
  }
}

}  // namespace
}  // namespace commissure::testing
