#pragma once

#include <fmt/format.h>

#include <span>
#include <string>

#include "core/json.h"
#include "deployment/file_keys.h"
#include "step/stage_plan.h"

/// What is written down of commissure.yaml's keys, made of their table (src/deployment/file_keys.cc).
namespace commissure {

inline bool is_text(const FileKey& key) {
  return std::holds_alternative<std::string CloudFile::*>(key.field) ||
         std::holds_alternative<std::string CloudSpec::*>(key.field) ||
         std::holds_alternative<std::string CloudStage::*>(key.field);
}

inline bool is_truth(const FileKey& key) {
  return std::holds_alternative<bool CloudSpec::*>(key.field) || std::holds_alternative<bool CloudStage::*>(key.field);
}

/// A number or truth may also come from a variable of the environment.
inline Json or_variable(Json type) {
  return Json::array({std::move(type), {{"type", "string"}, {"pattern", "\\$\\{.*\\}"}}});
}

inline Json whole_number(int least, int most) { return {{"type", "integer"}, {"minimum", least}, {"maximum", most}}; }

/// The default that the key's field says.
inline std::string default_of(const FileKey& key) {
  if (!key.choices.empty()) return *key.otherwise != '\0' ? "" : key.choices.front();
  const bool is_none = *key.otherwise != '\0' || std::holds_alternative<double CloudFile::*>(key.field);
  return is_none ? "" : key_text(key, CloudFile(), CloudStage());
}

inline Json part_form(KeyPart part) {
  if (part == KeyPart::kCuts) return {{"type", "array"}, {"items", {{"type", "integer"}, {"minimum", 1}}}};
  if (part == KeyPart::kNetwork) return {{"$ref", "#/$defs/network"}};
  if (part == KeyPart::kLabels) {
    return {{"type", "object"}, {"additionalProperties", {{"type", {"string", "number", "boolean"}}}}};
  }
  const Json count = {{"description", "how many"}, {"anyOf", or_variable(whole_number(1, kMaxStages))}};
  const Json each = {{"anyOf", {{{"$ref", "#/$defs/stage"}}, {{"type", "null"}}}}};
  return {{"anyOf", Json::array({count,
                                 {{"$ref", "#/$defs/common"}},
                                 {{"type", "array"}, {"minItems", 1}, {"maxItems", kMaxStages}, {"items", each}}})}};
}

inline Json property_of(const FileKey& key) {
  const std::string otherwise = key.otherwise;
  Json property = {{"description", key.about + (otherwise.empty() ? "" : "; absent: " + otherwise)}};
  if (const auto* part = std::get_if<KeyPart>(&key.field)) {
    property.update(part_form(*part));
  } else if (!key.choices.empty()) {
    property["enum"] = key.choices;
  } else if (key.most > 0) {
    property["anyOf"] = or_variable(whole_number(key.least, key.most));
  } else if (is_text(key)) {
    property["type"] = "string";
  } else if (is_truth(key)) {
    property["anyOf"] = or_variable({{"type", "boolean"}});
  } else {
    property["anyOf"] = or_variable({{"type", "number"}, {"exclusiveMinimum", 0}});
  }
  const std::string value = default_of(key);
  if (!value.empty()) property["default"] = is_truth(key) ? Json(value == "true") : Json(value);
  if (!value.empty() && key.most > 0) property["default"] = std::stoi(value);
  return property;
}

inline Json map_of(std::span<const FileKey> keys) {
  Json map = {{"type", "object"}, {"additionalProperties", false}, {"properties", Json::object()}};
  for (const FileKey& key : keys) map["properties"][key.name] = property_of(key);
  return map;
}

/// docs/commissure.schema.json.
inline std::string schema_of_keys() {
  Json schema = {{"$schema", "https://json-schema.org/draft/2020-12/schema"}, {"title", "commissure.yaml"}};
  const Json deployment = map_of(deployment_keys());
  schema.update(deployment);
  schema["properties"]["deployments"] = {
      {"description", "several deployments by name; each overrides what stands outside"},
      {"type", "object"},
      {"additionalProperties", {{"$ref", "#/$defs/deployment"}}}};
  Json common = map_of(stage_keys());
  common["properties"]["count"] = {{"description", "how many"}, {"anyOf", or_variable(whole_number(1, kMaxStages))}};
  schema["$defs"] = {{"deployment", deployment},
                     {"common", std::move(common)},
                     {"stage", map_of(stage_keys())},
                     {"network", map_of(network_keys())}};
  return schema.dump(1) + "\n";
}

inline std::string values_text(const FileKey& key) {
  std::string text;
  for (const char* choice : key.choices) text += (text.empty() ? "`" : ", `") + std::string(choice) + "`";
  if (!text.empty()) return text;
  if (key.most > 0) return fmt::format("{} to {}", key.least, key.most);
  if (is_truth(key)) return "`true` or `false`";
  if (is_text(key)) return "text";
  return std::holds_alternative<KeyPart>(key.field) ? "" : "a number above zero";
}

inline std::string quoted_words(const std::string& text) { return text.empty() ? "" : "`" + text + "`"; }

inline std::string table_of(std::span<const FileKey> keys) {
  std::string table =
      "| key | what it is | values | absent | e.g. | becomes | in Terraform |\n|---|---|---|---|---|---|---|\n";
  for (const FileKey& key : keys) {
    const std::string absent = *key.otherwise != '\0' ? key.otherwise : quoted_words(default_of(key));
    const std::string becomes = *key.variable != '\0' ? key.variable : *key.flag != '\0' ? key.flag : key.seen;
    const std::string terraform = key.terraform == std::string(kNotInTerraform) ? ""
                                  : *key.terraform != '\0'                      ? key.terraform
                                                                                : key.name;
    table += fmt::format("| `{}` | {} | {} | {} | `{}` | {} | {} |\n", key.name, key.about, values_text(key), absent,
                         key.example, quoted_words(becomes), quoted_words(terraform));
  }
  return table;
}

/// docs/commissure-yaml.md.
inline std::string page_of_keys() {
  return "# Every key of commissure.yaml\n\n"
         "<!-- Written by `make keys` from src/deployment/file_keys.cc. -->\n\n"
         "[deploy.md](deploy.md) says how a deployment is made and more of some of these keys; editors check the file "
         "by\n[commissure.schema.json](commissure.schema.json). An unknown key is an error that names the nearest. "
         "Values may hold `${NAME}` or `${NAME:-otherwise}` of the\nenvironment. `becomes` is the flag of "
         "`gcloud run deploy`, or the variable or flag of the stages' program, that a value is seen by;\n"
         "`in Terraform` the variable of [deploy/terraform](../deploy/terraform) that says the same.\n\n"
         "## A deployment\n\n" +
         table_of(deployment_keys()) +
         "\n`deployments` holds several by name; each overrides what stands outside it, and `--deployment` chooses "
         "one.\n\n"
         "## A stage\n\nIn `stages`, for all at once (`stages: {count: 3, cpu: 2}`) or one map each.\n\n" +
         table_of(stage_keys()) + "\n## `network`\n\n" + table_of(network_keys());
}

}  // namespace commissure
