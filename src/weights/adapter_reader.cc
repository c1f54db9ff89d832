#include "weights/adapter_reader.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <span>
#include <utility>

#include "core/index.h"
#include "kernels/quant.h"
#include "weights/adapter_file.h"
#include "weights/gguf.h"
#include "weights/header_reader.h"
#include "weights/location.h"
#include "weights/read_file.h"
#include "weights/safetensors.h"

namespace commissure {
namespace {

using Part = AdapterTensor::Part;

struct Ending {
  std::string_view text;
  Part part;
};
constexpr std::array<Ending, 2> kGgufEndings = {{{".weight.lora_a", Part::kDown}, {".weight.lora_b", Part::kUp}}};
constexpr std::array<Ending, 4> kPeftEndings = {{{".lora_A.weight", Part::kDown},
                                                 {".lora_B.weight", Part::kUp},
                                                 {".lora_magnitude_vector", Part::kMagnitude},
                                                 {".lora_magnitude_vector.weight", Part::kMagnitude}}};
constexpr std::string_view kPeftPrefix = "base_model.model.";

const Ending* ending_of(std::string_view name, std::span<const Ending> endings) {
  const auto found = std::ranges::find_if(endings, [&](const Ending& ending) { return name.ends_with(ending.text); });
  return found == endings.end() ? nullptr : &*found;
}

bool is_float(DType dtype) { return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16; }

/// An exponent of all ones says infinity or no number.
bool is_finite(DType dtype, std::span<const std::byte> bytes) {
  if (dtype == DType::kBF16) {
    for (std::size_t i = 1; i < bytes.size(); i += 2) {
      const auto high = std::to_integer<unsigned>(bytes[i]), low = std::to_integer<unsigned>(bytes[i - 1]);
      if ((high & 0x7fu) == 0x7fu && (low & 0x80u) != 0) return false;
    }
    return true;
  }
  for (std::size_t i = 0; i + sizeof(float) <= bytes.size(); i += sizeof(float)) {
    float value = 0.0f;
    std::memcpy(&value, &bytes[i], sizeof(float));
    if (!std::isfinite(value)) return false;
  }
  return true;
}

}  // namespace

Result<std::unique_ptr<AdapterReader>> AdapterReader::open(const std::string& path) {
  const AdapterFiles files = adapter_files(path);
  std::optional<std::string> config;
  if (!files.is_gguf()) config = TRY(read_whole(files.config, AdapterConfig::kMaxBytes));
  return open(TRY(open_byte_source(files.tensors, ReadMode::kRead)), config);
}

Result<std::unique_ptr<AdapterReader>> AdapterReader::open(std::unique_ptr<ByteSource> tensors,
                                                           const std::optional<std::string>& config) {
  std::unique_ptr<AdapterReader> reader(new AdapterReader);
  reader->source_ = std::move(tensors);
  if (config) reader->config_ = TRY(AdapterConfig::parse(*config, sibling_of(reader->name(), "adapter_config.json")));
  TRY(config ? reader->read_peft() : reader->read_gguf());
  if (!reader->tensors_.empty()) return reader;
  return Error(Code::kInvalidArgument, reader->name(), ": holds no tensors");
}

Error AdapterReader::stranger(std::string_view tensor) const {
  return Error(Code::kUnimplemented, name(), ": tensor ", printable(tensor), " is no part of an adapter of a layer's ",
               "matrix; embeddings, heads, biases and whole modules do not run");
}

Status AdapterReader::add(TensorInfo info, std::string_view module, Part part) {
  if (!is_float(info.dtype)) {
    return Error(Code::kInvalidArgument, name(), ": tensor ", printable(info.name), " is of ", dtype_name(info.dtype),
                 "; adapters are read in F32, F16 and BF16");
  }
  tensors_.push_back({std::string(module), part, std::move(info)});
  return {};
}

Status AdapterReader::read_gguf() {
  GgufHeader header = TRY(read_gguf_header(*source_, Vocabulary::kSkip));
  const auto expect = [&](const char* key, std::string_view value) -> Status {
    const std::string* found = header.metadata.text(key);
    if (found != nullptr && *found == value) return {};
    return Error(Code::kInvalidArgument, name(), ": ", key, " is ", found == nullptr ? "missing" : printable(*found),
                 ", a LoRA adapter has \"", value, "\"");
  };
  TRY(expect("general.type", "adapter"));
  TRY(expect("adapter.type", "lora"));
  const auto alpha = header.metadata.number("adapter.lora.alpha");
  constexpr double kMax = 1e6;
  if (!alpha || !(std::abs(*alpha) <= kMax)) {
    return Error(Code::kInvalidArgument, name(), ": adapter.lora.alpha must be a number of at most ", kMax);
  }
  alpha_ = *alpha;
  for (TensorInfo& tensor : header.tensors) {
    const std::string full = tensor.name;
    const Ending* ending = ending_of(full, kGgufEndings);
    if (ending == nullptr) return stranger(full);
    TRY(add(std::move(tensor), std::string_view(full).substr(0, full.size() - ending->text.size()), ending->part));
  }
  return {};
}

Status AdapterReader::read_peft() {
  SafetensorsHeader header = TRY(read_safetensors_header(*source_));
  if (!header.unsupported.empty()) {
    const auto& [tensor, dtype] = header.unsupported.front();
    return Error(Code::kInvalidArgument, name(), ": tensor ", printable(tensor), " is of ", dtype,
                 "; adapters are read in F32, F16 and BF16");
  }
  for (TensorInfo& tensor : header.tensors) {
    const std::string full = tensor.name;
    const Ending* ending = ending_of(full, kPeftEndings);
    if (ending == nullptr || !full.starts_with(kPeftPrefix)) return stranger(full);
    if (ending->part == Part::kMagnitude && !config_->is_dora()) {
      return Error(Code::kInvalidArgument, name(), ": tensor ", printable(full),
                   " is DoRA's, and use_dora of adapter_config.json is not true");
    }
    const std::size_t n = full.size() - kPeftPrefix.size();
    if (n <= ending->text.size()) return stranger(full);
    const std::string module = full.substr(kPeftPrefix.size(), n - ending->text.size());
    TRY(add(std::move(tensor), module, ending->part));
  }
  return {};
}

Result<float> AdapterReader::scale_of(const std::string& module, std::int64_t rank) const {
  // As llama.cpp: without an alpha the matrices are taken as they are.
  if (!config_) return alpha_ == 0.0 ? 1.0f : static_cast<float>(alpha_ / static_cast<double>(rank));
  if (config_->rank_of(module) == rank) return config_->scale_of(module);
  return Error(Code::kInvalidArgument, name(), ": ", printable(module), " has rank ", rank,
               ", adapter_config.json says ", config_->rank_of(module));
}

Result<MatrixSource> AdapterReader::load(const TensorInfo& tensor) const {
  const ByteRange stored = TRY(source_->read(tensor.offset, tensor.n_bytes));
  MatrixSource matrix;
  matrix.name = tensor.name;
  matrix.dtype = tensor.dtype == DType::kBF16 ? DType::kBF16 : DType::kF32;
  matrix.n_cols = tensor.shape.back();
  matrix.n_rows = tensor.n_elements() / std::max<std::int64_t>(matrix.n_cols, 1);
  auto bytes = std::make_shared<std::vector<std::byte>>();
  if (tensor.dtype == DType::kF16) {
    std::vector<float> values(to_size(tensor.n_elements()));
    dequantise(tensor.dtype, stored.bytes.data(), values);
    const auto as_bytes = std::as_bytes(std::span(values));
    bytes->assign(as_bytes.begin(), as_bytes.end());
  } else {
    bytes->assign(stored.bytes.begin(), stored.bytes.end());
  }
  matrix.data = {*bytes, bytes};
  if (is_finite(matrix.dtype, *bytes)) return matrix;
  return Error(Code::kInvalidArgument, name(), ": tensor ", printable(tensor.name),
               " has a value that is infinite or no number");
}

}  // namespace commissure
