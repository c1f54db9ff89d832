#pragma once

#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/backend.h"

/// What the tests of Backend operations share: host values in, host values out.
namespace commissure::testing {

inline constexpr float kEpsilon = std::numeric_limits<float>::epsilon();

inline std::unique_ptr<Backend> backend_for(const std::string& isa, int n_threads = 2) {
  Result<std::unique_ptr<Backend>> backend = make_cpu_backend({.n_threads = n_threads, .isa = isa});
  EXPECT_TRUE(backend.has_value());
  return std::move(backend).value();
}

/// The ISAs to judge: all but the reference.
inline std::vector<std::string> fast_isas() {
  std::vector<std::string> isas = available_isas();
  isas.erase(isas.begin());
  return isas;
}

inline std::vector<float> random_values(std::size_t n, unsigned seed, float scale = 1.0f) {
  std::mt19937 random(seed);
  std::normal_distribution<float> value(0.0f, scale);
  std::vector<float> values(n);
  for (float& v : values) v = value(random);
  return values;
}

/// Rows in device memory that own it.
struct DeviceRows {
  DeviceBuffer buffer;
  Rows rows;
};

inline DeviceRows upload(Backend& backend, std::span<const float> values, int n_rows) {
  Result<DeviceBuffer> buffer = backend.allocate(values.size_bytes());
  EXPECT_TRUE(buffer.has_value());
  DeviceRows out = {std::move(buffer).value(), {}};
  backend.upload(out.buffer.ptr(), std::as_bytes(values));
  out.rows = Rows::dense(out.buffer.ptr(), n_rows, static_cast<int>(values.size()) / n_rows);
  return out;
}

inline std::vector<float> download(Backend& backend, Rows rows) {
  std::vector<float> values(static_cast<std::size_t>(rows.n_rows) * static_cast<std::size_t>(rows.n_cols));
  for (int row = 0; row < rows.n_rows; ++row) {
    const std::size_t n_bytes = static_cast<std::size_t>(rows.n_cols) * sizeof(float);
    const auto bytes = backend.fetch(rows.slice(row, 1).data, n_bytes);
    EXPECT_TRUE(bytes.has_value());
    std::memcpy(values.data() + static_cast<std::size_t>(row * rows.n_cols), bytes->data(), n_bytes);
  }
  return values;
}

/// A tensor whose bytes are `values`, alive as long as the source.
template <typename T>
MatrixSource source_of(DType dtype, std::int64_t n_rows, std::vector<T> values, std::int64_t n_cols) {
  auto owner = std::make_shared<std::vector<T>>(std::move(values));
  return {"test.weight", dtype, n_rows, n_cols, {std::as_bytes(std::span(*owner)), owner}};
}

/// A step of `n_rows` rows of one sequence from `first_position`, blocks 0, 1, 2, ...
inline StepShape one_sequence(int n_rows, int first_position = 0) {
  StepShape shape;
  shape.tokens.resize(static_cast<std::size_t>(n_rows));
  shape.sequences = {{0, n_rows, first_position, {}}};
  for (int i = 0; i * 64 < first_position + n_rows; ++i) shape.sequences[0].blocks.push_back(i);
  return shape;
}

/// Largest |a - b|, infinite when either holds a NaN where the other does not.
inline float max_difference(std::span<const float> a, std::span<const float> b) {
  EXPECT_EQ(a.size(), b.size());
  float largest = 0.0f;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i] == b[i] || (a[i] != a[i] && b[i] != b[i])) continue;
    const float difference = a[i] > b[i] ? a[i] - b[i] : b[i] - a[i];
    if (!(difference <= largest))
      largest = difference == difference ? difference : std::numeric_limits<float>::infinity();
  }
  return largest;
}

inline bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

}  // namespace commissure::testing
