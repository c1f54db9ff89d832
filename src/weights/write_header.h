#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "weights/tensor_info.h"

/// What stands before the tensors in the files that this program writes or makes up.
namespace commissure {

inline constexpr std::uint64_t kGgufAlignment = 32;

/// `n` rounded up to a multiple of `alignment`.
constexpr std::uint64_t padded(std::uint64_t n, std::uint64_t alignment) {
  return (n + alignment - 1) / alignment * alignment;
}

/// Gives each tensor its place, in order, from 0 on. Returns where the last one ends.
std::uint64_t lay_out(std::vector<TensorInfo>& tensors, std::uint64_t alignment);

/// A safetensors file up to its first tensor, with offsets as laid out without gaps. A quantised matrix is bytes, as in
/// weights/written_quant.h.
std::string safetensors_header(const std::vector<TensorInfo>& tensors);

/// Key-value pairs of a GGUF header.
class GgufPairs {
 public:
  void text(std::string_view key, std::string_view value);
  void integer(std::string_view key, std::uint32_t value);
  void number(std::string_view key, float value);
  void flag(std::string_view key, bool value);
  void texts(std::string_view key, const std::vector<std::string>& values);
  void integers(std::string_view key, const std::vector<std::int32_t>& values);
  void numbers(std::string_view key, const std::vector<float>& values);
  void flags(std::string_view key, const std::vector<bool>& values);
  /// Pairs as they stand in another file.
  void raw(std::uint64_t n_pairs, std::string_view bytes);

  std::uint64_t count() const { return count_; }
  const std::string& bytes() const { return bytes_; }

 private:
  void begin(std::string_view key, std::uint32_t type);
  void begin_array(std::string_view key, std::uint32_t type, std::size_t length);

  std::uint64_t count_ = 0;
  std::string bytes_;
};

/// A GGUF up to the padding before its first tensor.
std::string gguf_header(const GgufPairs& keys, const std::vector<TensorInfo>& tensors);

}  // namespace commissure
