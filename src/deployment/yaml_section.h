#pragma once

#include <yaml-cpp/yaml.h>

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/environment.h"
#include "core/result.h"

namespace commissure {

/// An error of a YAML file, with its line.
Error at_file_line(const YAML::Mark& mark, const std::string& message);

/// One map of commissure.yaml. Every key that is asked for becomes known; the others are errors.
class Section {
 public:
  /// `variables` outlive the section.
  Section(const YAML::Node& node, const Environment& variables) : node_(node), variables_(variables) {}

  /// The text of a key, with variables put in; nothing when it is absent.
  Result<std::optional<std::string>> text(const char* key);

  /// Fill `field` where the key is there. Errors: kInvalidArgument, naming the line and what it must be.
  Status take(const char* key, std::string& field);
  Status take(const char* key, int& field, int least, int most);
  Status take(const char* key, bool& field);
  Status take(const char* key, double& field);  ///< above zero

  /// One of `choices`; the first where the key is absent.
  Result<std::string> choose(const char* key, std::span<const char* const> choices);
  /// Whether the key is there with a value.
  bool has(const char* key) const;
  /// Makes a key known that somebody else reads.
  void allow(const char* key) { known_.emplace_back(key); }

  /// The node of a key; a null node when the key is absent.
  YAML::Node child(const char* key);

  /// Errors: kInvalidArgument, a key that is there twice, or one that nobody asked for; the message names the nearest.
  Status done() const;

  /// Errors: kInvalidArgument, a variable that is not there and has no default.
  Result<std::string> with_variables(const YAML::Node& value) const;

 private:
  const YAML::Node node_;
  const Environment& variables_;
  std::vector<std::string> known_;
};

}  // namespace commissure
