#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "model/config_fields.h"

namespace commissure {
namespace {

Result<std::vector<float>> read_factors(const ConfigFields& fields, std::string_view name) {
  const Json* list = fields.find(name);
  std::vector<float> factors;
  if (list != nullptr && list->is_array()) {
    for (const Json& factor : *list) {
      if (factor.is_number()) factors.push_back(factor.get<float>());
    }
  }
  if (list == nullptr || factors.empty() || factors.size() != list->size()) {
    return Error(Code::kInvalidArgument, "config.json: ", name, " must be a list of numbers");
  }
  return factors;
}

/// `rope` says "longrope"; both it and the whole configuration may name the context of the short factors.
Status read_long_rope(const ConfigFields& rope, const ConfigFields& config, RawSpec& raw) {
  double original = TRY(config.number_or("original_max_position_embeddings", 0.0));
  if (original == 0.0) original = TRY(rope.number_or("original_max_position_embeddings", 0.0));
  if (!(original > 1.0)) {
    return Error(Code::kInvalidArgument, "config.json: original_max_position_embeddings must be given with longrope");
  }
  // By the context that the model was made for, not by a text's length: what a row gives must not hang on what follows.
  const double ratio = static_cast<double>(raw.n_context) / original;
  raw.rope.divisors = TRY(read_factors(rope, ratio > 1.0 ? "long_factor" : "short_factor"));
  const double factor = TRY(rope.number_or("factor", ratio));
  raw.rope.magnitude = TRY(rope.number_or("attention_factor", long_rope_magnitude(factor, original)));
  return {};
}

}  // namespace

Result<RawSpec> read_phi3(const ConfigFields& fields) {
  RawSpec raw = TRY(read_llama(fields, {.reads_rope = false}));
  raw.norm_eps = TRY(fields.number_or("rms_norm_eps", 1e-5));
  raw.window = TRY(fields.integer_or("sliding_window", 0));
  const Json* object = rope_object(fields, "full_attention");
  const double theta = TRY(fields.number_or("rope_theta", 10000.0));
  double share = TRY(fields.number_or("partial_rotary_factor", 1.0));
  if (object == nullptr || !object->is_object()) {
    raw.rope = TRY(read_rope(object, theta, raw.n_context));
  } else {
    Json plain = *object;
    const ConfigFields rope(*object);
    share = TRY(rope.number_or("partial_rotary_factor", share));
    plain.erase("partial_rotary_factor");
    const std::string type = TRY(rope.text_or("rope_type", TRY(rope.text_or("type", "default"))));
    if (type == "longrope" || type == "su" || type == "yarn") {  // its older names in this family, as in transformers
      raw.rope.theta = TRY(rope.number_or("rope_theta", theta));
      TRY(read_long_rope(rope, fields, raw));
    } else {
      raw.rope = TRY(read_rope(&plain, theta, raw.n_context));
    }
  }
  if (!(share > 0.0 && share <= 1.0)) {
    return Error(Code::kInvalidArgument, "config.json: partial_rotary_factor must be above 0, and 1 at most");
  }
  raw.n_rotated = static_cast<std::int64_t>(static_cast<double>(raw.head_dim) * share);
  if (raw.n_rotated >= 2) return raw;
  return Error(Code::kInvalidArgument, "config.json: partial_rotary_factor leaves ", raw.n_rotated, " values of ",
               raw.head_dim, " in a head to rotate, must be 2 at least");
}

}  // namespace commissure
