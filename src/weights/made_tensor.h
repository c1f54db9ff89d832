#pragma once

#include <cstddef>
#include <functional>
#include <optional>

#include "core/dtype.h"
#include "core/result.h"
#include "weights/bnb_state.h"
#include "weights/byte_source.h"
#include "weights/oss_experts.h"
#include "weights/tensor_info.h"

namespace commissure {

/// A tensor that is made while it is loaded, from what a file holds.
struct MadeTensor {
  TensorInfo stored;           ///< floats of the same shape; with `bnb` bitsandbytes' codes
  DType dtype = DType::kQ8_0;  ///< what is made
  std::optional<BnbState> bnb = {};
  std::optional<OssLayout> oss = {};  ///< what is stored is some of gpt-oss's experts
};

/// Reads a tensor's bytes as they are stored.
using ReadStored = std::function<Result<ByteRange>(const TensorInfo& tensor)>;

/// Makes floats Q8_0 or NF4, or bitsandbytes' NF4 our own (the same codes in the order of our blocks, scales rounded to
/// f16), or arranges the same values anew, with as many threads as are worth it and there are.
/// Errors: those of `read`; kResourceExhausted, no memory; kDataLoss with the tensor's name: a value is infinite or NaN
/// or too large for any scale, or bitsandbytes' scales and maps are none.
Result<ByteRange> make_tensor(const MadeTensor& made, const ReadStored& read);

}  // namespace commissure
