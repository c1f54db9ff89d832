#pragma once

#include <memory>
#include <string>

#include "core/result.h"
#include "kernels/kv_type.h"
#include "plan/planner.h"
#include "weights/checkpoint.h"

namespace commissure {

/// A model's numbers for the planner and how they were found.
struct MeasuredModel {
  ModelFootprint footprint;
  int context = 0;                     ///< positions the model was made for
  bool is_estimate = false;            ///< from config.json alone, in bf16: no weights were there to look at
  std::unique_ptr<Checkpoint> header;  ///< what was read; none for an estimate
};

/// Reads the header of a checkpoint (a known name that is in the cache, a file, a folder, a URL, hf:OWNER/REPO, gs://),
/// no weights; or, for the path of a config.json, the shapes that it implies. KV counts as `kv_type` stores it.
/// Errors: as open_header and read_decoder_spec.
Result<MeasuredModel> measure_model(const std::string& model, const std::string& revision, KvType kv_type);

}  // namespace commissure
