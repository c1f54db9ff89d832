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
  bool is_estimate = false;            ///< computed from config.json alone, for bf16 weights (gpt-oss's experts: MXFP4)
  std::unique_ptr<Checkpoint> header;  ///< the header that was read; null for an estimate
};

/// Measures a model by its checkpoint's header, without reading weights; `model` is a known name that is in the cache,
/// a file, a folder, a URL, hf:OWNER/REPO or gs://. For the path of a config.json it estimates from the shapes that the
/// file implies. KV counts as `kv_type` stores it.
/// Errors: as open_header and read_decoder_spec.
Result<MeasuredModel> measure_model(const std::string& model, const std::string& revision, KvType kv_type);

}  // namespace commissure
