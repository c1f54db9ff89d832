// A safetensors model's configuration: config.json to the decoder's numbers, and generation_config.json (after a NUL)
// to sampling defaults.

#include "core/json.h"
#include "fuzz/fuzz.h"
#include "fuzz/model_facts.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace commissure;
  const auto [config_text, generation_text] = fuzz::two_texts(fuzz::as_text(data, size));
  const auto config = parse_json(config_text);
  if (!config) return 0;
  fuzz::check_spec(spec_from_config(*config, DType::kBF16));
  const auto generation = parse_json(generation_text);
  fuzz::check_defaults(defaults_of_config(generation ? *generation : Json(), *config));
  return 0;
}
