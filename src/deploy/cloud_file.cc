#include "deploy/cloud_file.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <numeric>

#include "step/stage_plan.h"

namespace commissure {

namespace {

constexpr std::size_t kMaxFileBytes = 1u << 20;
constexpr int kDefaultSequences = 64;
constexpr int kMostSequences = 1024;

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t swap = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, swap});
    }
  }
  return row.back();
}

Error at_line(const YAML::Mark& mark, const std::string& message) {
  return Error(Code::kInvalidArgument, "line ", mark.line + 1, ": ", message);
}

/// One map of the file. Every key that is asked for becomes known; the others are errors.
class Section {
 public:
  Section(const YAML::Node& node, const Variables& variables) : node_(node), variables_(variables) {}

  /// The text of a key, with variables put in; nothing when it is absent.
  Result<std::optional<std::string>> text(const char* key) {
    known_.emplace_back(key);
    const YAML::Node value = node_[key];
    if (!value.IsDefined() || value.IsNull()) return std::optional<std::string>();
    if (!value.IsScalar()) return at_line(value.Mark(), std::string(key) + " must be one value");
    return std::optional(TRY(with_variables(value)));
  }

  Status take(const char* key, std::string& field) {
    if (auto value = TRY(text(key))) field = std::move(*value);
    return {};
  }

  Status take(const char* key, int& field, int least, int most) {
    const auto value = TRY(text(key));
    if (!value) return {};
    const auto [end, problem] = std::from_chars(value->data(), value->data() + value->size(), field);
    if (problem == std::errc() && end == value->data() + value->size() && field >= least && field <= most) return {};
    return at_line(node_[key].Mark(), std::string(key) + " is \"" + *value + "\"; it must be a whole number from " +
                                          std::to_string(least) + " to " + std::to_string(most));
  }

  Status take(const char* key, bool& field) {
    const auto value = TRY(text(key));
    if (!value) return {};
    if (*value != "true" && *value != "false")
      return at_line(node_[key].Mark(), std::string(key) + " is \"" + *value + "\"; it must be true or false");
    field = *value == "true";
    return {};
  }

  /// Index into `choices`, or the default.
  template <std::size_t n>
  Result<std::size_t> choose(const char* key, const std::array<const char*, n>& choices, std::size_t otherwise) {
    const auto value = TRY(text(key));
    if (!value) return otherwise;
    std::string list;
    for (std::size_t i = 0; i < n; ++i) {
      if (*value == choices[i]) return i;
      list += (i > 0 ? ", " : "") + std::string(choices[i]);
    }
    return at_line(node_[key].Mark(), std::string(key) + " is \"" + *value + "\"; it must be one of: " + list);
  }

  YAML::Node child(const char* key) {
    known_.emplace_back(key);
    const YAML::Node value = node_[key];
    return value.IsDefined() ? value : YAML::Node();  // an undefined node throws when it is asked anything
  }

  /// Errors: kInvalidArgument, a key that nobody asked for.
  Status done() const {
    if (!node_.IsMap()) return {};
    for (const auto& entry : node_) {
      const std::string key = entry.first.as<std::string>("");
      if (std::ranges::find(known_, key) != known_.end()) continue;
      const auto nearest =
          std::ranges::min_element(known_, {}, [&](const std::string& known) { return edit_distance(key, known); });
      return at_line(entry.first.Mark(), "unknown key \"" + key + "\"; did you mean " + *nearest + "?");
    }
    return {};
  }

  Result<std::string> with_variables(const YAML::Node& value) const {
    std::string text = value.Scalar();
    for (auto start = text.find("${"); start != std::string::npos; start = text.find("${", start)) {
      const auto end = text.find('}', start);
      if (end == std::string::npos) return at_line(value.Mark(), "\"" + text + "\" opens ${ and does not close it");
      const std::string inner = text.substr(start + 2, end - start - 2);
      const auto dash = inner.find(":-");
      const std::string name = inner.substr(0, dash);
      auto found = variables_(name);
      if (!found && dash != std::string::npos) found = inner.substr(dash + 2);
      if (!found)
        return at_line(value.Mark(), "the environment has no " + name + "; set it or write ${" + name + ":-value}");
      text.replace(start, end + 1 - start, *found);
      start += found->size();
    }
    return text;
  }

 private:
  const YAML::Node node_;
  const Variables& variables_;
  std::vector<std::string> known_;
};

Status read_stage(const YAML::Node& node, const Variables& variables, CloudStage& stage) {
  Section section(node, variables);
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
      common = YAML::Clone(node);
      Section section(common, variables);
      TRY(section.take("count", count, 1, kMaxStages));
      common.remove("count");
    } else if (node.IsScalar()) {
      YAML::Node wrapped;
      wrapped["stages"] = node;
      Section section(wrapped, variables);
      TRY(section.take("stages", count, 1, kMaxStages));
    }
    each.assign(static_cast<std::size_t>(count), common);
  }
  if (each.empty() || each.size() > kMaxStages)
    return at_line(node.Mark(), "stages: 1 to " + std::to_string(kMaxStages) + " are possible");
  for (std::size_t i = 0; i < each.size(); ++i) {
    CloudStage stage;
    stage.letter = std::string(1, static_cast<char>('a' + i));
    if (!each[i].IsNull() && !each[i].IsMap()) return at_line(each[i].Mark(), "a stage must be a map");
    TRY(read_stage(each[i], variables, stage));
    stages.push_back(std::move(stage));
  }
  return {};
}

Status read_cuts(const YAML::Node& node, std::vector<int>& cuts) {
  if (!node.IsDefined() || node.IsNull()) return {};
  if (!node.IsSequence()) return at_line(node.Mark(), "cuts must be a list of layers, e.g. [20, 44]");
  for (const YAML::Node& cut : node) {
    int layer = 0;
    if (!YAML::convert<int>::decode(cut, layer) || layer < 1)
      return at_line(cut.Mark(), "a cut must be a layer's number");
    cuts.push_back(layer);
  }
  return {};
}

Status read_network(const YAML::Node& node, const Variables& variables, CloudSpec& spec) {
  if (!node.IsDefined() || node.IsNull()) return {};
  if (!node.IsMap()) return at_line(node.Mark(), "network must be a map with name, subnet and internal");
  Section section(node, variables);
  TRY(section.take("name", spec.network));
  spec.subnet = spec.network;
  TRY(section.take("subnet", spec.subnet));
  TRY(section.take("internal", spec.internal));
  return section.done();
}

Status read_labels(const YAML::Node& node, const Section& section, CloudSpec& spec) {
  if (!node.IsDefined() || node.IsNull()) return {};
  if (!node.IsMap()) return at_line(node.Mark(), "labels must be a map");
  for (const auto& entry : node) {
    if (!entry.second.IsScalar()) return at_line(entry.second.Mark(), "a label must be one value");
    spec.labels[entry.first.as<std::string>("")] = TRY(section.with_variables(entry.second));
  }
  return {};
}

Status read_model(Section& section, CloudFile& file) {
  CloudSpec& spec = file.spec;
  TRY(section.take("model", file.model));
  TRY(section.take("revision", file.revision));
  TRY(section.take("model_name", spec.model_name));
  TRY(section.take("hub_token", spec.hub_token));
  TRY(section.take("context", file.context, 16, 1 << 20));
  TRY(section.take("streams", file.streams, 1, 4096));
  constexpr auto kv_dtypes = std::to_array<const char*>({"auto", "bf16", "int8"});
  file.kv_dtype = kv_dtypes[TRY(section.choose("kv_dtype", kv_dtypes, 0))];
  spec.weights.mounted = TRY(section.choose("weights", std::to_array<const char*>({"bucket", "mounted"}), 0)) == 1;
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
  Section section(node, variables);
  TRY(section.take("name", spec.name));
  TRY(section.take("project", spec.project));
  TRY(section.take("region", spec.region));
  TRY(read_model(section, file));
  TRY(read_stages(section.child("stages"), variables, spec.stages));
  TRY(add_arguments(file));
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
  YAML::Node merged = YAML::Clone(root);
  merged.remove("deployments");
  merged["name"] = name;
  for (const auto& entry : all[name]) merged[entry.first.as<std::string>("")] = entry.second;
  return merged;
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
    return at_line(error.mark, error.msg);
  }
}

}  // namespace commissure
