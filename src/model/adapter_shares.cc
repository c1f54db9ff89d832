#include "model/adapter_shares.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include "kernels/low_rank.h"
#include "model/role_names.h"
#include "weights/header_reader.h"

namespace commissure {
namespace {

using Part = AdapterTensor::Part;

constexpr std::array kRoles = {TensorRole::kQuery, TensorRole::kKey, TensorRole::kValue, TensorRole::kAttentionOutput,
                               TensorRole::kGate,  TensorRole::kUp,  TensorRole::kDown};

/// "model.layers.3.self_attn.q_proj" or "blk.3.attn_q", taken apart.
struct ModulePlace {
  int layer = 0;
  std::string_view name;  ///< "self_attn.q_proj"
};

std::optional<ModulePlace> place_of(std::string_view module, bool is_gguf) {
  constexpr std::array<std::string_view, 5> kPrefixes = {"model.layers.", "model.language_model.layers.",
                                                         "language_model.model.layers.", "language_model.layers.",
                                                         "layers."};
  const auto rest_behind = [&](std::string_view prefix) {
    return module.starts_with(prefix) ? module.substr(prefix.size()) : std::string_view();
  };
  std::string_view rest = is_gguf ? rest_behind("blk.") : std::string_view();
  for (auto prefix = kPrefixes.begin(); !is_gguf && rest.empty() && prefix != kPrefixes.end(); ++prefix) {
    rest = rest_behind(*prefix);
  }
  ModulePlace place;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), place.layer);
  const auto n_digits = static_cast<std::size_t>(end - rest.data());
  if (error != std::errc() || place.layer < 0 || n_digits >= rest.size() || rest[n_digits] != '.') return std::nullopt;
  place.name = rest.substr(n_digits + 1);
  return place;
}

/// Whether the family's GGUF files hold the rows of queries and keys in another order than transformers' files.
bool turns_heads(const DecoderSpec& spec) {
  constexpr std::array<std::string_view, 6> kFamilies = {"granite", "llama",    "ministral3",
                                                         "mistral", "mistral3", "smollm3"};
  return std::ranges::find(kFamilies, spec.architecture) != kFamilies.end();
}

class ShareFinder {
 public:
  ShareFinder(const DecoderSpec& spec, const AdapterReader& reader) : spec_(spec), reader_(reader) {}

  Result<std::vector<AdapterShare>> find() {
    for (const AdapterTensor& tensor : reader_.tensors()) TRY(place(tensor));
    std::vector<AdapterShare> shares;
    for (auto& [key, share] : shares_) {
      TRY(check(share));
      shares.push_back(std::move(share));
    }
    return shares;
  }

 private:
  Error cannot_change(const AdapterTensor& tensor) const {
    return Error(
        Code::kUnimplemented, reader_.name(), ": tensor ", printable(tensor.info.name),
        " changes no matrix that adapters can change in this model: queries, keys, values, attention's output, "
        "gate, up and down of its ",
        spec_.n_layers(), " layers (where a layer has them as matrices of its own)");
  }

  /// Our matrices behind a module's name; none: it has no such name.
  std::vector<TensorRole> roles_of(const ModulePlace& place) const {
    const bool is_gguf = reader_.is_gguf();
    const auto is_called = [&](const RoleName& name) { return place.name == (is_gguf ? name.gguf : name.safetensors); };
    const LayerSpec& layer = spec_.layers[place.layer];
    if (spec_.naming.fused_qkv && is_called({"attn_qkv", "self_attn.qkv_proj"})) {
      return {TensorRole::kQuery, TensorRole::kKey, TensorRole::kValue};
    }
    if (spec_.naming.fused_gate_up && is_called({"ffn_up", "mlp.gate_up_proj"})) {
      return {TensorRole::kGate, TensorRole::kUp};
    }
    for (const TensorRole role : kRoles) {
      if (is_called(role_name(role, layer))) return {role};
    }
    return {};
  }

  /// Shapes of a layer's matrices by role.
  const std::map<TensorRole, std::vector<std::int64_t>>& matrices_of(int layer) {
    const auto [found, is_new] = matrices_.try_emplace(layer);
    if (!is_new) return found->second;
    const ModelPart part = {.first_layer = layer, .last_layer = layer + 1, .has_embedding = false, .has_head = false};
    for (ExpectedTensor& tensor : expected_tensors(spec_, part)) {
      if (std::ranges::find(kRoles, tensor.role) != kRoles.end()) {
        found->second.emplace(tensor.role, std::move(tensor.shape));
      }
    }
    return found->second;
  }

  Status place(const AdapterTensor& tensor) {
    const auto at = place_of(tensor.module, reader_.is_gguf());
    if (!at || at->layer >= spec_.n_layers()) return cannot_change(tensor);
    const auto& matrices = matrices_of(at->layer);
    std::int64_t n_rows = 0;
    const std::vector<TensorRole> roles = roles_of(*at);
    for (const TensorRole role : roles) {
      const auto matrix = matrices.find(role);
      if (matrix == matrices.end()) return cannot_change(tensor);
      AdapterShare& share = shares_[{at->layer, role}];
      const AdapterTensor*& part = tensor.part == Part::kDown ? share.down
                                   : tensor.part == Part::kUp ? share.up
                                                              : share.magnitude;
      if (part != nullptr || (!share.module.empty() && share.module != tensor.module)) {
        return Error(Code::kInvalidArgument, reader_.name(), ": tensors ", printable(tensor.info.name), " and ",
                     printable(part != nullptr ? part->info.name : share.module), " change the same matrix");
      }
      part = &tensor;
      share.layer = at->layer;
      share.role = role;
      share.module = tensor.module;
      share.n_outputs = matrix->second[0];
      share.n_inputs = matrix->second[1];
      share.first_output = n_rows;
      share.n_turned_heads = turned_heads(at->layer, role);
      n_rows += share.n_outputs;
    }
    if (roles.empty()) return cannot_change(tensor);
    for (const TensorRole role : roles) file_rows_[{at->layer, role}] = n_rows;
    return {};
  }

  int turned_heads(int layer, TensorRole role) const {
    const bool is_gguf_model = spec_.naming.format == CheckpointFormat::kGguf;
    if (!turns_heads(spec_) || is_gguf_model == reader_.is_gguf()) return 0;
    const HeadLayout& heads = spec_.layers[layer].heads;
    const int n = role == TensorRole::kQuery ? heads.n_heads : role == TensorRole::kKey ? heads.n_kv_heads : 0;
    return is_gguf_model ? n : -n;
  }

  Status check(const AdapterShare& share) const {
    const AdapterTensor* any = share.down != nullptr ? share.down : share.up != nullptr ? share.up : share.magnitude;
    if (share.down == nullptr || share.up == nullptr) {
      return Error(Code::kInvalidArgument, reader_.name(), ": of ", printable(any->module), " only ",
                   printable(any->info.name), " is there; an adapter has two matrices of each module");
    }
    if (reader_.is_dora() != (share.magnitude != nullptr)) {
      return Error(Code::kInvalidArgument, reader_.name(), ": ", printable(any->module),
                   " has no lora_magnitude_vector, which use_dora asks for");
    }
    const std::vector<std::int64_t>& down = share.down->info.shape;
    const std::int64_t rank = down.empty() ? 0 : down[0];
    const std::int64_t n_rows = file_rows_.at({share.layer, share.role});
    if (rank < 1 || rank > kMaxAdapterRank) {
      return Error(Code::kInvalidArgument, reader_.name(), ": tensor ", printable(share.down->info.name), " has shape ",
                   shape_text(down), "; a rank is 1 to ", kMaxAdapterRank);
    }
    TRY(check_shape(*share.down, {rank, share.n_inputs}));
    TRY(check_shape(*share.up, {n_rows, rank}));
    if (share.magnitude != nullptr) TRY(check_shape(*share.magnitude, {n_rows}));
    TRY(reader_.scale_of(share.module, rank));
    return {};
  }

  Status check_shape(const AdapterTensor& tensor, const std::vector<std::int64_t>& expected) const {
    if (tensor.info.shape == expected) return {};
    return Error(Code::kInvalidArgument, reader_.name(), ": tensor ", printable(tensor.info.name), " has shape ",
                 shape_text(tensor.info.shape), ", this model and the adapter's other tensors ask for ",
                 shape_text(expected), "; is it an adapter of this model?");
  }

  using Place = std::pair<int, TensorRole>;
  const DecoderSpec& spec_;
  const AdapterReader& reader_;
  std::map<int, std::map<TensorRole, std::vector<std::int64_t>>> matrices_;
  std::map<Place, AdapterShare> shares_;
  std::map<Place, std::int64_t> file_rows_;  // of `up`, where several of ours are one of the file's
};

}  // namespace

Result<std::vector<AdapterShare>> find_adapter_shares(const DecoderSpec& spec, const AdapterReader& reader) {
  return ShareFinder(spec, reader).find();
}

}  // namespace commissure
