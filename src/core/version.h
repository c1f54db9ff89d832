#pragma once

namespace commissure {

/// This program's version, "0.1.0".
extern const char* const kVersion;

}  // namespace commissure
