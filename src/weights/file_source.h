#pragma once

#include <memory>
#include <string>

#include "core/result.h"
#include "weights/byte_source.h"

namespace commissure {

/// A local file read into fresh buffers, range by range.
/// Errors: as OpenFile::open.
Result<std::unique_ptr<ByteSource>> open_file_source(const std::string& path);

}  // namespace commissure
