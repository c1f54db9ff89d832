#include "weights/bnb_state.h"

#include <bit>
#include <cmath>

#include "core/json.h"
#include "weights/header_reader.h"

namespace commissure {
namespace {

constexpr std::int64_t kLeastBlock = 64, kMostBlock = 4096;
constexpr std::int64_t kMostNestedBlock = 1 << 20;

/// One matrix, while its state is read.
struct Reading {
  const TensorInfo& codes;
  const Json& json;
  const std::function<const TensorInfo*(const std::string&)>& find;

  Error broken(auto&&... what) const {
    return Error(Code::kDataLoss, "tensor ", printable(codes.name), ": its bitsandbytes state ", what...);
  }

  Result<std::int64_t> whole(const char* key) const {
    const Json* value = find_member(json, key);
    if (value == nullptr || !value->is_number_unsigned() ||
        value->get<std::uint64_t>() > std::uint64_t{1} << 40) {  // no dimension is longer
      return broken("has no whole number ", key);
    }
    return static_cast<std::int64_t>(value->get<std::uint64_t>());
  }

  Result<TensorInfo> tensor(const char* suffix, DType dtype, std::int64_t n) const {
    const TensorInfo* found = find(codes.name + suffix);
    if (found == nullptr) return broken("is incomplete: ", suffix + 1, " is missing");
    if (found->dtype != dtype || found->n_elements() != n) {
      return broken("does not fit: ", suffix + 1, " is ", dtype_name(found->dtype), " of ", found->n_elements(),
                    " elements, expected ", dtype_name(dtype), " of ", n);
    }
    return *found;
  }
};

Result<std::vector<std::int64_t>> read_shape(const Reading& reading) {
  const Json* shape = find_member(reading.json, "shape");
  if (shape == nullptr || !shape->is_array() || shape->size() != 2) return reading.broken("has no shape of a matrix");
  std::vector<std::int64_t> sizes;
  for (const Json& size : *shape) {
    if (!size.is_number_unsigned() || size.get<std::uint64_t>() > std::uint64_t{1} << 40) {
      return reading.broken("has a shape of ", printable(dump_json(*shape)));
    }
    sizes.push_back(static_cast<std::int64_t>(size.get<std::uint64_t>()));
  }
  const auto n = count_elements(sizes);
  if (!n || *n == 0 || *n % 2 != 0 || *n / 2 != reading.codes.n_elements()) {
    return reading.broken("has shape ", shape_text(sizes), ", which ", reading.codes.n_elements(),
                          " bytes of codes do not fill");
  }
  if (sizes[1] % kLeastBlock != 0) {
    return Error(Code::kUnimplemented, "tensor ", printable(reading.codes.name), ": rows of ", sizes[1],
                 " values in bitsandbytes' NF4; only multiples of ", kLeastBlock, " are read");
  }
  return sizes;
}

Result<BnbState::Nested> read_nested(const Reading& reading, std::int64_t n_scales) {
  BnbState::Nested nested;
  nested.block = TRY(reading.whole("nested_blocksize"));
  if (nested.block < 1 || nested.block > kMostNestedBlock) {
    return reading.broken("has a nested_blocksize of ", nested.block);
  }
  const Json* offset = find_member(reading.json, "nested_offset");
  if (offset == nullptr || !offset->is_number() || !std::isfinite(offset->get<float>())) {
    return reading.broken("has no nested_offset");
  }
  nested.offset = offset->get<float>();
  nested.absmax = TRY(reading.tensor(".nested_absmax", DType::kF32, (n_scales + nested.block - 1) / nested.block));
  nested.map = TRY(reading.tensor(".nested_quant_map", DType::kF32, 256));
  return nested;
}

}  // namespace

std::vector<std::string> bnb_state_names(const std::string& name) {
  std::vector<std::string> names;
  for (const char* suffix : {".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map"}) {
    names.push_back(name + suffix);
  }
  names.push_back(name + std::string(kBnbStateSuffix));
  return names;
}

Result<BnbState> read_bnb_state(const TensorInfo& codes, std::string_view json,
                                const std::function<const TensorInfo*(const std::string&)>& find) {
  const auto parsed = parse_json(json, 8);
  const Json state_json = parsed ? *parsed : Json(nullptr);
  const Reading reading{codes, state_json, find};
  if (!parsed || !state_json.is_object()) return reading.broken("is no JSON object");
  const Json* kind = find_member(state_json, "quant_type");
  if (kind == nullptr || *kind != "nf4") {
    return Error(Code::kUnimplemented, "tensor ", printable(codes.name), ": bitsandbytes' quant_type ",
                 kind == nullptr ? "is missing" : printable(dump_json(*kind)), "; only nf4 is read");
  }
  BnbState state;
  state.shape = TRY(read_shape(reading));
  state.block = TRY(reading.whole("blocksize"));
  if (state.block < kLeastBlock || state.block > kMostBlock ||
      !std::has_single_bit(static_cast<std::uint64_t>(state.block))) {
    return reading.broken("has a blocksize of ", state.block, "; powers of two from ", kLeastBlock, " to ", kMostBlock,
                          " are read");
  }
  const std::int64_t n_scales = (2 * codes.n_elements() + state.block - 1) / state.block;
  state.map = TRY(reading.tensor(".quant_map", DType::kF32, 16));
  const TensorInfo* absmax = find(codes.name + ".absmax");
  const bool is_nested = absmax != nullptr && absmax->dtype == DType::kU8;
  state.absmax = TRY(reading.tensor(".absmax", is_nested ? DType::kU8 : DType::kF32, n_scales));
  if (is_nested) state.nested = TRY(read_nested(reading, n_scales));
  return state;
}

}  // namespace commissure
