#include "deployment/cloud_file.h"

#include <algorithm>
#include <charconv>

#include "deployment/file_keys.h"
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
      "; all stages of a chain compute one model file and refuse neighbours with another: a chain of two would answer "
      "as "
      "neither does. ";
  for (const char* key : {"quantisation", "quantization", "dtype", "precision", "kv_dtype", "model", "weights"}) {
    const YAML::Node found = node[key];
    const bool is_ours = !is_stage && (std::string_view(key) != "quantization" && std::string_view(key) != "dtype");
    if (!found.IsDefined() || is_ours) continue;
    const std::string where = is_stage ? " cannot differ by stage" : " is not a key";
    return at_file_line(found.Mark(),
                        key + where + kOneFile +
                            "Outside `stages`, `quantisation` chooses a GGUF of a hub "
                            "repository and `kv_dtype` how keys and values are kept; `quant`, there or of "
                            "a stage, quantises float weights while they are loaded");
  }
  return {};
}

Status read_part(KeyPart part, const YAML::Node& node, const Section& section, const Environment& variables,
                 CloudFile& file);

/// Reads the value of one key of a map into its field.
struct KeyReader {
  const FileKey& key;
  Section& section;
  const Environment& variables;
  CloudFile& file;
  CloudStage* stage;  ///< whose map it is; null where it is none's

  Status take(std::string& field) const {
    if (key.choices.empty()) return section.take(key.name, field);
    std::string choice = TRY(section.choose(key.name, key.choices));
    if (section.has(key.name)) field = std::move(choice);  // else the default, or what the deployment says of all
    return {};
  }
  Status take(int& field) const { return section.take(key.name, field, key.least, key.most); }
  Status take(double& field) const { return section.take(key.name, field); }
  Status take(bool& field) const { return section.take(key.name, field); }

  template <typename T>
  Status operator()(T CloudFile::* field) const {
    return take(file.*field);
  }
  template <typename T>
  Status operator()(T CloudSpec::* field) const {
    return take(file.spec.*field);
  }
  template <typename T>
  Status operator()(T CloudStage::* field) const {
    return take(stage->*field);
  }
  Status operator()(KeySetter set) const {
    set(file, TRY(section.choose(key.name, key.choices)));
    return {};
  }
  Status operator()(KeyPart part) const { return read_part(part, section.child(key.name), section, variables, file); }
};

Status read_keys(std::span<const FileKey> keys, Section& section, const Environment& variables, CloudFile& file,
                 CloudStage* stage) {
  for (const FileKey& key : keys) {
    const KeyReader reader{key, section, variables, file, stage};
    TRY(std::visit(reader, key.field));
  }
  return {};
}

/// `other`: a key of the map that says nothing of a stage; or null.
Status read_stage(const YAML::Node& node, const Environment& variables, CloudFile& file, CloudStage& stage,
                  const char* other) {
  TRY(check_wishes(node, true));
  Section section(node, variables);
  if (other != nullptr) section.allow(other);
  TRY(read_keys(stage_keys(), section, variables, file, &stage));
  return section.done();
}

/// `stages` is a number, a map with `count` and what all have, or a list with one map per stage.
Status read_stages(const YAML::Node& node, const Environment& variables, CloudFile& file) {
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
    stage.quant = file.quant;
    if (!each[i].IsNull() && !each[i].IsMap()) return at_file_line(each[i].Mark(), "a stage must be a map");
    TRY(read_stage(each[i], variables, file, stage, node.IsMap() ? "count" : nullptr));
    file.spec.stages.push_back(std::move(stage));
  }
  return {};
}

Status read_cuts(const YAML::Node& node, const Section& section, std::vector<int>& cuts) {
  if (!node.IsDefined() || node.IsNull()) return {};
  if (!node.IsSequence()) return at_file_line(node.Mark(), "cuts must be a list of layers, e.g. [20, 44]");
  for (const YAML::Node& cut : node) {
    const std::string text = cut.IsScalar() ? TRY(section.with_variables(cut)) : "";
    int layer = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), layer);
    if (problem != std::errc() || end != text.data() + text.size() || layer < 1)
      return at_file_line(cut.Mark(), "a cut must be a layer's number");
    if (!cuts.empty() && layer <= cuts.back()) {
      return at_file_line(cut.Mark(), "cuts must rise, as each stage begins behind the one before it: " + text +
                                          " comes after " + std::to_string(cuts.back()));
    }
    cuts.push_back(layer);
  }
  return {};
}

Status read_network(const YAML::Node& node, const Environment& variables, CloudFile& file) {
  if (!node.IsDefined() || node.IsNull()) return {};
  if (!node.IsMap()) return at_file_line(node.Mark(), "network must be a map with name, subnet and internal");
  Section section(node, variables);
  TRY(read_keys(network_keys(), section, variables, file, nullptr));
  if (file.spec.subnet.empty()) file.spec.subnet = file.spec.network;
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

Status read_part(KeyPart part, const YAML::Node& node, const Section& section, const Environment& variables,
                 CloudFile& file) {
  switch (part) {
    case KeyPart::kCuts: return read_cuts(node, section, file.spec.cuts);
    case KeyPart::kStages: return read_stages(node, variables, file);
    case KeyPart::kNetwork: return read_network(node, variables, file);
    case KeyPart::kLabels: return read_labels(node, section, file.spec);
  }
  return {};
}

/// A GGUF of the hub is one model with its repository.
Status join_quantisation(CloudFile& file) {
  if (file.quantisation.empty()) return {};
  if (!file.model.starts_with("hf:") || file.model.find(':', 3) != std::string::npos) {
    return Error(Code::kInvalidArgument, "`quantisation` chooses a GGUF of a repository on the hub, hf:OWNER/REPO; ",
                 file.model, " is as it is");
  }
  file.model += ":" + file.quantisation;
  return {};
}

/// `streams` as the stages' program counts: positions of the cache, and sequences.
Status add_streams(CloudFile& file) {
  if (file.streams == 0) return {};
  if (file.context == 0) return Error(Code::kInvalidArgument, "`streams` counts full contexts: set `context` too");
  const std::int64_t positions = std::int64_t{file.streams} * file.context;
  std::vector<std::string>& arguments = file.spec.stage_arguments;
  arguments.insert(arguments.end(),
                   {"--kv-tokens", std::to_string(positions), "--max-num-seqs", std::to_string(file.sequences())});
  return {};
}

Result<CloudFile> read_deployment(const YAML::Node& node, const Environment& variables) {
  CloudFile file;
  TRY(check_wishes(node, false));
  Section section(node, variables);
  TRY(read_keys(deployment_keys(), section, variables, file, nullptr));
  section.allow("deployments");
  TRY(section.done());
  TRY(join_quantisation(file));
  tell_stages(file);
  TRY(add_streams(file));
  if (file.spec.bucket.empty()) file.spec.bucket = file.spec.project + "-" + file.spec.name;
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

Result<CloudFile> parse_cloud_file(std::string_view text, const std::string& deployment, const Environment& variables) {
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
