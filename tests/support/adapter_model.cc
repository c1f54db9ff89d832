#include "support/adapter_model.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>

#include "support/checkpoint_writer.h"
#include "support/golden_files.h"
#include "support/toy_values.h"

namespace commissure::testing {
namespace {

constexpr std::uint64_t kSeed = 20261129;
constexpr std::string_view kPrefix = "base_model.model.";

bool holds(std::string_view name, std::string_view part) { return name.find(part) != std::string_view::npos; }

/// As values() in the script.
std::vector<float> values_of(const AdapterCase& adapter, const std::string& name,
                             const std::vector<std::int64_t>& shape) {
  std::int64_t n = 1;
  for (const std::int64_t size : shape) n *= size;
  std::vector<float> values = noise(name, kSeed, n);
  const float root = std::sqrt(static_cast<float>(shape.back()));
  const bool is_altered = !adapter.altered.empty() && holds(name, adapter.altered);
  for (std::size_t i = 0; i < values.size(); ++i) {
    float& value = values[i];
    if (shape.size() == 1) {
      value = 1.25f + 0.5f * value;
    } else {
      value = value * ((holds(name, ".lora_A.") ? 2.0f : 0.5f) / root);
    }
    if (is_altered && i % 2 == 0) value *= 0.5f;
  }
  return values;
}

ToyTensor tensor_of(std::string name, DType dtype, const std::vector<std::int64_t>& shape,
                    const std::vector<float>& values) {
  if (dtype == DType::kF32) return float_tensor(std::move(name), shape, values);
  std::string bytes;
  for (const float value : values) bytes += little_endian(dtype == DType::kF16 ? float_to_half(value) : to_bf16(value));
  return {std::move(name), dtype, shape, bytes};
}

/// How many heads' rows a converter interleaves in this tensor; 0: none.
int interleaved_heads(const FamilyCase& base, const std::string& name) {
  if (!base.gguf["permuted"].get<bool>() || holds(name, ".lora_A.")) return 0;
  if (holds(name, "q_proj")) return base.config["num_attention_heads"].get<int>();
  return holds(name, "k_proj") ? base.config["num_key_value_heads"].get<int>() : 0;
}

}  // namespace

std::vector<AdapterCase> adapter_cases(const std::string& golden) {
  const auto file = parse_json(read_file(golden + "/adapters.json"));
  if (!file) std::abort();  // part of the source tree
  const std::vector<FamilyCase> families = family_cases(golden + "/families");
  std::vector<AdapterCase> cases;
  for (const Json& entry : (*file)["cases"]) {
    const auto base = std::ranges::find(families, entry["base"].get<std::string>(), &FamilyCase::name);
    if (base == families.end()) std::abort();
    cases.push_back({.name = entry["name"].get<std::string>(),
                     .base = *base,
                     .config = entry["config"],
                     .shapes = entry["shapes"],
                     .logprobs = entry["logprobs"].get<std::vector<double>>(),
                     .top1 = entry["top1"].get<std::vector<int>>()});
  }
  return cases;
}

void write_peft_adapter(const AdapterCase& adapter, const TempFolder& folder, DType dtype) {
  std::vector<ToyTensor> tensors;
  for (const auto& [name, sizes] : adapter.shapes.items()) {
    const auto shape = sizes.get<std::vector<std::int64_t>>();
    tensors.push_back(tensor_of(name, dtype, shape, values_of(adapter, name, shape)));
  }
  folder.write("adapter_config.json", dump_json(adapter.config));
  folder.write("adapter_model.safetensors", safetensors_bytes(tensors));
}

std::string adapter_gguf(const AdapterCase& adapter) {
  const Json& gguf = adapter.base.gguf;
  GgufWriter writer;
  writer.text("general.type", "adapter").text("general.architecture", gguf["architecture"].get<std::string>());
  writer.text("adapter.type", "lora").f32("adapter.lora.alpha", adapter.config["lora_alpha"].get<float>());
  for (const auto& [name, sizes] : adapter.shapes.items()) {
    const auto shape = sizes.get<std::vector<std::int64_t>>();
    std::vector<float> values = values_of(adapter, name, shape);
    if (const int n = interleaved_heads(adapter.base, name); n > 0) values = interleaved_rows(values, n, shape[1]);
    const std::size_t end = name.find(".lora_");
    const std::string base = name.substr(kPrefix.size(), end - kPrefix.size()) + ".weight";
    const auto own = gguf["names"][base].get<std::string>();
    writer.tensor(float_tensor(own + (holds(name, ".lora_A.") ? ".lora_a" : ".lora_b"), shape, values));
  }
  return writer.bytes();
}

}  // namespace commissure::testing
