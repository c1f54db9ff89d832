#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace commissure {

/// How much CPU and memory may go together.
struct MachineShape {
  double least_cpus = 0, most_cpus = 0;
  double least_gib = 0, most_gib = 0;
};

/// One shape of instance that can carry a stage.
struct Machine {
  std::string name;  ///< "l4"
  std::string gpu;   ///< as gcloud calls it; "" for none
  double cpus = 0;
  double memory_gib = 0;
  double usable_bytes = 0;             ///< for weights, KV and activations
  double bytes_per_second = 0;         ///< that a stage reads from its memory; the efficiency is in it
  double ops_per_second = 0;           ///< multiply and add count as two
  double usd_per_hour = 0;             ///< while an instance is up
  double start_seconds = 0;            ///< from the request to the program's start
  std::vector<std::string> regions{};  ///< empty: all
  double gpu_usd_per_hour = 0;
  MachineShape beside_gpu{};  ///< all zero: not known

  bool is_in(const std::string& region) const;
};

/// What can be rented and what it costs, as of a date.
struct Catalogue {
  std::string date;
  std::vector<Machine> machines;
  double source_bytes_per_second = 0;  ///< bucket to one stage
  double image_bytes_per_second = 0;   ///< baked weights to one stage
  double hop_seconds = 0;              ///< one way between two stages
  double usd_per_gib_month = 0;        ///< of weights in a bucket
  double usd_per_cpu_hour = 0, usd_per_gib_hour = 0;
  std::vector<std::string> regions{};  ///< of Cloud Run; empty: not known
  std::vector<MachineShape> shapes{};  ///< of instances without a GPU, by CPUs; empty: not known
};

/// Reads deploy/catalogue.yaml's format. Errors: kInvalidArgument, naming the line and key.
Result<Catalogue> parse_catalogue(std::string_view text);

/// The machine with this GPU ("" for none) and another share of CPU and memory: its price, and without a GPU its speed
/// and usable memory, in proportion to the nearest one of the catalogue. Errors: kNotFound, the catalogue has no such
/// GPU; the message names those it has.
Result<Machine> shaped_machine(const Catalogue& catalogue, const std::string& gpu, double cpus, double memory_gib);

/// The catalogue that this build carries.
std::string_view built_in_catalogue();

}  // namespace commissure
