#pragma once

#include <optional>
#include <string>

#include "vision/vision_spec.h"
#include "weights/checkpoint.h"

namespace commissure {

/// What the tensors of an image encoder are called in one kind of file. Names of products and norms lack their end:
/// `weight` and ".bias" of products, ".weight" and ".bias" of norms.
struct VisionNames {
  std::string weight = ".weight";  ///< of a layer's products
  std::string patch;               ///< with ".weight"; Gemma 3: [d_model, 3, patch_size, patch_size], and a bias
  bool patch_is_flat = false;      ///< Gemma 4: [d_model, patch_size * patch_size * 3], colours last; else as Gemma 3's
  std::string position;            ///< whole: [n_patches, d_model]; Gemma 4: [2, n_positions, d_model]
  std::string layers;              ///< stands before a layer's number, and a dot behind it
  std::string norm1, norm2;        ///< norms, behind that dot
  std::string query, key, value, output, up, down;                                   ///< products, behind that dot
  std::string gate = {};                                                             ///< of Gemma 4, as the next line
  std::string query_norm = {}, key_norm = {}, branch_norm1 = {}, branch_norm2 = {};  ///< norms, behind that dot
  std::string post_norm = {};                                                        ///< norm of Gemma 3
  std::string row_norm = {};                                                         ///< whole, of Gemma 3: [d_model]
  std::string row_shift = {}, row_factor = {};                                       ///< whole, of Gemma 4: [d_model]
  std::string projection;  ///< whole: [d_model, d_text], used as x W; Gemma 4: [d_text, d_model]
};

/// The names that a checkpoint uses: those of the hub's layouts, of mmproj files, or of Ollama's single files. Nothing
/// where none of their patch embeddings is there.
std::optional<VisionNames> find_vision_names(const Checkpoint& checkpoint, VisionFamily family);

}  // namespace commissure
