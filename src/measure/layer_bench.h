#pragma once

#include <string>

#include "core/result.h"
#include "plan/layer_times.h"

namespace commissure {

struct LayerBenchOptions {
  std::string model = "smollm2-135m";
  std::string machine;         ///< the catalogue's machine that this one stands for
  std::string device = "cpu";  ///< as make_device() takes it
  std::string isa;
  std::string kv_dtype = "auto";
  std::string precision;  ///< "": what the catalogue advises for the model
  int n_threads = 0;
  int context = 2048;
};

/// Loads a model as a stage does and measures its embedding, each kind of layer and its head, for steps of 1 to 32
/// streams and for chunks of a prompt. Of a model that does not fit half of the memory only the first layers are
/// loaded. Errors: as resolve_model, Checkpoint::open and make_device; kResourceExhausted, too little memory for a
/// layer of every kind.
Result<LayerTimes> bench_layers(const LayerBenchOptions& options);

}  // namespace commissure
