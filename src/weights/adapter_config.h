#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/result.h"
#include "weights/name_pattern.h"

namespace commissure {

/// The numbers of an adapter_config.json, as PEFT writes it.
class AdapterConfig {
 public:
  /// `name` is the file's, for errors.
  /// Errors: kInvalidArgument, a value is missing, of another kind or out of range; kUnimplemented, it asks for what
  /// does not run, named (another method than LoRA, biases, whole modules, a changed base model).
  static Result<AdapterConfig> parse(std::string_view text, const std::string& name);

  bool is_dora() const { return is_dora_; }
  /// Of the module with this path ("model.layers.0.self_attn.q_proj").
  std::int64_t rank_of(std::string_view module) const;
  /// What the product of its two matrices is multiplied with.
  float scale_of(std::string_view module) const;

  static constexpr std::uint64_t kMaxBytes = 1u << 20;
  static constexpr std::size_t kMaxPatterns = 4096;
  /// Of these, patterns that repeat a part, which take longer to look for.
  static constexpr std::size_t kMaxRepeatingPatterns = 64;

 private:
  friend class AdapterConfigReader;
  template <typename Value>
  using Patterns = std::vector<std::pair<NamePattern, Value>>;  // the first that fits holds

  bool is_dora_ = false;
  bool is_rank_stabilised_ = false;
  std::int64_t rank_ = 0;
  double alpha_ = 0.0;
  Patterns<std::int64_t> ranks_;
  Patterns<double> alphas_;
};

}  // namespace commissure
