#include "support/checkpoint_writer.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "core/json.h"

namespace commissure::testing {

namespace {

enum : std::uint32_t { kU16 = 2, kU32 = 4, kI32 = 5, kF32 = 6, kBool = 7, kText = 8, kArray = 9 };

std::string sized(std::string_view text) { return little_endian(std::uint64_t{text.size()}) + std::string(text); }

std::uint32_t ggml_type(DType dtype) {
  switch (dtype) {
    case DType::kF32: return 0;
    case DType::kF16: return 1;
    case DType::kBF16: return 30;
    case DType::kQ8_0: return 8;
    case DType::kQ4_0: return 2;
    case DType::kQ4_1: return 3;
    case DType::kQ5_0: return 6;
    case DType::kQ5_1: return 7;
    case DType::kQ4_K: return 12;
    case DType::kQ5_K: return 13;
    case DType::kQ6_K: return 14;
    case DType::kI32: return 26;
    case DType::kMXFP4: return 39;
    default: return 99;
  }
}

template <typename T>
std::string array_bytes(std::uint32_t type, const std::vector<T>& values) {
  std::string bytes = little_endian(type) + little_endian(std::uint64_t{values.size()});
  for (const T& value : values) bytes += little_endian(value);
  return bytes;
}

void pad(std::string& bytes, std::size_t alignment) {
  bytes.resize((bytes.size() + alignment - 1) / alignment * alignment, '\0');
}

template <typename T>
T forced(const std::vector<std::pair<std::size_t, T>>& list, std::size_t index, T own) {
  for (const auto& [at, value] : list) {
    if (at == index) return value;
  }
  return own;
}

}  // namespace

ToyTensor counting_tensor(std::string name, DType dtype, std::vector<std::int64_t> shape, unsigned seed) {
  const std::int64_t n_rows =
      std::accumulate(shape.begin(), shape.end() - 1, std::int64_t{1}, [](auto a, auto b) { return a * b; });
  std::string bytes(static_cast<std::size_t>(n_rows) * row_bytes(dtype, shape.back()), '\0');
  for (char& byte : bytes) byte = static_cast<char>(seed++);
  return {std::move(name), dtype, std::move(shape), std::move(bytes)};
}

ToyTensor float_tensor(std::string name, std::vector<std::int64_t> shape, const std::vector<float>& values) {
  std::string bytes(values.size() * sizeof(float), '\0');
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return {std::move(name), DType::kF32, std::move(shape), std::move(bytes)};
}

GgufWriter& GgufWriter::raw(std::string_view key, std::uint32_t type, std::string_view encoded) {
  pairs_.push_back(sized(key) + little_endian(type) + std::string(encoded));
  return *this;
}

GgufWriter& GgufWriter::text(std::string_view key, std::string_view value) { return raw(key, kText, sized(value)); }
GgufWriter& GgufWriter::u32(std::string_view key, std::uint32_t value) { return raw(key, kU32, little_endian(value)); }
GgufWriter& GgufWriter::f32(std::string_view key, float value) { return raw(key, kF32, little_endian(value)); }
GgufWriter& GgufWriter::boolean(std::string_view key, bool value) {
  return raw(key, kBool, little_endian(std::uint8_t{value}));
}

GgufWriter& GgufWriter::texts(std::string_view key, const std::vector<std::string>& values) {
  std::string encoded = little_endian(std::uint32_t{kText}) + little_endian(std::uint64_t{values.size()});
  for (const std::string& value : values) encoded += sized(value);
  return raw(key, kArray, encoded);
}

GgufWriter& GgufWriter::floats(std::string_view key, const std::vector<float>& values) {
  return raw(key, kArray, array_bytes(kF32, values));
}

GgufWriter& GgufWriter::booleans(std::string_view key, const std::vector<bool>& values) {
  std::string encoded = little_endian(std::uint32_t{kBool}) + little_endian(std::uint64_t{values.size()});
  for (const bool value : values) encoded += little_endian(std::uint8_t{value});
  return raw(key, kArray, encoded);
}

GgufWriter& GgufWriter::ints(std::string_view key, const std::vector<std::int32_t>& values) {
  return raw(key, kArray, array_bytes(kI32, values));
}

GgufWriter& GgufWriter::tensor(ToyTensor tensor) {
  tensors_.push_back(std::move(tensor));
  return *this;
}

std::string GgufWriter::file(const GgufWriter& metadata, std::size_t first, std::size_t last) const {
  std::string infos, data;
  for (std::size_t i = first; i < last; ++i) {
    const ToyTensor& tensor = tensors_[i];
    infos += sized(tensor.name) + little_endian(static_cast<std::uint32_t>(tensor.shape.size()));
    for (auto it = tensor.shape.rbegin(); it != tensor.shape.rend(); ++it) infos += little_endian(*it);
    infos += little_endian(forced(forced_types, i, ggml_type(tensor.dtype)));
    infos += little_endian(forced(forced_offsets, i, std::uint64_t{data.size()}));
    data += tensor.bytes;
    pad(data, alignment);
  }
  std::string bytes = "GGUF" + little_endian(version) + little_endian(std::uint64_t{last - first}) +
                      little_endian(std::uint64_t{metadata.pairs_.size()});
  for (const std::string& pair : metadata.pairs_) bytes += pair;
  bytes += infos;
  pad(bytes, alignment);
  return bytes + data;
}

std::string GgufWriter::bytes() const {
  GgufWriter all = *this;
  if (alignment != 32) all.u32("general.alignment", alignment);
  return file(all, 0, tensors_.size());
}

std::vector<std::string> GgufWriter::splits(int n) const {
  std::vector<std::string> files;
  for (int i = 0; i < n; ++i) {
    GgufWriter metadata;
    if (i == 0) metadata.pairs_ = pairs_;
    if (alignment != 32) metadata.u32("general.alignment", alignment);
    metadata.raw("split.no", kU16, little_endian(static_cast<std::uint16_t>(i)));
    metadata.raw("split.count", kU16, little_endian(static_cast<std::uint16_t>(n)));
    metadata.raw("split.tensors.count", kI32, little_endian(static_cast<std::int32_t>(tensors_.size())));
    const auto at = [&](int part) {
      return tensors_.size() * static_cast<std::size_t>(part) / static_cast<std::size_t>(n);
    };
    files.push_back(file(metadata, at(i), at(i + 1)));
  }
  return files;
}

std::string series_name(std::string_view prefix, int number, int count, std::string_view suffix) {
  return fmt::format("{}-{:05}-of-{:05}{}", prefix, number, count, suffix);
}

std::string safetensors_file(std::string_view header, std::string_view data) {
  return little_endian(std::uint64_t{header.size()}) + std::string(header) + std::string(data);
}

std::string safetensors_bytes(const std::vector<ToyTensor>& tensors) {
  Json header = {{"__metadata__", {{"format", "pt"}}}};
  std::string data;
  for (const ToyTensor& tensor : tensors) {
    header[tensor.name] = {{"dtype", dtype_name(tensor.dtype)},
                           {"shape", tensor.shape},
                           {"data_offsets", {data.size(), data.size() + tensor.bytes.size()}}};
    data += tensor.bytes;
  }
  std::string text = dump_json(header);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  return safetensors_file(text, data);
}

std::string safetensors_index(const std::vector<std::pair<std::string, std::vector<ToyTensor>>>& shards) {
  Json map = Json::object();
  std::size_t total = 0;
  for (const auto& [file, tensors] : shards) {
    for (const ToyTensor& tensor : tensors) {
      map[tensor.name] = file;
      total += tensor.bytes.size();
    }
  }
  return dump_json(Json{{"metadata", {{"total_size", total}}}, {"weight_map", map}});
}

}  // namespace commissure::testing
