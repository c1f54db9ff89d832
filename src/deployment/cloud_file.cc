#include "deployment/cloud_file.h"

#include <algorithm>
#include <array>

#include "deployment/yaml_section.h"
#include "step/stage_plan.h"

namespace commissure {

namespace {

constexpr std::size_t kMaxFileBytes = 1u << 20;
constexpr int kDefaultSequences = 64;
constexpr int kMostSequences = 1024;

/// Wishes that stages cannot have each on their own, or that nothing grants: said with the reason instead of "unknown".
Status check_wishes(const YAML::Node& node, bool is_stage) {
  if (!node.IsMap()) return {};
  constexpr const char* kOneFile =
      "; all stages of a chain compute one model file, as it is stored, and refuse neighbours with another: a chain of "
      "two would answer as neither does. ";
  for (const char* key : {"quantisation", "quantization", "dtype", "precision", "kv_dtype", "model", "weights"}) {
    const YAML::Node found = node[key];
    const bool is_ours = !is_stage && (std::string_view(key) != "quantization" && std::string_view(key) != "dtype");
    if (!found.IsDefined() || is_ours) continue;
    const std::string where = is_stage ? " cannot differ by stage" : " is not a key";
    return at_file_line(found.Mark(), key + where + kOneFile +
                                          "Outside `stages`, `quantisation` chooses a GGUF of a hub "
                                          "repository and `kv_dtype` how keys and values are kept");
  }
  return {};
}

/// `other`: a key of the map that says nothing of a stage; or null.
Status read_stage(const YAML::Node& node, const Variables& variables, CloudStage& stage, const char* other) {
  TRY(check_wishes(node, true));
  Section section(node, variables);
  if (other != nullptr) section.allow(other);
  TRY(section.take("cpu", stage.cpu));
  TRY(section.take("memory", stage.memory));
  TRY(section.take("gpu", stage.gpu));
  TRY(section.take("zonal_redundancy", stage.zonal_redundancy));
  TRY(section.take("min_instances", stage.min_instances, 0, 1000));
  TRY(section.take("max_instances", stage.max_instances, 1, 1000));
  TRY(section.take("concurrency", stage.concurrency, 1, 1000));
  return section.done();
}

/// `stages` is a number, a map with `count` and what all have, or a list with one map per stage.
Status read_stages(const YAML::Node& node, const Variables& variables, std::vector<CloudStage>& stages) {
  std::vector<YAML::Node> each;
  if (node.IsSequence()) {
    for (const YAML::Node& stage : node) each.push_back(stage);
  } else {
    int count = 3;
    YAML::Node common;
    if (node.IsMap()) {
      common = node;
      Section section(node, variables);
      TRY(section.take("count", count, 1, kMaxStages));
    } else if (node.IsScalar()) {
      YAML::Node wrapped;
      wrapped["stages"] = node;
      Section section(wrapped, variables);
      TRY(section.take("stages", count, 1, kMaxStages));
    }
    each.assign(static_cast<std::size_t>(count), common);
  }
  if (each.empty() || each.size() > kMaxStages)
    return at_file_line(node.Mark(), "stages: 1 to " + std::to_string(kMaxStages) + " are possible");
  for (std::size_t i = 0; i < each.size(); ++i) {
    CloudStage stage;
    stage.letter = std::string(1, static_cast<char>('a' + i));
    if (!each[i].IsNull() && !each[i].IsMap()) return at_file_line(each[i].Mark(), "a stage must be a map");
    TRY(read_stage(each[i], variables, stage, node.IsMap() ? "count" : nullptr));
    stages.push_back(std::move(stage));
  }
  return {};
}

Status read_cuts(const YAML::Node& node, std::vector<int>& cuts) {
  if (!node.IsDefined() || node.IsNull()) return {};
  if (!node.IsSequence()) return at_file_line(node.Mark(), "cuts must be a list of layers, e.g. [20, 44]");
  for (const YAML::Node& cut : node) {
    int layer = 0;
    if (!YAML::convert<int>::decode(cut, layer) || layer < 1)
      return at_file_line(cut.Mark(), "a cut must be a layer's number");
    cuts.push_back(layer);
  }
  return {};
}

Status read_network(const YAML::Node& node, const Variables& variables, CloudSpec& spec) {
  if (!node.IsDefined() || node.IsNull()) return {};
  if (!node.IsMap()) return at_file_line(node.Mark(), "network must be a map with name, subnet and internal");
  Section section(node, variables);
  TRY(section.take("name", spec.network));
  spec.subnet = spec.network;
  TRY(section.take("subnet", spec.subnet));
  TRY(section.take("internal", spec.internal));
  return section.done();
}

Status read_labels(const YAML::Node& node, const Section& section, CloudSpec& spec) {
  if (!node.IsDefined() || node.IsNull()) return {};
  if (!node.IsMap()) return at_file_line(node.Mark(), "labels must be a map");
  for (const auto& entry : node) {
    if (!entry.second.IsScalar()) return at_file_line(entry.second.Mark(), "a label must be one value");
    spec.labels[entry.first.as<std::string>("")] = TRY(section.with_variables(entry.second));
  }
  return {};
}

Status read_model(Section& section, CloudFile& file) {
  CloudSpec& spec = file.spec;
  TRY(section.take("model", file.model));
  TRY(section.take("revision", file.revision));
  std::string quantisation;
  TRY(section.take("quantisation", quantisation));
  if (!quantisation.empty()) {
    if (!file.model.starts_with("hf:") || file.model.find(':', 3) != std::string::npos) {
      return Error(Code::kInvalidArgument, "`quantisation` chooses a GGUF of a repository on the hub, hf:OWNER/REPO; ",
                   file.model, " is as it is");
    }
    file.model += ":" + quantisation;
  }
  TRY(section.take("model_name", spec.model_name));
  TRY(section.take("hub_token", spec.hub_token));
  TRY(section.take("context", file.context, 16, 1 << 20));
  TRY(section.take("streams", file.streams, 1, 4096));
  constexpr auto kv_dtypes = std::to_array<const char*>({"auto", "bf16", "int8"});
  file.kv_dtype = kv_dtypes[TRY(section.choose("kv_dtype", kv_dtypes, 0))];
  const std::size_t weights =
      TRY(section.choose("weights", std::to_array<const char*>({"bucket", "mounted", "baked"}), 0));
  spec.weights.mounted = weights == 1;
  spec.weights.baked = weights == 2;
  return read_cuts(section.child("cuts"), spec.cuts);
}

/// What the stages are started with.
Status add_arguments(CloudFile& file) {
  if (file.kv_dtype == "int8") {
    for (CloudStage& stage : file.spec.stages) stage.environment.emplace_back("COMMISSURE_KV_DTYPE", file.kv_dtype);
  }
  std::vector<std::string>& arguments = file.spec.stage_arguments;
  if (file.context > 0) arguments = {"--max-model-len", std::to_string(file.context)};
  if (file.streams == 0) return {};
  if (file.context == 0) return Error(Code::kInvalidArgument, "`streams` counts full contexts: set `context` too");
  const std::int64_t positions = std::int64_t{file.streams} * file.context;
  arguments.insert(arguments.end(),
                   {"--kv-tokens", std::to_string(positions), "--max-num-seqs", std::to_string(file.sequences())});
  return {};
}

Result<CloudFile> read_deployment(const YAML::Node& node, const Variables& variables) {
  CloudFile file;
  CloudSpec& spec = file.spec;
  TRY(check_wishes(node, false));
  Section section(node, variables);
  TRY(section.take("name", spec.name));
  TRY(section.take("project", spec.project));
  TRY(section.take("region", spec.region));
  TRY(section.take("budget", file.budget));
  TRY(read_model(section, file));
  TRY(read_stages(section.child("stages"), variables, spec.stages));
  TRY(add_arguments(file));
  TRY(section.take("warm_schedule", spec.warm_schedule));
  TRY(section.take("time_zone", spec.time_zone));
  spec.bucket = spec.project + "-" + spec.name;
  TRY(section.take("bucket", spec.bucket));
  TRY(section.take("image", file.image));
  const std::size_t access =
      TRY(section.choose("access", std::to_array<const char*>({"iam", "key", "both", "public"}), 0));
  spec.access = access == 1 || access == 3 ? CloudAccess::kPublic : CloudAccess::kIam;
  spec.api_key = access == 1 || access == 2;
  TRY(read_network(section.child("network"), variables, spec));
  TRY(read_labels(section.child("labels"), section, spec));
  section.child("deployments");
  TRY(section.done());
  if (file.model.empty()) return Error(Code::kInvalidArgument, "no `model`: name one, e.g. hf:google/gemma-3-27b-it");
  return file;
}

/// The map `root`, overridden by `chosen`. Nodes are shared, not cloned, as clones forget their lines.
YAML::Node merge(const YAML::Node& root, const YAML::Node& chosen, const std::string& name) {
  YAML::Node merged(YAML::NodeType::Map);
  if (!chosen["name"].IsDefined()) merged["name"] = name;
  for (const auto& entry : root) {
    const std::string key = entry.first.as<std::string>("");
    if (key != "deployments" && key != "name" && !chosen[key].IsDefined())
      merged.force_insert(entry.first, entry.second);
  }
  for (const auto& entry : chosen) merged.force_insert(entry.first, entry.second);
  return merged;
}

/// What stands outside `deployments`, overridden by the chosen one.
Result<YAML::Node> choose_deployment(const YAML::Node& root, const std::string& wanted) {
  const YAML::Node all = root["deployments"];
  if (!all.IsDefined() || all.IsNull()) {
    if (wanted.empty()) return root;
    return Error(Code::kNotFound, "the file has no `deployments`, so none is called ", wanted);
  }
  std::string names;
  for (const auto& entry : all) names += (names.empty() ? "" : ", ") + entry.first.as<std::string>("");
  if (wanted.empty() && all.size() != 1) {
    return Error(Code::kInvalidArgument, "the file holds several deployments (", names, "): choose with --deployment");
  }
  const std::string name = wanted.empty() ? names : wanted;
  if (!all.IsMap() || !all[name].IsDefined())
    return Error(Code::kNotFound, "no deployment ", name, "; there are: ", names);
  const YAML::Node chosen = all[name];
  if (!chosen.IsMap() && !chosen.IsNull()) return at_file_line(chosen.Mark(), "deployment " + name + " must be a map");
  return merge(root, chosen, name);
}

}  // namespace

int CloudFile::sequences() const {
  return streams > 0 ? std::clamp(streams, spec.stages.front().concurrency, kMostSequences) : kDefaultSequences;
}

Result<CloudFile> parse_cloud_file(std::string_view text, const std::string& deployment, const Variables& variables) {
  if (text.size() > kMaxFileBytes) return Error(Code::kInvalidArgument, "the file is larger than a megabyte");
  try {
    const YAML::Node root = YAML::Load(std::string(text));
    if (!root.IsMap()) return Error(Code::kInvalidArgument, "the file must be a map of keys and values");
    return read_deployment(TRY(choose_deployment(root, deployment)), variables);
  } catch (const YAML::Exception& error) {  // the library's exceptions stop here
    return at_file_line(error.mark, error.msg);
  }
}

}  // namespace commissure
