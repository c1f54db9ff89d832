#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "core/result.h"
#include "vision/vision_spec.h"
#include "weights/checkpoint.h"

namespace commissure {

/// A model's image encoder, and the file that holds it.
struct FoundVision {
  VisionSpec spec;
  std::unique_ptr<Checkpoint> mmproj;  ///< null: it lies in the model's own files
  std::uint64_t weight_bytes = 0;      ///< as stored

  const Checkpoint& checkpoint(const Checkpoint& model) const { return mmproj ? *mmproj : model; }
};

/// The image encoder of a model: that of `mmproj`, a file's location; else, where `mmproj` is empty, what the model's
/// own files hold, or the first file with mmproj in its name that lies in the folder of a GGUF model on this machine.
/// Nothing where there is none. What was found without being asked for and cannot be used is told in the log.
///   d_text  d_model of the text model
///   mode    how a file of its own is opened
/// Errors: of what `mmproj` names alone: as Checkpoint::open and read_vision_spec; kInvalidArgument, it holds no image
/// encoder, or one that was made for another width; kUnimplemented, the text model is of another family.
Result<std::optional<FoundVision>> find_vision(const Checkpoint& model, const std::string& mmproj, int d_text,
                                               ReadMode mode);

}  // namespace commissure
