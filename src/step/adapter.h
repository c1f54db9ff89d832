#pragma once

#include <cstdint>
#include <string>

#include "core/ids.h"

namespace commissure {

/// Names an adapter by its content, so that two adapters never share a name: the first 8 bytes, little endian, of the
/// SHA-256 of its files. 0: no adapter, the base model as it is.
using AdapterId = Id<struct AdapterTag, std::uint64_t>;

/// Where a stage finds an adapter. Each stage reads the part of its own layers, and refuses files of another content.
struct AdapterSource {
  AdapterId id;
  std::string name;  ///< for people
  std::string path;  ///< of a PEFT folder or a GGUF adapter, as every stage of the chain sees it

  bool operator==(const AdapterSource&) const = default;
};

/// The adapter that a sequence's rows are computed with, from its first row to its last one.
struct AdapterUse {
  AdapterId id;
  float scale = 1.0f;  ///< multiplies what the adapter adds

  explicit operator bool() const { return id != AdapterId(); }
  bool operator==(const AdapterUse&) const = default;
};

}  // namespace commissure
