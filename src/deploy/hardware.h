#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace commissure {

/// One shape of instance that can carry a stage.
struct Machine {
  std::string name;  ///< "l4"
  std::string gpu;   ///< as gcloud calls it; "" for none
  double cpus = 0;
  double memory_gib = 0;
  double usable_bytes = 0;             ///< for weights, KV and activations
  double bytes_per_second = 0;         ///< what a stage streams from its memory, efficiency put in
  double ops_per_second = 0;           ///< multiply and add count as two
  double usd_per_hour = 0;             ///< while an instance is up
  double start_seconds = 0;            ///< from the request to the program's start
  std::vector<std::string> regions{};  ///< empty: all

  bool is_in(const std::string& region) const;
};

/// What can be rented and what it costs, as of a date.
struct Catalogue {
  std::string date;
  std::vector<Machine> machines;
  double source_bytes_per_second = 0;  ///< bucket to one stage
  double hop_seconds = 0;              ///< one way between two stages
  double usd_per_gib_month = 0;        ///< of weights in a bucket
};

/// Reads deploy/catalogue.yaml's format. Errors: kInvalidArgument, naming the line and key.
Result<Catalogue> parse_catalogue(std::string_view text);

/// The catalogue that this build carries.
std::string_view built_in_catalogue();

}  // namespace commissure
