#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/json.h"
#include "deployment/cloud_spec.h"

namespace commissure {

/// One value of a stage's service: what it must be, the flag of `gcloud run deploy` that makes it so, and where the
/// Knative body tells it.
struct ServiceField {
  const char* fact;  ///< its name in `ServiceFacts`; "" where the body does not tell it
  /// The value that it must be; nothing where the stage has no such value.
  std::optional<std::string> (*wanted)(const CloudSpec& spec, const CloudStage& stage) = nullptr;
  const char* flag = "";  ///< with "=" at its end: the wanted value stands behind it
  /// The flags to give instead of `flag`, where one does not say it.
  std::vector<std::string> (*flags)(const CloudSpec& spec, const CloudStage& stage) = nullptr;
  std::vector<const char*> path = {};                ///< keys of the body; "0" is the first of a list
  const char* absent = "";                           ///< what it means that nothing is there
  std::string (*read)(const Json* value) = nullptr;  ///< the found value, or null, as a fact; otherwise its text
};

/// All fields, in the order in which their flags are given.
std::span<const ServiceField> service_fields();

/// The part of a stage's settings whose change makes another release of the chain, as text.
std::string release_shape(const CloudStage& stage);

/// The port that every stage's program listens on.
inline constexpr int kServicePort = 8080;

bool is_first_stage(const CloudSpec& spec, const CloudStage& stage);
bool has_next_stage(const CloudSpec& spec, const CloudStage& stage);

/// The value at a path of keys, as `ServiceField` writes it; null when any is missing.
const Json* value_at(const Json* value, std::span<const char* const> path);
/// A text as it is, other values as JSON, "" for null.
std::string plain_text(const Json* value);

}  // namespace commissure
