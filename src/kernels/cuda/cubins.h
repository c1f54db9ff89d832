#pragma once

#include <span>
#include <vector>

#include "core/result.h"

namespace commissure::cuda {

/// Machine code of one device source for one kind of card; `arch` is 89 for sm_89. The bytes are its length (8 bytes,
/// little end first) and then what zlib made of it.
struct Cubin {
  int arch;
  const unsigned char* begin;
  const unsigned char* end;
};

/// Errors: kInternal, the bytes are not what the build wrote.
Result<std::vector<unsigned char>> unpacked(const Cubin& cubin);

/// What this program was built with: all sources for each kind of card, or nothing.
std::span<const Cubin> cubins();

}  // namespace commissure::cuda
