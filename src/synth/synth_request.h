#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/dtype.h"
#include "core/result.h"
#include "synth/shapes.h"
#include "weights/checkpoint.h"

namespace commissure {

/// Layers of a model, both named ones included.
struct LayerSpan {
  int first = 0;
  int last = 0;

  int count() const { return last - first + 1; }
  bool operator==(const LayerSpan&) const = default;
};

/// A model of random weights.
struct SynthRequest {
  const Shape* shape = nullptr;
  std::optional<LayerSpan> layers;  ///< these alone, with embedding and head; absent: all
  std::uint64_t seed = 1;
  CheckpointFormat format = CheckpointFormat::kSafetensors;
  DType dtype = DType::kBF16;  ///< of matrices
  int scale_down = 1;          ///< widths, heads, experts, vocabulary and windows are divided by it
  bool has_vision = false;     ///< an image encoder beside the text model; safetensors of Gemma 3
  std::string tokenizer;       ///< the model whose tokenizer it gets; "": one of its own
};

/// What options look like, on the command line as in a name. Errors: kInvalidArgument, with what is taken.
Result<LayerSpan> parse_layer_span(std::string_view text);
Result<CheckpointFormat> parse_synth_format(std::string_view text);
Result<DType> parse_synth_dtype(std::string_view text);
/// An integer of 1 to 64.
Result<int> parse_scale_down(std::string_view text);
Result<std::uint64_t> parse_seed(std::string_view text);
/// "on" or "off".
Result<bool> parse_switch(std::string_view text, std::string_view what);

/// A request for the shape of this name; with "-tiny" behind it for one that is quickly run: scaled down as far as can
/// be, and as many of the first layers as show all kinds. Errors: as find_shape.
Result<SynthRequest> request_for(std::string_view shape_name);

/// Whether a model's name is one of a model that is made up: "synth:...".
bool is_synth_name(std::string_view name);

/// "synth:SHAPE[-tiny][@FIRST-LAST][?SEED]"; behind the question mark also KEY=VALUE apart by "&": seed, format, dtype,
/// scale-down, vision (on or off), tokenizer.
/// Errors: kInvalidArgument, with what is taken; kNotFound, as find_shape; as check_request.
Result<SynthRequest> parse_synth_name(std::string_view name);

/// The name that is parsed to this request, what is by default left out.
std::string synth_name(const SynthRequest& request);

/// What the API calls the model: "synth-gemma-3-27b", and what it has unlike the published one:
/// "synth-gemma-3-27b-layers-20-43-scale-down-8-seed-7-f16-gguf".
std::string served_synth_name(const SynthRequest& request);

/// Errors: kInvalidArgument, layers that the shape does not have, a type that the format does not have, an image
/// encoder where the shape or the format has none, or a tokenizer that a name cannot hold or that is a model of random
/// weights itself.
Status check_request(const SynthRequest& request);

}  // namespace commissure
