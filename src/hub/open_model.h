#pragma once

#include <memory>
#include <string>

#include "core/result.h"
#include "weights/checkpoint.h"

namespace commissure {

/// Whether a model's location is that of one that is made up, without files.
bool is_made_up(const std::string& location);

/// Opens a model at the location that resolve_model told: files as Checkpoint::open does, one that is made up as
/// make_synth_model does. Errors: as these and parse_synth_name.
Result<std::unique_ptr<Checkpoint>> open_model(const std::string& location, ReadMode mode = ReadMode::kMap,
                                               Vocabulary vocabulary = Vocabulary::kKeep);

}  // namespace commissure
