#include "plan/deployed_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "hub/model_header.h"
#include "hub/model_store.h"
#include "plan/bucket_weights.h"
#include "plan/file_cuts.h"
#include "plan/plan_making.h"

namespace commissure {

namespace {

Result<Planning> plan_file(const CloudFile& file) {
  PlanOptions options;
  options.file = file;
  options.wish.context = options.wish.streams = 0;  // the file's
  return make_plans(options);
}

std::string what_would(const Planning& planning) {
  const auto other = std::ranges::find_if(planning.found, [&](const Alternative& found) {
    return found.plan.weights == planning.model.footprint.weights &&
           (planning.budget == 0 || found.plan.usd_per_hour <= planning.budget);
  });
  if (other == planning.found.end()) return "no machine of the catalogue does; see: commissure plan";
  const std::string cuts = fmt::format(", cuts: [{}]", fmt::join(other->plan.cuts(), ", "));
  return fmt::format("{} x {}{} would do, {:.2f} USD an hour", other->plan.stages.size(), other->machine,
                     other->plan.stages.size() > 1 ? cuts : "", other->plan.usd_per_hour);
}

Result<DeploymentPrice> price_of(const Result<Planning>& planning) {
  if (!planning) return planning.error();
  DeploymentPrice price{planning->file->plan.usd_per_hour, planning->file->plan.cold_start_seconds};
  const std::vector<std::string>& problems = planning->file->problems;
  if (!problems.empty()) price.problem = problems.front() + "; " + what_would(*planning);
  return price;
}

/// What the API calls it, and the precision that the catalogue advises for it.
Status name_model(const std::string& model, DeployedModel& found) {
  found.name = std::filesystem::path(model).filename().string();
  if (is_remote_model(model)) return {};
  const LocalModel local = TRY(resolve_model(model, true));
  found.name = local.name;
  found.precision = local.precision;
  return {};
}

}  // namespace

Result<DeployedModel> find_deployed_model(const CloudFile& file, bool priced) {
  // A model's header is read once for price and cuts.
  Result<Planning> planning = priced ? plan_file(file) : Error(Code::kCancelled, "nothing is done");
  const Checkpoint* header = planning ? planning->model.header.get() : nullptr;
  DeployedModel found{.weights = TRY(plan_weights(file.model, file.revision, file.spec.bucket)),
                      .cuts = {},
                      .name = {},
                      .precision = {},
                      .price = Error(Code::kCancelled, "nothing is done")};
  CloudSpec spec = file.spec;
  TRY(choose_cuts_of(spec, file.model, file.revision, header));
  found.cuts = std::move(spec.cuts);
  TRY(name_model(file.model, found));
  // A known model was fetched just now.
  if (!planning && priced && found.weights.source == WeightsSource::kFiles) planning = plan_file(file);
  if (planning && planning->model.header) {
    for (const TensorInfo& tensor : planning->model.header->tensors()) found.weights.n_bytes += tensor.n_bytes;
  }
  found.price = price_of(planning);
  return found;
}

}  // namespace commissure
