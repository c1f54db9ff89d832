#include "support/family_model.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "core/index.h"
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
  const bool is_table = holds(name, "embed_tokens.") || holds(name, "lm_head");
  const float scale = is_table ? 0.0234375f : 2.0f / std::sqrt(static_cast<float>(shape.back()));
  const float centre = name.ends_with("linear_attn.norm.weight") ? 1.0f : norm_centre;
  for (float& value : values) {
    if (name.ends_with("A_log")) {
      value = 2.0f * value - 2.0f;
    } else if (name.ends_with(".bias") || name.ends_with("_bias")) {
      value = 0.5f * value;
    } else {
      value = shape.size() == 1 ? centre + 0.25f * value : value * scale;
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
    } else if (value.is_array() && value.front().is_boolean()) {
      writer.booleans(key, value.get<std::vector<bool>>());
    } else if (value.is_array()) {
      writer.ints(key, value.get<std::vector<std::int32_t>>());
    } else {
      writer.text(key, value.get<std::string>());
    }
  }
}

std::vector<float> values_in(const FamilyCase& family, const std::string& name,
                             const std::vector<std::int64_t>& shape) {
  const auto type = family.config["model_type"].get<std::string>();
  const float norm_centre = type == "gemma2" || type == "gemma3_text" || type.starts_with("qwen3_5") ? 0.0f : 1.0f;
  std::vector<float> values = values_of(name, shape, norm_centre);
  if (family.config["model_type"] == "gpt_oss" && name.ends_with("experts.gate_up_proj")) {
    for (float& value : values) value *= 4.0f;
  }
  if (type.starts_with("qwen3_5") && (holds(name, "embed_tokens") || holds(name, "lm_head"))) {
    for (float& value : values) value *= 0.3125f;
  }
  if (type.starts_with("qwen3_5") && (holds(name, "q_norm") || holds(name, "k_norm"))) {
    for (float& value : values) value += 0.75f;
  }
  if (type.starts_with("qwen3_5") && (holds(name, "o_proj") || holds(name, "dt_bias"))) {
    for (float& value : values) value *= 2.0f;
  }
  if (family.config["model_type"] == "gemma4_text" && holds(name, "q_norm")) {
    for (float& value : values) value *= 0.125f;
  }
  if (family.config["model_type"] == "gemma4_text" && holds(name, "router.scale")) {
    for (float& value : values) value *= 8.0f;
  }
  const bool is_altered = !family.altered.empty() && holds(name, family.altered.c_str());
  for (std::size_t i = 0; is_altered && i < values.size(); i += 2) values[i] *= 0.5f;
  return values;
}

bool is_bytes(const std::string& name) { return name.ends_with("_blocks") || name.ends_with("_scales"); }

/// As mxfp4() in the script: codes or exponents.
std::string bytes_in(const FamilyCase& family, const std::string& name, const std::vector<std::int64_t>& shape) {
  std::int64_t n = 1;
  for (const std::int64_t size : shape) n *= size;
  const bool is_altered = !family.altered.empty() && holds(name, family.altered.c_str());
  const int least = holds(name, "gate_up") ? 121 : 117;
  std::string bytes;
  for (const float value : noise(name, kSeed, n)) {
    const int byte = name.ends_with("_blocks") ? static_cast<int>((value + 1.0f) * 128.0f)
                                               : least + static_cast<int>(std::abs(value) * 4.0f);
    const bool changes = is_altered && bytes.size() % 2 == 0;
    bytes += static_cast<char>(changes ? byte ^ (name.ends_with("_blocks") ? 0x88 : 1) : byte);
  }
  return bytes;
}

/// In F32, or, where it is no vector, in the type that is asked for.
void write_matrix(const std::string& name, const std::vector<std::int64_t>& shape, const std::vector<float>& values,
                  DType matrices, GgufWriter& writer) {
  if (shape.size() == 1 || matrices == DType::kF32 || name.ends_with("ssm_conv1d.weight")) {
    writer.tensor(float_tensor(name, shape, values));
  } else {
    writer.tensor({name, DType::kQ8_0, shape, q8_0_bytes(values)});
  }
}

/// Every `step`-th value from `first` on.
std::vector<float> picked(const std::vector<float>& values, std::size_t first, std::size_t step) {
  std::vector<float> some;
  for (std::size_t i = first; i < values.size(); i += step) some.push_back(values[i]);
  return some;
}

/// [experts, inputs, outputs], outputs `first`, `first` + step, ... as GGUF has them: [experts, outputs, inputs].
std::vector<float> turned(const std::vector<float>& values, const std::vector<std::int64_t>& shape, int first,
                          int step) {
  std::vector<float> out;
  for (std::int64_t expert = 0; expert < shape[0]; ++expert) {
    for (std::int64_t o = first; o < shape[2]; o += step) {
      for (std::int64_t i = 0; i < shape[1]; ++i) {
        out.push_back(values[static_cast<std::size_t>((expert * shape[1] + i) * shape[2] + o)]);
      }
    }
  }
  return out;
}

/// MXFP4 of GGUF: rows `first`, `first` + step, ... of all experts, exponents beside codes, whose order is another one.
std::string joined_blocks(const std::string& codes, const std::string& exponents, std::int64_t n_blocks, int first,
                          int step) {
  std::string out;
  const auto n_rows = static_cast<std::int64_t>(exponents.size()) / n_blocks;
  for (std::int64_t row = first; row < n_rows; row += step) {
    for (std::int64_t block = row * n_blocks; block < (row + 1) * n_blocks; ++block) {
      const auto code = [&](int i) {
        const auto byte = static_cast<unsigned char>(codes[static_cast<std::size_t>(block * 16 + i / 2)]);
        return i % 2 == 0 ? byte & 15 : byte >> 4;
      };
      out += exponents[static_cast<std::size_t>(block)];
      for (int i = 0; i < 16; ++i) out += static_cast<char>(code(i) | code(i + 16) << 4);
    }
  }
  return out;
}

/// gpt-oss's experts as its converter writes them: gate and up apart.
void write_oss_experts(const FamilyCase& family, const std::string& name, std::vector<std::int64_t> shape,
                       DType matrices, GgufWriter& writer) {
  const std::string layer = name.substr(std::string("model.layers.").size(), 1);
  const bool is_fused = holds(name, "gate_up_proj");
  const int step = is_fused ? 2 : 1;
  if (name.ends_with("_scales")) return;  // with the blocks
  for (int part = 0; part < step; ++part) {
    const std::string kind = !is_fused ? "down" : part == 0 ? "gate" : "up";
    const std::string gguf_name = "blk." + layer + ".ffn_" + kind + "_exps";
    if (name.ends_with("_bias")) {
      const auto values = picked(values_in(family, name, shape), static_cast<std::size_t>(part), to_size(step));
      writer.tensor(float_tensor(gguf_name + ".bias", {shape[0], shape[1] / step}, values));
    } else if (name.ends_with("_blocks")) {
      std::string scales = name;
      scales.replace(scales.size() - 6, 6, "scales");
      const std::string exponents = bytes_in(family, scales, {shape[0], shape[1], shape[2]});
      writer.tensor({gguf_name + ".weight",
                     DType::kMXFP4,
                     {shape[0], shape[1] / step, 32 * shape[2]},
                     joined_blocks(bytes_in(family, name, shape), exponents, shape[2], part, step)});
    } else {
      write_matrix(gguf_name + ".weight", {shape[0], shape[2] / step, shape[1]},
                   turned(values_in(family, name, shape), shape, part, step), matrices, writer);
    }
  }
}

/// How many heads' rows a converter interleaves in this tensor; 0: none.
int interleaved_heads(const FamilyCase& family, const std::string& name) {
  if (!family.gguf["permuted"].get<bool>()) return 0;
  if (holds(name, "q_proj")) return family.config["num_attention_heads"].get<int>();
  return holds(name, "k_proj") ? family.config["num_key_value_heads"].get<int>() : 0;
}

/// Blocks of `width` values in another order, behind the first `n_before` values: block i is the one that order[i]
/// says.
void reorder(std::vector<float>& values, std::size_t n_before, std::size_t width,
             const std::vector<std::size_t>& order) {
  const std::vector<float> old = values;
  for (std::size_t at = n_before; at < values.size(); ++at) {
    const std::size_t block = (at - n_before) / width, period = block / order.size() * order.size();
    values[at] = old[n_before + (period + order[block % order.size()]) * width + (at - n_before) % width];
  }
}

/// What the converter of Qwen 3.5 does with a delta net's tensors: the rate is no logarithm, and value heads that share
/// a key head are no neighbours any more.
void convert_delta(const FamilyCase& family, const std::string& name, std::vector<std::int64_t>& shape,
                   std::vector<float>& values) {
  const auto of = [&](const char* key) { return family.config[key].get<std::size_t>(); };
  const std::size_t n_keys = of("linear_num_key_heads"), n_values = of("linear_num_value_heads");
  const std::size_t key_dim = of("linear_key_head_dim"), value_dim = of("linear_value_head_dim");
  std::vector<std::size_t> tiled(n_values);
  for (std::size_t i = 0; i < n_values; ++i) tiled[i] = i % n_keys * (n_values / n_keys) + i / n_keys;
  const auto n_cols = static_cast<std::size_t>(shape.back());
  if (name.ends_with("A_log")) {
    for (float& value : values) value = -std::exp(value);
  }
  if (shape.size() == 3) shape = {shape[0], shape[2]};
  if (name.ends_with("A_log") || name.ends_with("dt_bias")) reorder(values, 0, 1, tiled);
  if (holds(name, "in_proj_a") || holds(name, "in_proj_b")) reorder(values, 0, n_cols, tiled);
  if (holds(name, "in_proj_z")) reorder(values, 0, value_dim * n_cols, tiled);
  if (holds(name, "out_proj")) reorder(values, 0, value_dim, tiled);
  if (holds(name, "in_proj_qkv") || holds(name, "conv1d")) {
    reorder(values, 2 * n_keys * key_dim * n_cols, value_dim * n_cols, tiled);
  }
}

void add_cases(const std::string& path, std::vector<FamilyCase>& cases) {
  const auto file = parse_json(read_file(path));
  if (!file) std::abort();  // part of the source tree
  for (const Json& entry : (*file)["cases"]) {
    cases.push_back({.name = entry["name"].get<std::string>(),
                     .config = entry["config"],
                     .shapes = entry["shapes"],
                     .gguf = entry.value("gguf", Json()),
                     .ids = entry["ids"].get<std::vector<int>>(),
                     .logprobs = entry["logprobs"].get<std::vector<double>>(),
                     .top1 = entry["top1"].get<std::vector<int>>()});
  }
}

}  // namespace

std::vector<FamilyCase> family_cases(const std::string& folder) {
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".json") paths.push_back(entry.path());
  }
  std::ranges::sort(paths);
  std::vector<FamilyCase> cases;
  for (const std::string& path : paths) add_cases(path, cases);
  return cases;
}

void write_family_safetensors(const FamilyCase& family, const TempFolder& folder) {
  std::vector<ToyTensor> tensors;
  for (const auto& [name, sizes] : family.shapes.items()) {
    const std::vector<std::int64_t> shape = shape_of(sizes);
    tensors.push_back(is_bytes(name) ? ToyTensor{name, DType::kU8, shape, bytes_in(family, name, shape)}
                                     : float_tensor(name, shape, values_in(family, name, shape)));
  }
  folder.write("config.json", dump_json(family.config));
  folder.write("model.safetensors", safetensors_bytes(tensors));
}

std::string family_gguf(const FamilyCase& family, DType matrices) {
  GgufWriter writer;
  writer.text("general.architecture", family.gguf["architecture"].get<std::string>());
  write_header(family.gguf["header"], writer);
  for (const auto& [name, sizes] : family.shapes.items()) {
    std::vector<std::int64_t> shape = shape_of(sizes);
    if (family.config["model_type"] == "gpt_oss" && holds(name, ".experts.")) {
      write_oss_experts(family, name, shape, matrices, writer);
      continue;
    }
    if (!family.gguf["names"].contains(name)) continue;  // an expert's, in one of the stacked tensors
    std::vector<float> values = values_in(family, name, shape);
    if (holds(name, ".linear_attn.")) convert_delta(family, name, shape, values);
    if (shape.size() == 1 && holds(name, "norm") && !holds(name, ".linear_attn.")) {
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
