// A safetensors model's configuration: config.json to the decoder's numbers, and generation_config.json (after a NUL)
// to sampling defaults. The same texts as an image encoder's configuration and preprocessor_config.json.

#include "core/json.h"
#include "fuzz/fuzz.h"
#include "fuzz/model_facts.h"
#include "vision/vision_spec.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace commissure;
  const auto [config_text, generation_text] = fuzz::two_texts(fuzz::as_text(data, size));
  const auto config = parse_json(config_text);
  if (!config) return 0;
  fuzz::check_spec(spec_from_config(*config, DType::kBF16));
  if (auto vision = vision_spec_from_config(*config); fuzz::is_accepted(vision)) {
    CHECK(vision->most_rows() > 0 && vision->head_dim() > 0 &&
          vision->most_patches() == vision->most_rows() * vision->pool * vision->pool);
    const Status applied = apply_preprocessor(generation_text, *vision);
    if (!applied) fuzz::check_refusal(applied.error());
  }
  const auto generation = parse_json(generation_text);
  fuzz::check_defaults(defaults_of_config(generation ? *generation : Json(), *config));
  return 0;
}
