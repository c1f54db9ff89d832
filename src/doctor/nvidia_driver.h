#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/result.h"
#include "kernels/driver_library.h"

namespace commissure {

/// A card as the driver describes it.
struct NvidiaCard {
  std::string name;
  int major = 0;  ///< compute capability, 8 of 8.9
  int minor = 0;  ///< compute capability, 9 of 8.9
  std::uint64_t memory_bytes = 0;
  std::optional<std::uint64_t> free_bytes = {};  ///< nothing where no context could be made on the card
};

struct NvidiaDriver {
  std::string library;   ///< the file or name under which it was loaded
  int cuda_version = 0;  ///< the newest CUDA it runs, 1000 * major + 10 * minor: 12020 is CUDA 12.2
  std::vector<NvidiaCard> cards = {};
};

/// Loads the first of `libraries` that is there and asks it for its cards. The library stays loaded: it cannot be taken
/// out of a process safely. Makes and drops a context on each card to learn how much of its memory is free, which takes
/// some 100 ms a card. Errors: kNotFound, none of the libraries is there (the loader's words for each);
/// kFailedPrecondition, the library is no driver or too old; kUnavailable, the driver's own error code, as where there
/// is a library and no card.
Result<NvidiaDriver> find_nvidia_driver(const std::vector<std::string>& libraries = driver_libraries());

}  // namespace commissure
