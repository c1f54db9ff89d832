#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "weights/tensor_info.h"

namespace commissure {

/// Where the scales lie of a matrix that bitsandbytes has quantised to NF4.
struct BnbState {
  /// Scales that are quantised once more: scale = map[byte] * absmax[i / block] + offset.
  struct Nested {
    TensorInfo absmax, map;  ///< F32, F32 [256]
    std::int64_t block = 0;  ///< scales to an absmax
    float offset = 0.0f;
  };

  std::vector<std::int64_t> shape;  ///< of the matrix
  std::int64_t block = 0;           ///< values to a scale: a power of two, at least NF4's own 64
  TensorInfo absmax;                ///< the scales: F32, or bytes with `nested`
  TensorInfo map;                   ///< F32 [16], the values of the codes
  std::optional<Nested> nested = {};
};

/// The values of NF4's codes as bitsandbytes writes them. Source: bitsandbytes, functional.py.
inline constexpr float kBnbNf4Values[16] = {
    -1.0f,
    -0.6961928009986877f,
    -0.5250730514526367f,
    -0.39491748809814453f,
    -0.28444138169288635f,
    -0.18477343022823334f,
    -0.09105003625154495f,
    0.0f,
    0.07958029955625534f,
    0.16093020141124725f,
    0.24611230194568634f,
    0.33791524171829224f,
    0.44070982933044434f,
    0.5626170039176941f,
    0.7229568362236023f,
    1.0f,
};

/// Ends the name of the tensor that describes a matrix: NAME.quant_state.bitsandbytes__nf4.
inline constexpr std::string_view kBnbStateSuffix = ".quant_state.bitsandbytes__nf4";

/// Names of the tensors that belong to matrix `name` and are none of the model's.
std::vector<std::string> bnb_state_names(const std::string& name);

/// Finds a matrix's state. `json` is the text of its description, `find` gives the tensors that are stored, or null.
/// Errors: kDataLoss or kUnimplemented, with the matrix's name: what is missing, of another shape or type, or of a kind
/// that is not read. Source: bitsandbytes' QuantState.as_dict(packed=True).
Result<BnbState> read_bnb_state(const TensorInfo& codes, std::string_view json,
                                const std::function<const TensorInfo*(const std::string&)>& find);

}  // namespace commissure
