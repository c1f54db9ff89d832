#pragma once

#include <optional>
#include <string>

#include "weights/checkpoint.h"

namespace commissure {

/// What the tensors of an image encoder are called in one kind of file. Names of pairs lack ".weight" and ".bias".
struct VisionNames {
  std::string patch;     ///< pair: [d_model, 3, patch_size, patch_size], [d_model]
  std::string position;  ///< whole: [n_patches, d_model]
  std::string layers;    ///< stands before a layer's number, and a dot behind it
  std::string norm1, norm2, query, key, value, output, up, down;  ///< pairs, behind that dot
  std::string post_norm;                                          ///< pair
  std::string row_norm;                                           ///< whole: [d_model]
  std::string projection;                                         ///< whole: [d_model, d_text], used as x W
};

/// The names that a checkpoint uses: those of the hub's layouts, of mmproj files, or of Ollama's single files. Nothing
/// where none of their patch embeddings is there.
std::optional<VisionNames> find_vision_names(const Checkpoint& checkpoint);

}  // namespace commissure
