#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/dtype.h"

namespace commissure::testing {

/// One tensor of a toy checkpoint.
struct ToyTensor {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<std::int64_t> shape;  ///< slowest first
  std::string bytes;                ///< row-major, of the dtype's layout
};

/// A tensor whose bytes count up from `seed`: any wrong offset shows.
ToyTensor counting_tensor(std::string name, DType dtype, std::vector<std::int64_t> shape, unsigned seed);

/// A tensor of F32 values.
ToyTensor float_tensor(std::string name, std::vector<std::int64_t> shape, const std::vector<float>& values);

/// Builds GGUF v3 files in memory; the public fields let a test break one rule at a time.
class GgufWriter {
 public:
  GgufWriter& text(std::string_view key, std::string_view value);
  GgufWriter& u32(std::string_view key, std::uint32_t value);
  GgufWriter& f32(std::string_view key, float value);
  GgufWriter& boolean(std::string_view key, bool value);
  GgufWriter& texts(std::string_view key, const std::vector<std::string>& values);
  GgufWriter& floats(std::string_view key, const std::vector<float>& values);
  GgufWriter& booleans(std::string_view key, const std::vector<bool>& values);
  GgufWriter& ints(std::string_view key, const std::vector<std::int32_t>& values);
  /// A value of any type number, already encoded.
  GgufWriter& raw(std::string_view key, std::uint32_t type, std::string_view encoded);
  GgufWriter& tensor(ToyTensor tensor);

  /// The whole model as one file.
  std::string bytes() const;
  /// The model as `n` files, metadata in the first, tensors dealt in order.
  std::vector<std::string> splits(int n) const;

  std::uint32_t version = 3;
  std::uint32_t alignment = 32;  ///< written as general.alignment when not 32
  /// Type numbers and relative offsets in place of a tensor's own, by index.
  std::vector<std::pair<std::size_t, std::uint32_t>> forced_types;
  std::vector<std::pair<std::size_t, std::uint64_t>> forced_offsets;

 private:
  std::string file(const GgufWriter& metadata, std::size_t first, std::size_t last) const;

  std::vector<std::string> pairs_;
  std::vector<ToyTensor> tensors_;
};

/// "model-00002-of-00003.gguf" for (model, 2, 3, .gguf).
std::string series_name(std::string_view prefix, int number, int count, std::string_view suffix);

/// One safetensors file, tensors in the given order.
std::string safetensors_bytes(const std::vector<ToyTensor>& tensors);

/// A safetensors file of any header text, right or wrong.
std::string safetensors_file(std::string_view header, std::string_view data);

/// The index.json for shards, each a file name and its tensors.
std::string safetensors_index(const std::vector<std::pair<std::string, std::vector<ToyTensor>>>& shards);

/// Little-endian bytes of a number, as both formats store it.
template <typename T>
std::string little_endian(T value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof value);
}

}  // namespace commissure::testing
