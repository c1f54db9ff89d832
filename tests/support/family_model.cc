#include "support/family_model.h"

#include <cmath>
#include <cstdint>
#include <cstdlib>

#include "support/checkpoint_writer.h"
#include "support/golden_files.h"
#include "support/toy_values.h"

namespace commissure::testing {
namespace {

constexpr std::uint64_t kSeed = 20261129;

std::vector<std::int64_t> shape_of(const Json& shape) { return shape.get<std::vector<std::int64_t>>(); }

bool holds(const std::string& name, const char* part) { return name.find(part) != std::string::npos; }

/// As weights() in the script.
std::vector<float> values_of(const std::string& name, const std::vector<std::int64_t>& shape, float norm_centre) {
  std::int64_t n = 1;
  for (const std::int64_t size : shape) n *= size;
  std::vector<float> values = noise(name, kSeed, n);
  const bool is_table = holds(name, "embed_tokens") || holds(name, "lm_head");
  const float scale = is_table ? 0.0234375f : 2.0f / std::sqrt(static_cast<float>(shape.back()));
  for (float& value : values) {
    if (name.ends_with(".bias")) {
      value = 0.5f * value;
    } else {
      value = shape.size() == 1 ? norm_centre + 0.25f * value : value * scale;
    }
  }
  return values;
}

void write_header(const Json& header, GgufWriter& writer) {
  for (const auto& [key, value] : header.items()) {
    if (value.is_number_integer()) {
      writer.u32(key, value.get<std::uint32_t>());
    } else if (value.is_number()) {
      writer.f32(key, value.get<float>());
    } else if (value.is_boolean()) {
      writer.boolean(key, value.get<bool>());
    } else {
      writer.text(key, value.get<std::string>());
    }
  }
}

std::vector<float> values_in(const FamilyCase& family, const std::string& name,
                             const std::vector<std::int64_t>& shape) {
  const float norm_centre = family.config["model_type"] == "gemma2" ? 0.0f : 1.0f;
  std::vector<float> values = values_of(name, shape, norm_centre);
  const bool is_altered = !family.altered.empty() && holds(name, family.altered.c_str());
  for (std::size_t i = 0; is_altered && i < values.size(); i += 2) values[i] *= 0.5f;
  return values;
}

/// In F32, or, where it is no vector, in the type that is asked for.
void write_matrix(const std::string& name, const std::vector<std::int64_t>& shape, const std::vector<float>& values,
                  DType matrices, GgufWriter& writer) {
  if (shape.size() == 1 || matrices == DType::kF32) {
    writer.tensor(float_tensor(name, shape, values));
  } else {
    writer.tensor({name, DType::kQ8_0, shape, q8_0_bytes(values)});
  }
}

/// How many heads' rows a converter interleaves in this tensor; 0: none.
int interleaved_heads(const FamilyCase& family, const std::string& name) {
  if (!family.gguf["permuted"].get<bool>()) return 0;
  if (holds(name, "q_proj")) return family.config["num_attention_heads"].get<int>();
  return holds(name, "k_proj") ? family.config["num_key_value_heads"].get<int>() : 0;
}

}  // namespace

std::vector<FamilyCase> family_cases(const std::string& folder) {
  const auto file = parse_json(read_file(folder + "/cases.json"));
  if (!file) std::abort();  // part of the source tree
  std::vector<FamilyCase> cases;
  for (const Json& entry : (*file)["cases"]) {
    cases.push_back({.name = entry["name"].get<std::string>(),
                     .config = entry["config"],
                     .shapes = entry["shapes"],
                     .gguf = entry.value("gguf", Json()),
                     .ids = entry["ids"].get<std::vector<int>>(),
                     .logprobs = entry["logprobs"].get<std::vector<double>>(),
                     .top1 = entry["top1"].get<std::vector<int>>()});
  }
  return cases;
}

void write_family_safetensors(const FamilyCase& family, const TempFolder& folder) {
  std::vector<ToyTensor> tensors;
  for (const auto& [name, sizes] : family.shapes.items()) {
    const std::vector<std::int64_t> shape = shape_of(sizes);
    tensors.push_back(float_tensor(name, shape, values_in(family, name, shape)));
  }
  folder.write("config.json", dump_json(family.config));
  folder.write("model.safetensors", safetensors_bytes(tensors));
}

std::string family_gguf(const FamilyCase& family, DType matrices) {
  GgufWriter writer;
  writer.text("general.architecture", family.gguf["architecture"].get<std::string>());
  write_header(family.gguf["header"], writer);
  for (const auto& [name, sizes] : family.shapes.items()) {
    const std::vector<std::int64_t> shape = shape_of(sizes);
    if (!family.gguf["names"].contains(name)) continue;  // an expert's, in one of the stacked tensors
    std::vector<float> values = values_in(family, name, shape);
    if (shape.size() == 1 && holds(name, "norm")) {
      for (float& value : values) value += family.gguf["norm_offset"].get<float>();
    }
    if (const int n_heads = interleaved_heads(family, name); n_heads > 0) {
      values = interleaved_rows(values, n_heads, shape.size() == 1 ? 1 : shape[1]);
    }
    const auto gguf_name = family.gguf["names"][name].get<std::string>();
    if (shape.size() == 2 && shape[0] == 1) {
      writer.tensor(float_tensor(gguf_name, {shape[1]}, values));  // converters drop the first dimension
    } else {
      write_matrix(gguf_name, shape, values, matrices, writer);
    }
  }
  for (const auto& [gguf_name, names] : family.gguf["stacked"].items()) {
    std::vector<float> all;
    std::vector<std::int64_t> shape;
    for (const Json& name : names) {
      shape = shape_of(family.shapes[name.get<std::string>()]);
      const std::vector<float> values = values_in(family, name.get<std::string>(), shape);
      all.insert(all.end(), values.begin(), values.end());
    }
    shape.insert(shape.begin(), static_cast<std::int64_t>(names.size()));
    write_matrix(gguf_name, shape, all, matrices, writer);
  }
  for (const auto& [gguf_name, list] : family.gguf["lists"].items()) {
    writer.tensor(float_tensor(gguf_name, {static_cast<std::int64_t>(list.size())}, list.get<std::vector<float>>()));
  }
  if (const auto divisors = family.gguf["rope_freqs"].get<std::vector<float>>(); !divisors.empty()) {
    writer.tensor(float_tensor("rope_freqs.weight", {static_cast<std::int64_t>(divisors.size())}, divisors));
  }
  return writer.bytes();
}

}  // namespace commissure::testing
