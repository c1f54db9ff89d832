#include "weights/adapter_config.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/json.h"
#include "kernels/low_rank.h"
#include "weights/header_reader.h"

namespace commissure {

/// Reads the members of one file; the first failure names the file and the member.
class AdapterConfigReader {
 public:
  AdapterConfigReader(const Json& json, const std::string& name) : json_(json), name_(name) {}

  Result<AdapterConfig> read() {
    if (!json_.is_object()) return problem("it is no JSON object");
    TRY(refuse_other_methods());
    AdapterConfig config;
    config.is_dora_ = TRY(flag("use_dora"));
    config.is_rank_stabilised_ = TRY(flag("use_rslora"));
    config.rank_ = TRY(rank_in("r", json_.contains("r") ? json_["r"] : Json()));
    config.alpha_ = TRY(alpha_in("lora_alpha", json_.contains("lora_alpha") ? json_["lora_alpha"] : Json(8)));
    TRY(read_patterns("rank_pattern", config.ranks_, [this](const auto&... at) { return rank_in(at...); }));
    TRY(read_patterns("alpha_pattern", config.alphas_, [this](const auto&... at) { return alpha_in(at...); }));
    return config;
  }

 private:
  template <typename... What>
  Error problem(const What&... what) const {
    return Error(Code::kInvalidArgument, name_, ": ", what...);
  }
  template <typename... What>
  Error refusal(const What&... what) const {
    return Error(Code::kUnimplemented, name_, ": ", what...);
  }

  Result<bool> flag(std::string_view key) const {
    const Json* value = find_member(json_, key);
    if (value == nullptr) return false;
    if (!value->is_boolean()) return problem(key, " must be true or false");
    return value->get<bool>();
  }

  Result<std::int64_t> rank_in(std::string_view key, const Json& value) const {
    const bool is_whole = value.is_number_unsigned() && value.get<std::uint64_t>() <= kMaxAdapterRank;
    if (!is_whole || value.get<std::int64_t>() < 1) return problem(key, " must be a rank of 1 to ", kMaxAdapterRank);
    return value.get<std::int64_t>();
  }

  Result<double> alpha_in(std::string_view key, const Json& value) const {
    constexpr double kMax = 1e6;
    if (value.is_number() && std::abs(value.get<double>()) <= kMax) return value.get<double>();
    return problem(key, " must be a number of at most ", kMax);
  }

  template <typename Value, typename Read>
  Status read_patterns(std::string_view key, std::vector<std::pair<NamePattern, Value>>& out, const Read& read) const {
    const Json* patterns = find_member(json_, key);
    if (patterns == nullptr) return {};
    if (!patterns->is_object()) return problem(key, " must be an object");
    if (patterns->size() > AdapterConfig::kMaxPatterns) {
      return problem(key, " has ", patterns->size(), " patterns, at most ", AdapterConfig::kMaxPatterns);
    }
    std::size_t n_repeating = 0;
    for (const auto& [text, value] : patterns->items()) {
      auto pattern = NamePattern::parse(text);
      if (!pattern) return pattern.error().within(fmt::format("{}: {}", name_, key));
      if (pattern->has_repeats() && ++n_repeating > AdapterConfig::kMaxRepeatingPatterns) {
        return problem(key, " has more than ", AdapterConfig::kMaxRepeatingPatterns, " patterns with repetitions");
      }
      out.emplace_back(*std::move(pattern), TRY(read(fmt::format("{} of {}", key, printable(text)), value)));
    }
    return {};
  }

  /// Whether a member is there and says more than null, false, or an empty list or object.
  bool says(std::string_view key) const {
    const Json* value = find_member(json_, key);
    return value != nullptr && !(value->is_boolean() && !value->get<bool>()) &&
           !((value->is_array() || value->is_object() || value->is_string()) && value->empty());
  }

  Status refuse_other_methods() const {
    const Json* type = find_member(json_, "peft_type");
    if (type == nullptr || !type->is_string() || *type != "LORA") {
      return refusal("peft_type is ", type == nullptr ? "missing" : printable(dump_json(*type)),
                     "; adapters of type \"LORA\" run (with use_rslora and use_dora)");
    }
    if (const Json* bias = find_member(json_, "bias"); bias != nullptr && *bias != "none") {
      return refusal("bias is ", printable(dump_json(*bias)), ": biases of adapters do not run, \"none\" does");
    }
    constexpr std::array<std::pair<std::string_view, std::string_view>, 12> kRefused = {{
        {"modules_to_save", "holds whole matrices of the model"},
        {"fan_in_fan_out", "turns matrices round"},
        {"target_parameters", "changes what no linear layer holds (fused experts)"},
        {"trainable_token_indices", "changes rows of the embedding"},
        {"layer_replication", "repeats layers of the model"},
        {"lora_bias", "adds biases"},
        {"use_qalora", "groups the inputs"},
        {"use_bdlora", "parts the matrices into blocks"},
        {"alora_invocation_tokens", "begins in the midst of a text"},
        {"arrow_config", "chooses among adapters"},
        {"kasa_config", "changes the base model's weights"},
        {"monteclora_config", "draws weights at random"},
    }};
    for (const auto& [key, what] : kRefused) {
      if (says(key)) return refusal(key, " ", what, ", which does not run; adapters of linear layers do");
    }
    return refuse_changed_base();
  }

  /// Some ways to begin leave a base model that is not the published one.
  Status refuse_changed_base() const {
    const Json* init = find_member(json_, "init_lora_weights");
    if (init == nullptr || init->is_boolean()) return {};
    for (const char* harmless : {"gaussian", "eva", "orthogonal"}) {
      if (*init == harmless) return {};
    }
    return refusal("init_lora_weights is ", printable(dump_json(*init)),
                   ", which changes the base model's weights, too; convert the adapter as PEFT's documentation says");
  }

  const Json& json_;
  const std::string& name_;
};

Result<AdapterConfig> AdapterConfig::parse(std::string_view text, const std::string& name) {
  const auto json = parse_json(text, 16);
  if (!json) return json.error().within(name);
  return AdapterConfigReader(*json, name).read();
}

std::int64_t AdapterConfig::rank_of(std::string_view module) const {
  const auto found = std::ranges::find_if(ranks_, [&](const auto& entry) { return entry.first.fits(module); });
  return found == ranks_.end() ? rank_ : found->second;
}

float AdapterConfig::scale_of(std::string_view module) const {
  const auto found = std::ranges::find_if(alphas_, [&](const auto& entry) { return entry.first.fits(module); });
  const double alpha = found == alphas_.end() ? alpha_ : found->second;
  const auto rank = static_cast<double>(rank_of(module));
  return static_cast<float>(alpha / (is_rank_stabilised_ ? std::sqrt(rank) : rank));
}

}  // namespace commissure
