#include "weights/write_header.h"

#include "core/json.h"
#include "weights/gguf_type.h"
#include "weights/written_quant.h"

namespace commissure {
namespace {

constexpr std::uint64_t kSafetensorsAlignment = 8;

// Type numbers of GGUF's values.
enum GgufType : std::uint32_t { kU32 = 4, kI32 = 5, kF32 = 6, kBool = 7, kText = 8, kArray = 9 };

template <typename T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void put_text(std::string& out, std::string_view text) {
  put(out, std::uint64_t{text.size()});
  out += text;
}

}  // namespace

std::uint64_t lay_out(std::vector<TensorInfo>& tensors, std::uint64_t alignment) {
  std::uint64_t end = 0;
  for (TensorInfo& tensor : tensors) {
    tensor.offset = end;
    end += padded(tensor.n_bytes, alignment);
  }
  return end;
}

std::string safetensors_header(const std::vector<TensorInfo>& tensors) {
  // Text by text: an object of ten thousands of members is slow to build.
  std::string text = R"({"__metadata__":{"format":"pt"})";
  for (const TensorInfo& tensor : tensors) {
    const bool is_packed = is_quantised(tensor.dtype);
    std::vector<std::int64_t> shape = tensor.shape;
    if (is_packed)
      shape = {tensor.n_elements() / shape.back(), static_cast<std::int64_t>(row_bytes(tensor.dtype, shape.back()))};
    const std::string name = is_packed ? written_name(tensor.name, tensor.dtype) : tensor.name;
    const Json entry = {{"dtype", is_packed ? "U8" : dtype_name(tensor.dtype)},
                        {"shape", shape},
                        {"data_offsets", {tensor.offset, tensor.offset + tensor.n_bytes}}};
    text += "," + dump_json(Json(name)) + ":" + dump_json(entry);
  }
  text += "}";
  text.resize(padded(text.size(), kSafetensorsAlignment), ' ');
  std::string header;
  put(header, std::uint64_t{text.size()});
  return header + text;
}

void GgufPairs::begin(std::string_view key, std::uint32_t type) {
  ++count_;
  put_text(bytes_, key);
  put(bytes_, type);
}

void GgufPairs::begin_array(std::string_view key, std::uint32_t type, std::size_t length) {
  begin(key, kArray);
  put(bytes_, type);
  put(bytes_, std::uint64_t{length});
}

void GgufPairs::text(std::string_view key, std::string_view value) {
  begin(key, kText);
  put_text(bytes_, value);
}

void GgufPairs::integer(std::string_view key, std::uint32_t value) {
  begin(key, kU32);
  put(bytes_, value);
}

void GgufPairs::number(std::string_view key, float value) {
  begin(key, kF32);
  put(bytes_, value);
}

void GgufPairs::flag(std::string_view key, bool value) {
  begin(key, kBool);
  put(bytes_, std::uint8_t{value});
}

void GgufPairs::texts(std::string_view key, const std::vector<std::string>& values) {
  begin_array(key, kText, values.size());
  for (const std::string& value : values) put_text(bytes_, value);
}

void GgufPairs::integers(std::string_view key, const std::vector<std::int32_t>& values) {
  begin_array(key, kI32, values.size());
  for (const std::int32_t value : values) put(bytes_, value);
}

void GgufPairs::numbers(std::string_view key, const std::vector<float>& values) {
  begin_array(key, kF32, values.size());
  for (const float value : values) put(bytes_, value);
}

void GgufPairs::flags(std::string_view key, const std::vector<bool>& values) {
  begin_array(key, kBool, values.size());
  for (const bool value : values) put(bytes_, std::uint8_t{value});
}

void GgufPairs::raw(std::uint64_t n_pairs, std::string_view bytes) {
  count_ += n_pairs;
  bytes_ += bytes;
}

std::string gguf_header(const GgufPairs& keys, const std::vector<TensorInfo>& tensors) {
  std::string header = "GGUF";
  put(header, std::uint32_t{3});
  put(header, std::uint64_t{tensors.size()});
  put(header, keys.count());
  header += keys.bytes();
  for (const TensorInfo& tensor : tensors) {
    put_text(header, tensor.name);
    put(header, static_cast<std::uint32_t>(tensor.shape.size()));
    for (auto size = tensor.shape.rbegin(); size != tensor.shape.rend(); ++size) {
      put(header, static_cast<std::uint64_t>(*size));
    }
    put(header, ggml_type_of(tensor.dtype));
    put(header, tensor.offset);
  }
  return header;
}

}  // namespace commissure
