#include "deployment/cloud_spec.h"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <iterator>
#include <sstream>
#include <string_view>

namespace commissure {

namespace {

/// Lower-case letters, digits and hyphens, a letter first, no hyphen last.
bool is_label(const std::string& text) {
  const auto fits = [](unsigned char c) { return std::islower(c) != 0 || std::isdigit(c) != 0 || c == '-'; };
  return !text.empty() && std::islower(static_cast<unsigned char>(text.front())) != 0 && text.back() != '-' &&
         std::ranges::all_of(text, fits);
}

bool is_bucket(const std::string& text) {
  const auto fits = [](unsigned char c) {
    return std::islower(c) != 0 || std::isdigit(c) != 0 || c == '-' || c == '_' || c == '.';
  };
  const auto is_end = [](unsigned char c) { return std::islower(c) != 0 || std::isdigit(c) != 0; };
  return text.size() >= 3 && text.size() <= 63 && std::ranges::all_of(text, fits) &&
         is_end(static_cast<unsigned char>(text.front())) && is_end(static_cast<unsigned char>(text.back()));
}

Status check_schedule(const std::string& schedule, const std::string& time_zone) {
  constexpr std::string_view kCron = "0123456789*/,- ABCDEFGHIJKLMNOPQRSTUVWXYZ";
  std::istringstream words(schedule);
  const auto n_fields = std::distance(std::istream_iterator<std::string>(words), {});
  if (!schedule.empty() && (n_fields != 5 || schedule.find_first_not_of(kCron) != std::string::npos)) {
    return Error(Code::kInvalidArgument, "warm_schedule \"", schedule,
                 "\" must be five cron fields (minute hour day month weekday), e.g. \"0 8 * * 1-5\"");
  }
  const auto fits = [](unsigned char c) { return std::isalnum(c) != 0 || std::strchr("_+-/", c) != nullptr; };
  if (time_zone.empty() || !std::ranges::all_of(time_zone, fits)) {
    return Error(Code::kInvalidArgument, "time_zone \"", time_zone,
                 "\" must be a name of the tz database, e.g. Europe/Berlin");
  }
  return {};
}

}  // namespace

std::string CloudSpec::model_location() const {
  const std::string tail = weights.file.empty() ? "" : "/" + weights.file;
  if (weights.baked) return kBakedFolder + tail;
  if (weights.mounted) return "/models/" + weights.prefix + tail;
  return weights_folder() + tail;
}

Status check_cuts(const CloudSpec& spec) {
  if (!spec.stages.empty() && spec.cuts.size() + 1 == spec.stages.size()) return {};
  return Error(Code::kInvalidArgument, spec.cuts.size(), " cuts do not make ", spec.stages.size(), " stages");
}

Status validate(const CloudSpec& spec) {
  const auto invalid = [](auto&&... parts) { return Error(Code::kInvalidArgument, parts...); };
  // Accounts are NAME-build at most, 30 characters; services must keep "SERVICE-PROJECTNUMBER" within a DNS label.
  if (!is_label(spec.name) || spec.name.size() < 4 || spec.name.size() > 24) {
    return invalid("the deployment's name \"", spec.name,
                   "\" must be 4 to 24 lower-case letters, digits and hyphens, a letter first");
  }
  if (spec.project.empty())
    return invalid("no project: set `project` in commissure.yaml to your Google Cloud project id");
  if (spec.region.empty()) return invalid("no region: set `region` in commissure.yaml, e.g. europe-west4");
  if (!is_bucket(spec.bucket)) {
    return invalid(
        "the bucket's name \"", spec.bucket,
        "\" must be 3 to 63 lower-case letters, digits, hyphens, dots and underscores, a letter or digit first and "
        "last");
  }
  TRY(check_cuts(spec));
  if (spec.internal && spec.network.empty() && spec.stages.size() > 1) {
    return invalid("internal stages are reached through a VPC network only: set `network` in commissure.yaml");
  }
  if (spec.weights.source == WeightsSource::kFiles && spec.weights.files.empty()) {
    return invalid("the model has no files to upload");
  }
  return check_schedule(spec.warm_schedule, spec.time_zone);
}

}  // namespace commissure
