#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "core/json.h"
#include "image/image.h"
#include "support/temp_folder.h"

namespace commissure::testing {

/// Some of tests/golden/vision's images, where it stands in a prompt.
struct VisionPlace {
  int image = 0;
  int first_position = 0;
};

/// A prompt, and what transformers makes of it in float32.
struct VisionPrompt {
  std::vector<int> ids;  ///< the images' rows among them
  std::vector<VisionPlace> images;
  std::vector<double> logprobs;  ///< [ids.size() - 1] of the token that follows
  std::vector<double> last;      ///< [n_vocab] of every token behind the prompt
  std::vector<int> greedy;       ///< the likeliest tokens behind the prompt, each with those before it
};

/// One small random Gemma 3 or 4 with its image encoder (tools/golden/make_vision_goldens.py,
/// make_gemma4_vision_goldens.py).
struct VisionCase {
  std::string name;
  Json config;                               ///< config.json as transformers saves it
  Json shapes;                               ///< of every tensor, by its name on the hub
  Json mmproj;                               ///< header and names of an mmproj file
  Json gguf;                                 ///< architecture, header and names of the text model; Gemma 4: none
  Json values;                               ///< of every tensor centre and scale; Gemma 3: none, their names say it
  std::vector<Image> images;                 ///< 0, 1, ...
  std::vector<std::vector<float>> features;  ///< of images 0, 1, ...: [n_rows, d_text]
  std::vector<VisionPrompt> prompts;
  /// Whether rows of an image see each other, be it in some layers only.
  bool see_each_other = true;
  std::string altered = {};  ///< for tests of the tests: tensors with this in their name have other values

  int image_size() const { return config["vision_config"]["image_size"].get<int>(); }
};

/// Of a file in tests/golden/vision.
std::vector<VisionCase> vision_cases(const std::string& path);
/// Of both files.
std::vector<VisionCase> all_vision_cases(const std::string& source_dir);

/// RGB bytes of an image of the cases, [height, width, 3].
std::vector<std::uint8_t> vision_pixels(int image, int width, int height);
/// The same of a square.
std::vector<std::uint8_t> vision_pixels(int image, int size);

/// How files of the hub spell the parts of a model: as published, as newer programs save them, as they hold them in
/// memory.
enum class HubLayout { kPublished, kNewer, kFlat };

/// config.json and model.safetensors, floats in `dtype` (F32 or BF16, which hold the same values).
void write_vision_safetensors(const VisionCase& vision, const TempFolder& folder, DType dtype = DType::kF32,
                              HubLayout layout = HubLayout::kPublished);

/// An mmproj file, matrices in `matrices` (F32, BF16 or F16).
std::string vision_mmproj(const VisionCase& vision, DType matrices);

/// The text model as a GGUF file in F32.
std::string vision_text_gguf(const VisionCase& vision);

}  // namespace commissure::testing
