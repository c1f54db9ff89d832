#include "deployment/yaml_section.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "core/spelling.h"

namespace commissure {

Error at_file_line(const YAML::Mark& mark, const std::string& message) {
  return Error(Code::kInvalidArgument, "line ", mark.line + 1, ": ", message);
}

Result<std::optional<std::string>> Section::text(const char* key) {
  known_.emplace_back(key);
  const YAML::Node value = node_[key];
  if (!value.IsDefined() || value.IsNull()) return std::optional<std::string>();
  if (!value.IsScalar()) return at_file_line(value.Mark(), std::string(key) + " must be one value");
  return std::optional(TRY(with_variables(value)));
}

Status Section::take(const char* key, std::string& field) {
  if (auto value = TRY(text(key))) field = std::move(*value);
  return {};
}

Status Section::take(const char* key, int& field, int least, int most) {
  const auto value = TRY(text(key));
  if (!value) return {};
  const auto [end, problem] = std::from_chars(value->data(), value->data() + value->size(), field);
  if (problem == std::errc() && end == value->data() + value->size() && field >= least && field <= most) return {};
  return at_file_line(node_[key].Mark(), std::string(key) + " is \"" + *value + "\"; it must be a whole number from " +
                                             std::to_string(least) + " to " + std::to_string(most));
}

Status Section::take(const char* key, double& field) {
  const auto value = TRY(text(key));
  if (!value) return {};
  const auto [end, problem] = std::from_chars(value->data(), value->data() + value->size(), field);
  if (problem == std::errc() && end == value->data() + value->size() && field > 0 && field < 1e9) return {};
  return at_file_line(node_[key].Mark(), std::string(key) + " is \"" + *value + "\"; it must be a number above zero");
}

Status Section::take(const char* key, bool& field) {
  const auto value = TRY(text(key));
  if (!value) return {};
  if (*value != "true" && *value != "false")
    return at_file_line(node_[key].Mark(), std::string(key) + " is \"" + *value + "\"; it must be true or false");
  field = *value == "true";
  return {};
}

Result<std::string> Section::choose(const char* key, std::span<const char* const> choices) {
  const auto value = TRY(text(key));
  if (!value) return choices.front();
  std::string list;
  for (const char* choice : choices) {
    if (*value == choice) return choice;
    list += (list.empty() ? "" : ", ") + std::string(choice);
  }
  return at_file_line(node_[key].Mark(), std::string(key) + " is \"" + *value + "\"; it must be one of: " + list);
}

bool Section::has(const char* key) const { return node_.IsMap() && node_[key].IsDefined() && !node_[key].IsNull(); }

YAML::Node Section::child(const char* key) {
  known_.emplace_back(key);
  const YAML::Node value = node_[key];
  return value.IsDefined() ? value : YAML::Node();  // an undefined node throws when it is asked anything
}

Status Section::done() const {
  if (!node_.IsMap()) return {};
  std::set<std::string> seen;
  for (const auto& entry : node_) {
    const std::string key = entry.first.as<std::string>("");
    if (!seen.insert(key).second) return at_file_line(entry.first.Mark(), "the key \"" + key + "\" is there twice");
    if (std::ranges::find(known_, key) != known_.end()) continue;
    constexpr std::size_t kCompared = 64;  // keys are shorter
    const std::string_view begin = std::string_view(key).substr(0, kCompared);
    const auto nearest =
        std::ranges::min_element(known_, {}, [&](const std::string& known) { return edit_distance(begin, known); });
    return at_file_line(entry.first.Mark(), "unknown key \"" + key + "\"; did you mean " + *nearest + "?");
  }
  return {};
}

Result<std::string> Section::with_variables(const YAML::Node& value) const {
  std::string text = value.Scalar();
  for (auto start = text.find("${"); start != std::string::npos; start = text.find("${", start)) {
    const auto end = text.find('}', start);
    if (end == std::string::npos) return at_file_line(value.Mark(), "\"" + text + "\" opens ${ and does not close it");
    const std::string inner = text.substr(start + 2, end - start - 2);
    const auto dash = inner.find(":-");
    const std::string name = inner.substr(0, dash);
    auto found = variables_(name);
    if (!found && dash != std::string::npos) found = inner.substr(dash + 2);
    if (!found)
      return at_file_line(value.Mark(), "the environment has no " + name + "; set it or write ${" + name + ":-value}");
    text.replace(start, end + 1 - start, *found);
    start += found->size();
  }
  return text;
}

}  // namespace commissure
