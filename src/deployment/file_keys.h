#pragma once

#include <span>
#include <string>
#include <variant>
#include <vector>

#include "deployment/cloud_file.h"

namespace commissure {

/// Keys whose values are numbers, lists or maps of a form of their own; cloud_file.cc reads each.
enum class KeyPart { kCuts, kStages, kNetwork, kLabels };

/// Puts a chosen word into the fields that it stands for.
using KeySetter = void (*)(CloudFile& file, const std::string& choice);

/// Where a key's value goes; the type of the field is the form that the value must have.
using KeyField = std::variant<std::string CloudFile::*, int CloudFile::*, double CloudFile::*, std::string CloudSpec::*,
                              bool CloudSpec::*, std::string CloudStage::*, int CloudStage::*, bool CloudStage::*,
                              KeySetter, KeyPart>;

/// `terraform` of a key that the Terraform module does not know.
inline constexpr const char* kNotInTerraform = "-";

/// One key of commissure.yaml. The parser, docs/commissure.schema.json, docs/commissure-yaml.md, what `init` writes and
/// what a stage's program is told follow from it.
struct FileKey {
  const char* name;
  const char* about;  ///< one line, for the schema, the documentation and the file that `init` writes
  KeyField field;
  const char* example;                    ///< YAML of a value that is not the default; tests try every key with it
  int least = 0, most = 0;                ///< of a whole number; of a text: the schema asks for such a number
  std::vector<const char*> choices = {};  ///< the first is the default
  const char* otherwise = "";             ///< what an absent key means, where its field does not say that
  const char* variable = "";   ///< of the environment of the stages' program, which is told what is not the default
  const char* flag = "";       ///< or its flag
  const char* untold = "";     ///< another value that means the default
  const char* seen = "";       ///< the flag of `gcloud run deploy`, or the variable, by which other keys are seen
  const char* terraform = "";  ///< the variable's name in deploy/terraform where it is not `name`
};

/// The keys of a deployment, of one stage and of `network`, in the order in which they are read and documented.
std::span<const FileKey> deployment_keys();
std::span<const FileKey> stage_keys();
std::span<const FileKey> network_keys();

/// The value that a key's field has, as text; "" where it has none. `stage` where the key is one of a stage.
std::string key_text(const FileKey& key, const CloudFile& file, const CloudStage& stage);

/// "context: 4096 # longest sequence in tokens", a line of the file; `name` is that of a key.
std::string file_line(std::span<const FileKey> keys, const std::string& name, const std::string& value);

/// Tells the stages' program what the file says: fills `environment` of its stages and `stage_arguments`.
void tell_stages(CloudFile& file);

}  // namespace commissure
