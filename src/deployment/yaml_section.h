#pragma once

#include <yaml-cpp/yaml.h>

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "core/result.h"
#include "deployment/cloud_file.h"

namespace commissure {

/// An error of a YAML file, with its line.
Error at_file_line(const YAML::Mark& mark, const std::string& message);

/// One map of commissure.yaml. Every key that is asked for becomes known; the others are errors.
class Section {
 public:
  /// `variables` outlive the section.
  Section(const YAML::Node& node, const Variables& variables) : node_(node), variables_(variables) {}

  /// The text of a key, with variables put in; nothing when it is absent.
  Result<std::optional<std::string>> text(const char* key);

  /// Fill `field` where the key is there. Errors: kInvalidArgument, naming the line and what it must be.
  Status take(const char* key, std::string& field);
  Status take(const char* key, int& field, int least, int most);
  Status take(const char* key, bool& field);
  Status take(const char* key, double& field);  ///< above zero

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
    return at_file_line(node_[key].Mark(), std::string(key) + " is \"" + *value + "\"; it must be one of: " + list);
  }

  /// Makes a key known that somebody else reads.
  void allow(const char* key) { known_.emplace_back(key); }

  /// Null when it is absent.
  YAML::Node child(const char* key);

  /// Errors: kInvalidArgument, a key that is there twice, or one that nobody asked for; the message names the nearest.
  Status done() const;

  /// Errors: kInvalidArgument, a variable that is not there and has no default.
  Result<std::string> with_variables(const YAML::Node& value) const;

 private:
  const YAML::Node node_;
  const Variables& variables_;
  std::vector<std::string> known_;
};

}  // namespace commissure
