#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/dtype.h"

namespace commissure {

/// The DType of a ggml type number, or nothing when we have no such type.
std::optional<DType> dtype_of_ggml(std::uint32_t type);

/// The ggml type number of a DType that GGUF has: any but U8.
std::uint32_t ggml_type_of(DType dtype);

/// "Q4_K (12)", "IQ2_XS (17)", "unknown type 99": every type that ggml ever named.
std::string ggml_type_label(std::uint32_t type);

/// "F32, F16, ...": what dtype_of_ggml knows, for messages.
std::string supported_ggml_types();

}  // namespace commissure
