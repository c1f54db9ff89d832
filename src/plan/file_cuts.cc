#include "plan/file_cuts.h"

#include <utility>
#include <vector>

#include "core/index.h"
#include "hub/model_header.h"
#include "model/decoder_spec.h"
#include "plan/split_plan.h"

namespace commissure {

namespace {

Result<std::vector<int>> level_cuts(const Checkpoint& header, int n_stages) {
  return choose_cuts(header, TRY(read_decoder_spec(header)), n_stages);
}

Result<std::vector<int>> level_cuts(const std::string& model, const std::string& revision, int n_stages) {
  return level_cuts(*TRY(open_header(model, revision, true)), n_stages);
}

}  // namespace

Status choose_cuts_of(CloudSpec& spec, const std::string& model, const std::string& revision,
                      const Checkpoint* header) {
  if (!spec.cuts.empty() || spec.stages.size() == 1) return {};
  const int n_stages = count_of(spec.stages);
  auto cuts = header != nullptr ? level_cuts(*header, n_stages) : level_cuts(model, revision, n_stages);
  if (!cuts && is_remote_model(model)) {
    return Error(cuts.error().code(), "the header of ", model, " cannot be read (", cuts.error().message(),
                 "): mend that, or say where to cut it, e.g. cuts: [20, 44]");
  }
  spec.cuts = TRY(std::move(cuts));
  return {};
}

}  // namespace commissure
