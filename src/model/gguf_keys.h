#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/index.h"
#include "core/metadata.h"
#include "core/result.h"
#include "model/decoder_spec.h"
#include "model/raw_spec.h"

/// Shared by the readers of GGUF headers.
namespace commissure {

/// Reads "<architecture>.<name>" keys; the first failure names the key.
class GgufKeys {
 public:
  GgufKeys(const Metadata& metadata, std::string architecture)
      : metadata_(metadata), prefix_(std::move(architecture) + ".") {}

  std::string full(std::string_view name) const { return prefix_ + std::string(name); }
  bool has(std::string_view name) const { return metadata_.has(full(name)); }

  Result<std::int64_t> integer(std::string_view name) const {
    if (!has(name)) return Error(Code::kInvalidArgument, "GGUF header: key ", full(name), " is missing");
    return integer_or(name, 0);
  }

  /// A per-layer list is accepted when all its entries agree.
  Result<std::int64_t> integer_or(std::string_view name, std::int64_t fallback) const {
    const std::string key = full(name);
    if (!metadata_.has(key)) return fallback;
    if (const auto value = metadata_.integer(key)) return *value;
    const auto* list = metadata_.find<std::vector<std::int64_t>>(key);
    if (list == nullptr || list->empty()) return Error(Code::kInvalidArgument, "GGUF header: ", key, " is no integer");
    for (const std::int64_t value : *list) {
      if (value == list->front()) continue;
      return Error(Code::kUnimplemented, "GGUF header: ", key, " differs between layers, which is not supported");
    }
    return list->front();
  }

  /// One value for every layer: a list as it is, a number for all of them. `absent` where there is no such key.
  Result<std::vector<std::int64_t>> per_layer(std::string_view name, std::int64_t n_layers, std::int64_t absent) const {
    const auto* list = metadata_.find<std::vector<std::int64_t>>(full(name));
    if (n_layers < 1 || n_layers > kMaxLayers) return std::vector<std::int64_t>();  // build_spec names it
    if (list == nullptr) return std::vector<std::int64_t>(to_size(n_layers), TRY(integer_or(name, absent)));
    if (std::cmp_equal(list->size(), n_layers)) return *list;
    return Error(Code::kInvalidArgument, "GGUF header: ", full(name), " has ", list->size(), " entries for ", n_layers,
                 " layers");
  }

  Result<double> number_or(std::string_view name, double fallback) const {
    const std::string key = full(name);
    if (!metadata_.has(key)) return fallback;
    if (const auto value = metadata_.number(key)) return *value;
    return Error(Code::kInvalidArgument, "GGUF header: ", key, " is no number");
  }

  const Metadata& metadata() const { return metadata_; }

 private:
  const Metadata& metadata_;
  std::string prefix_;
};

/// The scaling of a rotation. `fallback`: the linear factor where the file says nothing.
/// Errors: kInvalidArgument and kUnimplemented, naming the key.
Status read_gguf_scaling(const GgufKeys& keys, double fallback, std::int64_t n_context, RawRope& rope);

/// Gemma 4's text model.
Result<RawSpec> read_gguf_gemma4(const GgufKeys& keys, const GgufFacts& facts);

}  // namespace commissure
