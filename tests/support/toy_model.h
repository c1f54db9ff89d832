#pragma once

#include <string>
#include <vector>

#include "core/dtype.h"
#include "support/checkpoint_writer.h"

namespace commissure::testing {

/// A random model small enough for a unit test, with everything its family has. The same shape gives the same weights
/// in both formats.
struct ToyModel {
  bool is_gemma = false;  ///< Gemma 3 with sliding layers, or Llama
  int n_layers = 7;
  int d_model = 64;
  int n_heads = 4;
  int n_kv_heads = 2;
  int head_dim = 32;
  int d_ff = 96;
  int n_vocab = 100;
  int window = 24;
  bool tied_head = true;
  DType matrices = DType::kF32;  ///< or kQ8_0, GGUF only
  unsigned seed = 1;
  float head_gain = 1.0f;  ///< what a head that is not tied multiplies its logits by; at 1 they lie within some 8
};

/// A GGUF file. Llama's query and key rows are permuted, Gemma's norms are stored with 1 added, as converters do.
std::string toy_gguf(const ToyModel& model);

/// config.json and model.safetensors (F32).
std::string toy_config(const ToyModel& model);
std::string toy_safetensors(const ToyModel& model);

}  // namespace commissure::testing
