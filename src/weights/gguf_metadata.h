#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "core/metadata.h"
#include "core/result.h"
#include "weights/gguf.h"
#include "weights/header_reader.h"

namespace commissure {

/// Reads the `n_keys` key-value pairs of a GGUF header into `header`'s metadata and array_lengths.
/// Integers widen to int64, floats to double (arrays: float). Errors: as read_gguf_header.
Status read_gguf_metadata(HeaderReader& reader, std::uint64_t n_keys, Vocabulary vocabulary, GgufHeader& header);

}  // namespace commissure
