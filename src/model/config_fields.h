#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/dtype.h"
#include "core/json.h"
#include "core/result.h"
#include "model/raw_spec.h"

/// Shared by the readers of config.json, one file or more for all families.
namespace commissure {

/// Reads members of a config.json object; the first failure names the field. null counts as absent.
class ConfigFields {
 public:
  explicit ConfigFields(const Json& object) : object_(object) {}

  const Json* find(std::string_view name) const { return find_member(object_, name); }
  /// Whether the field is there, if only as null.
  bool has(std::string_view name) const { return object_.contains(name); }

  Result<std::int64_t> integer(std::string_view name) const {
    if (find(name) == nullptr) return Error(Code::kInvalidArgument, "config.json: ", name, " is missing");
    return integer_or(name, 0);
  }

  Result<std::int64_t> integer_or(std::string_view name, std::int64_t fallback) const {
    const Json* value = find(name);
    if (value == nullptr) return fallback;
    const bool fits =
        value->is_number_integer() && (!value->is_number_unsigned() || value->get<std::uint64_t>() < (1ull << 62));
    if (!fits) return Error(Code::kInvalidArgument, "config.json: ", name, " must be an integer");
    return value->get<std::int64_t>();
  }

  Result<double> number_or(std::string_view name, double fallback) const {
    const Json* value = find(name);
    if (value == nullptr) return fallback;
    if (!value->is_number()) return Error(Code::kInvalidArgument, "config.json: ", name, " must be a number");
    return value->get<double>();
  }

  Result<bool> boolean_or(std::string_view name, bool fallback) const {
    const Json* value = find(name);
    if (value == nullptr) return fallback;
    if (!value->is_boolean()) return Error(Code::kInvalidArgument, "config.json: ", name, " must be true or false");
    return value->get<bool>();
  }

  Result<std::string> text_or(std::string_view name, std::string fallback) const {
    const Json* value = find(name);
    if (value == nullptr) return fallback;
    if (!value->is_string()) return Error(Code::kInvalidArgument, "config.json: ", name, " must be a string");
    return value->get<std::string>();
  }

 private:
  const Json& object_;
};

/// What nearly all families say with the same words. Errors: kInvalidArgument and kUnimplemented, naming the field.
Result<RawSpec> read_common(const ConfigFields& fields);

/// What a family means where its config.json says nothing, and what else it may say.
struct Defaults {
  std::int64_t head_dim = 0;  ///< 0: the even share of the width
  double rope_theta = 10000.0;
  bool tied_head = false;
  bool reads_rope = true;  ///< false: the family's own reader does
};

/// A Llama, and every family that says things as Llama does. Errors: as read_common.
Result<RawSpec> read_llama(const ConfigFields& fields, const Defaults& defaults = {});

/// `scaling` is a rope_scaling or rope_parameters object; it may carry theta itself (the newer form).
Result<RawRope> read_rope(const Json* scaling, double theta, std::int64_t n_context);

/// The older form keeps theta and rope_scaling apart, the newer has rope_parameters, per layer type or flat.
const Json* rope_object(const ConfigFields& fields, std::string_view layer_type);

/// RawSpec::sliding of a layer_types list.
Result<std::vector<bool>> read_layer_types(const Json& types);

/// transformers multiplies by sqrt(width) in the embedding's own type.
double rounded_embedding_scale(std::int64_t d_model, DType dtype);

/// Errors: kUnimplemented, only a part of every head is rotated.
Status refuse_partial_rotation(const ConfigFields& fields);

/// Gemma 4's text model, from its text_config.
Result<RawSpec> read_gemma4(const ConfigFields& fields, DType embedding_dtype);

/// Mistral, and the text model of Mistral Small with an image encoder.
Result<RawSpec> read_mistral(const ConfigFields& fields);

/// A Mistral whose queries grow with their position. Without rope_parameters they are those of the published models.
Result<RawSpec> read_ministral3(const ConfigFields& fields);

/// Phi 3, 3.5, 4 and 4-mini.
Result<RawSpec> read_phi3(const ConfigFields& fields);

/// gpt-oss. Errors: as read_common.
Result<RawSpec> read_gpt_oss(const ConfigFields& fields);

/// Qwen 3.5, whose architecture Qwen 3.6 and 3.8 have too.
Result<RawSpec> read_qwen35(const ConfigFields& fields, bool has_experts);

/// Experts of Qwen's families: Qwen 2 (with an expert that every row takes) and 3.
Status read_qwen_experts(const ConfigFields& fields, bool has_shared, RawSpec& raw);

}  // namespace commissure
