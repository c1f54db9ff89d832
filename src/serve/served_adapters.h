#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/result.h"
#include "engine/adapter_keeper.h"
#include "model/decoder_spec.h"

namespace commissure {

/// What stage A is told of adapters.
struct AdapterSettings {
  std::vector<std::string> named = {};           ///< NAME=PATH
  std::string folder = {};                       ///< of adapters that are loaded when they are asked for; empty: none
  std::uint64_t bytes = std::uint64_t{1} << 30;  ///< of adapters that a stage keeps
  bool operator==(const AdapterSettings&) const = default;
};

/// With paths as every stage finds them, wherever it was started.
AdapterSettings with_full_paths(AdapterSettings settings);

/// Whether each of `named` is a name and a path, all names differ, and there is room. Errors: kInvalidArgument, with
/// flag and variable.
Status validate(const AdapterSettings& settings);

/// The adapters that stage A starts with, each opened and held against the model.
/// Errors: as validate; what is wrong with an adapter, or with the folder, named.
Result<AdapterOptions> read_adapters(const AdapterSettings& settings, const DecoderSpec& spec);

}  // namespace commissure
