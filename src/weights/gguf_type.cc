#include "weights/gguf_type.h"

#include <algorithm>
#include <string_view>

#include <fmt/format.h>

#include "core/check.h"
#include "weights/written_quant.h"

namespace commissure {

namespace {

struct GgmlType {
  std::uint32_t number;
  std::string_view name;
  std::optional<DType> dtype = std::nullopt;
};

// Source: ggml.h, enum ggml_type, and the one type of our own. Types that ggml removed keep their old names here, for
// messages.
constexpr GgmlType kTypes[] = {
    {0, "F32", DType::kF32},
    {1, "F16", DType::kF16},
    {2, "Q4_0", DType::kQ4_0},
    {3, "Q4_1", DType::kQ4_1},
    {4, "Q4_2"},
    {5, "Q4_3"},
    {6, "Q5_0", DType::kQ5_0},
    {7, "Q5_1", DType::kQ5_1},
    {8, "Q8_0", DType::kQ8_0},
    {9, "Q8_1"},
    {10, "Q2_K"},
    {11, "Q3_K"},
    {12, "Q4_K", DType::kQ4_K},
    {13, "Q5_K", DType::kQ5_K},
    {14, "Q6_K", DType::kQ6_K},
    {15, "Q8_K"},
    {16, "IQ2_XXS"},
    {17, "IQ2_XS"},
    {18, "IQ3_XXS"},
    {19, "IQ1_S"},
    {20, "IQ4_NL"},
    {21, "IQ3_S"},
    {22, "IQ2_S"},
    {23, "IQ4_XS"},
    {24, "I8"},
    {25, "I16"},
    {26, "I32", DType::kI32},
    {27, "I64"},
    {28, "F64"},
    {29, "IQ1_M"},
    {30, "BF16", DType::kBF16},
    {31, "Q4_0_4_4"},
    {32, "Q4_0_4_8"},
    {33, "Q4_0_8_8"},
    {34, "TQ1_0"},
    {35, "TQ2_0"},
    {36, "IQ4_NL_4_4"},
    {37, "IQ4_NL_4_8"},
    {38, "IQ4_NL_8_8"},
    {39, "MXFP4", DType::kMXFP4},
    {40, "NVFP4"},
    {41, "Q1_0"},
    {42, "Q2_0"},
    {kGgmlNf4, "NF4", DType::kNF4},
};

const GgmlType* find_type(std::uint32_t number) {
  const auto* const it = std::ranges::find(kTypes, number, &GgmlType::number);
  return it == std::end(kTypes) ? nullptr : it;
}

}  // namespace

std::optional<DType> dtype_of_ggml(std::uint32_t type) {
  const GgmlType* entry = find_type(type);
  return entry == nullptr ? std::nullopt : entry->dtype;
}

std::uint32_t ggml_type_of(DType dtype) {
  const auto* const type = std::ranges::find(kTypes, std::optional(dtype), &GgmlType::dtype);
  CHECK(type != std::end(kTypes));
  return type->number;
}

std::string ggml_type_label(std::uint32_t type) {
  const GgmlType* entry = find_type(type);
  return entry == nullptr ? fmt::format("unknown type {}", type) : fmt::format("{} ({})", entry->name, type);
}

std::string supported_ggml_types() {
  std::string names;
  for (const GgmlType& type : kTypes) {
    if (!type.dtype) continue;
    if (!names.empty()) names += ", ";
    names += type.name;
  }
  return names;
}

}  // namespace commissure
