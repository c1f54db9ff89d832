#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/result.h"
#include "model/decoder_spec.h"
#include "model/tensor_names.h"
#include "weights/adapter_reader.h"

namespace commissure {

/// What an adapter's file holds for one matrix of the model.
struct AdapterShare {
  int layer = 0;
  TensorRole role = TensorRole::kQuery;
  std::int64_t n_outputs = 0, n_inputs = 0;  ///< of the model's matrix
  std::string module;                        ///< as the file calls it
  const AdapterTensor* down = nullptr;       ///< [rank, n_inputs]
  const AdapterTensor* up = nullptr;         ///< [n_outputs, rank], or more rows where the file's matrix is fused
  const AdapterTensor* magnitude = nullptr;  ///< [rows of up], or null: not DoRA
  std::int64_t first_output = 0;             ///< of the rows of `up`
  /// Rows of a head stand in another order in the file than in the model: (half, i) in transformers' files, (i, half)
  /// in the GGUF files of some families. The heads whose rows turn from the first order to the second; below 0: back.
  int n_turned_heads = 0;

  std::int64_t rank() const { return down->info.shape[0]; }
};

/// Every share of an adapter, shapes checked, by layer; the tensors are the reader's.
/// Errors: kUnimplemented, the adapter changes what none can change here, named, with what can be; kInvalidArgument, a
/// tensor is of another shape than the model's matrix, lacks its other half or is there twice.
Result<std::vector<AdapterShare>> find_adapter_shares(const DecoderSpec& spec, const AdapterReader& reader);

}  // namespace commissure
