#include "weights/written_quant.h"

#include <algorithm>
#include <cctype>

#include "weights/quantisation.h"

namespace commissure {
namespace {

std::string suffix_of(DType dtype) { return dtype == DType::kNF4 ? ".commissure_nf4" : ".commissure_q8_0"; }

bool is_fingerprint(std::string_view text) {
  return text.size() == 64 && std::ranges::all_of(text, [](unsigned char c) { return std::isxdigit(c) != 0; });
}

std::string text_at(const Json& json, const char* key) {
  const Json* value = find_member(json, key);
  return value != nullptr && value->is_string() ? value->get<std::string>() : "";
}

}  // namespace

std::string written_name(const std::string& name, DType dtype) { return name + suffix_of(dtype); }

std::optional<TensorInfo> as_written(const TensorInfo& bytes) {
  for (const DType dtype : {DType::kNF4, DType::kQ8_0}) {
    const std::string suffix = suffix_of(dtype);
    const BlockSize block = block_size(dtype);
    if (!bytes.name.ends_with(suffix) || bytes.shape.size() != 2 || bytes.shape[1] <= 0 ||
        bytes.shape[1] % block.n_bytes != 0) {
      continue;
    }
    TensorInfo tensor = bytes;
    tensor.name.resize(bytes.name.size() - suffix.size());
    tensor.dtype = dtype;
    tensor.shape[1] = bytes.shape[1] / block.n_bytes * block.n_elements;  // at most twice the bytes: no overflow
    return tensor;
  }
  return std::nullopt;
}

Json WrittenFrom::to_json() const {
  return {{"quant_method", "commissure"}, {"quantisation", quantisation}, {"fingerprint", fingerprint}};
}

WrittenFrom written_from(const Json& config, const Metadata& metadata) {
  WrittenFrom from;
  if (const Json* json = config.is_object() ? find_member(config, "quantization_config") : nullptr;
      json != nullptr && text_at(*json, "quant_method") == "commissure") {
    from = {text_at(*json, "quantisation"), text_at(*json, "fingerprint")};
  } else if (const std::string* name = metadata.text(kWrittenQuantisationKey)) {
    const std::string* fingerprint = metadata.text(kWrittenFingerprintKey);
    from = {*name, fingerprint == nullptr ? "" : *fingerprint};
  }
  if (!parse_quant(from.quantisation) || !is_fingerprint(from.fingerprint)) return {};
  return from;
}

}  // namespace commissure
