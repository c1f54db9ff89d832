#include "hub/open_model.h"

#include "hub/model_store.h"
#include "synth/synth_model.h"
#include "synth/synth_request.h"

namespace commissure {

bool is_made_up(const std::string& location) { return is_synth_name(location); }

Result<std::unique_ptr<Checkpoint>> open_model(const std::string& location, ReadMode mode, Vocabulary vocabulary) {
  if (!is_synth_name(location)) return Checkpoint::open(location, mode, vocabulary);
  const SynthRequest request = TRY(parse_synth_name(location));
  if (request.tokenizer.empty()) return make_synth_model(request, nullptr, vocabulary);
  const auto tokenizer = TRY(Checkpoint::open(TRY(resolve_model(request.tokenizer, false)).location));
  return make_synth_model(request, tokenizer.get(), vocabulary);
}

}  // namespace commissure
