#include "cloud/quota.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>

#include "core/json_fields.h"

namespace commissure {

namespace {

constexpr double kFirstGrant = 3;  // GPUs that a region gives on first use, while its quota may still say 0

/// The quota of a stage's GPU; "" where it has none that we know.
std::string quota_of(const CloudStage& stage) {
  static const std::map<std::string, std::string> kinds = {{"nvidia-l4", "NvidiaL4"},
                                                           {"nvidia-rtx-pro-6000", "NvidiaRtxPro6000"}};
  const auto kind = kinds.find(stage.gpu);
  if (kind == kinds.end()) return "";
  return kind->second + "GpuAlloc" + (stage.zonal_redundancy ? "" : "NoZonalRedundancy") + "PerProjectRegion";
}

Status absorb_quota(const std::string& key, const std::string& output, CloudState& state) {
  state.quotas[key] = TRY(parse_json(output));
  return {};
}

/// GPUs that the quota allows in the region; nothing when it does not say, or sets no limit. Values are GPUs or their
/// thousandths.
std::optional<double> allowed_gpus(const Json& quota, const std::string& region) {
  const Json* entries = find_member(quota, "dimensionsInfos");
  if (entries == nullptr || !entries->is_array()) return std::nullopt;
  for (const Json& entry : *entries) {
    const Json* dimensions = find_member(entry, "dimensions");
    const Json* details = find_member(entry, "details");
    if (dimensions == nullptr || details == nullptr || text_of(*dimensions, "region") != region) continue;
    const std::string value = text_of(*details, "value");
    double number = -1;
    std::from_chars(value.data(), value.data() + value.size(), number);
    if (number < 0) return std::nullopt;
    return number >= 1000 ? number / 1000 : number;
  }
  return std::nullopt;
}

}  // namespace

std::vector<std::string> gpu_quotas(const CloudSpec& spec) {
  std::vector<std::string> names;
  for (const CloudStage& stage : spec.stages) {
    const std::string name = quota_of(stage);
    if (!name.empty() && std::ranges::find(names, name) == names.end()) names.push_back(name);
  }
  return names;
}

std::vector<CloudRead> quota_reads(const CloudSpec& spec) {
  std::vector<CloudRead> reads;
  for (const std::string& name : gpu_quotas(spec)) {
    reads.push_back({.call = gcloud({"beta", "quotas", "info", "describe", name, "--service=run.googleapis.com",
                                     "--project=" + spec.project, "--format=json"}),
                     .absorb = absorb_quota,
                     .key = name,
                     .api = "cloudquotas.googleapis.com",
                     .may_fail = true});
  }
  return reads;
}

Status check_gpu_quota(const CloudSpec& spec, const CloudState& state) {
  for (const auto& [name, quota] : state.quotas) {
    int needed = 0;
    std::string gpu;
    for (const CloudStage& stage : spec.stages) {
      if (quota_of(stage) != name) continue;
      needed += stage.max_instances;
      gpu = stage.gpu;
    }
    const std::optional<double> allowed = allowed_gpus(quota, spec.region);
    if (!allowed || needed <= (*allowed > 0 ? *allowed : kFirstGrant)) continue;
    return Error(Code::kResourceExhausted,
                 fmt::format("step quota: the stages need {} {} at once and {} allows {:g} in {}; ask for more at "
                             "https://console.cloud.google.com/iam-admin/quotas?project={} (service "
                             "run.googleapis.com), or choose another region or GPU, or fewer stages",
                             needed, gpu, name, *allowed, spec.region, spec.project));
  }
  return {};
}

}  // namespace commissure
