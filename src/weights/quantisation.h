#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/dtype.h"
#include "core/result.h"

namespace commissure {

/// What a stage does with float weights while it loads them. kInt8: blocks of 32 values with an f16 scale, 8.5 bits a
/// weight (Q8_0). kNf4: blocks of 64 with an f16 scale, 4.25 bits (DType::kNF4).
enum class Quantisation : std::uint8_t { kNone, kInt8, kNf4 };

/// The matrices of layers are quantised; norms, biases and embedding rows are not, and the head only when asked for. A
/// head that is tied to the embedding is one matrix with it.
struct QuantWish {
  Quantisation type = Quantisation::kNone;
  bool head = false;

  bool operator==(const QuantWish&) const = default;
  explicit operator bool() const { return type != Quantisation::kNone; }
};

/// "none", "int8", "nf4", "int8+head", "nf4+head".
std::string quant_name(QuantWish wish);
/// Errors: kInvalidArgument, listing the names.
Result<QuantWish> parse_quant(std::string_view name);

/// One name for all stages, or one for each, apart by commas; returns n_stages of them.
/// Errors: kInvalidArgument, an unknown name, or another number of names.
Result<std::vector<QuantWish>> parse_quants(std::string_view names, int n_stages);

/// What a matrix of floats with rows of n_cols values becomes: NF4 where the rows are whole blocks of it, else Q8_0
/// where they are whole blocks of that, else what it was.
DType quantised_dtype(Quantisation type, DType stored, std::int64_t n_cols);

}  // namespace commissure
