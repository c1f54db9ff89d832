#include "deployment/hardware.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cmath>

#include "core/units.h"

namespace commissure {

namespace {

constexpr double kSecondsPerHour = 3600;

Error at_line(const YAML::Mark& mark, const std::string& message) {
  return Error(Code::kInvalidArgument, "catalogue, line ", mark.line + 1, ": ", message);
}

/// A number of a map; `least` excludes itself unless it is the value of an optional key that is absent.
Result<double> number(const YAML::Node& map, const char* key) {
  const YAML::Node node = map[key];
  if (!node.IsDefined()) return at_line(map.Mark(), std::string(key) + " is missing");
  double value = 0;
  if (!YAML::convert<double>::decode(node, value) || !std::isfinite(value) || value < 0) {
    return at_line(node.Mark(), std::string(key) + " must be a number, zero or more");
  }
  return value;
}

Result<YAML::Node> section(const YAML::Node& root, const char* key) {
  const YAML::Node node = root[key];
  if (!node.IsDefined() || !node.IsMap()) return at_line(root.Mark(), std::string(key) + " must be a map");
  return node;
}

/// `least_cpus` to `most_cpus`, or `cpus` for both.
Result<MachineShape> read_shape(const YAML::Node& node) {
  if (!node.IsMap()) return at_line(node.Mark(), "a shape must be a map");
  MachineShape shape;
  const bool exact = node["cpus"].IsDefined();
  shape.least_cpus = TRY(number(node, exact ? "cpus" : "least_cpus"));
  shape.most_cpus = TRY(number(node, exact ? "cpus" : "most_cpus"));
  shape.least_gib = TRY(number(node, "least_gib"));
  shape.most_gib = TRY(number(node, "most_gib"));
  if (shape.least_cpus > shape.most_cpus || shape.least_gib > shape.most_gib || shape.most_gib <= 0)
    return at_line(node.Mark(), "a shape must have least values below the most");
  return shape;
}

Result<Machine> read_machine(const YAML::Node& node, const YAML::Node& prices, const YAML::Node& load) {
  if (!node.IsMap()) return at_line(node.Mark(), "a machine must be a map");
  Machine machine;
  machine.name = node["name"].as<std::string>("");
  if (machine.name.empty()) return at_line(node.Mark(), "name is missing");
  machine.gpu = node["gpu"].as<std::string>("");
  machine.cpus = TRY(number(node, "cpus"));
  machine.memory_gib = TRY(number(node, "memory_gib"));
  machine.usable_bytes = kGiga * TRY(number(node, "usable_gb"));
  machine.bytes_per_second = kGiga * TRY(number(node, "read_gb_s")) * TRY(number(node, "efficiency"));
  machine.ops_per_second = 1e12 * TRY(number(node, "tera_ops"));
  if (machine.bytes_per_second <= 0 || machine.ops_per_second <= 0) {
    return at_line(node.Mark(), machine.name + " must have read_gb_s, efficiency and tera_ops above zero");
  }
  const double per_second =
      machine.cpus * TRY(number(prices, "cpu_second")) + machine.memory_gib * TRY(number(prices, "memory_second"));
  machine.start_seconds = TRY(number(load, "container_s"));
  if (!machine.gpu.empty()) {
    machine.gpu_usd_per_hour = kSecondsPerHour * TRY(number(node, "gpu_second"));
    machine.start_seconds += TRY(number(load, "driver_s"));
  }
  machine.usd_per_hour = per_second * kSecondsPerHour + machine.gpu_usd_per_hour;
  if (const YAML::Node beside = node["beside_gpu"]; beside.IsDefined()) machine.beside_gpu = TRY(read_shape(beside));
  for (const YAML::Node& region : node["regions"]) machine.regions.push_back(region.as<std::string>(""));
  return machine;
}

Result<Catalogue> read_catalogue(const YAML::Node& root) {
  if (!root.IsMap()) return Error(Code::kInvalidArgument, "the catalogue must be a map of keys and values");
  const YAML::Node prices = TRY(section(root, "prices"));
  const YAML::Node load = TRY(section(root, "load"));
  Catalogue catalogue;
  catalogue.date = root["date"].as<std::string>("");
  catalogue.source_bytes_per_second = kGiga * TRY(number(load, "source_gb_s"));
  if (catalogue.source_bytes_per_second <= 0) return at_line(load.Mark(), "source_gb_s must be above zero");
  catalogue.image_bytes_per_second =
      load["image_gb_s"].IsDefined() ? kGiga * TRY(number(load, "image_gb_s")) : catalogue.source_bytes_per_second;
  if (catalogue.image_bytes_per_second <= 0) return at_line(load.Mark(), "image_gb_s must be above zero");
  catalogue.hop_seconds = TRY(number(root, "hop_ms")) / 1000;
  catalogue.usd_per_gib_month = TRY(number(prices, "storage_month"));
  catalogue.usd_per_cpu_hour = kSecondsPerHour * TRY(number(prices, "cpu_second"));
  catalogue.usd_per_gib_hour = kSecondsPerHour * TRY(number(prices, "memory_second"));
  for (const YAML::Node& region : root["regions"]) catalogue.regions.push_back(region.as<std::string>(""));
  for (const YAML::Node& shape : root["shapes"]) catalogue.shapes.push_back(TRY(read_shape(shape)));
  for (const YAML::Node& machine : root["machines"]) {
    catalogue.machines.push_back(TRY(read_machine(machine, prices, load)));
  }
  if (catalogue.machines.empty()) return at_line(root.Mark(), "machines must list at least one");
  return catalogue;
}

}  // namespace

bool Machine::is_in(const std::string& region) const {
  return regions.empty() || std::ranges::find(regions, region) != regions.end();
}

Result<Machine> shaped_machine(const Catalogue& catalogue, const std::string& gpu, double cpus, double memory_gib) {
  const Machine* nearest = nullptr;
  std::string gpus;
  for (const Machine& machine : catalogue.machines) {
    if (!machine.gpu.empty()) gpus += (gpus.empty() ? "" : ", ") + machine.gpu;
    if (machine.gpu != gpu) continue;
    if (nearest == nullptr || std::abs(machine.cpus - cpus) < std::abs(nearest->cpus - cpus)) nearest = &machine;
  }
  if (nearest == nullptr) {
    return Error(Code::kNotFound, "the catalogue of ", catalogue.date, " has no ",
                 gpu.empty() ? "machine without a GPU" : "GPU " + gpu, "; its GPUs: ", gpus.empty() ? "none" : gpus);
  }
  Machine machine = *nearest;
  machine.cpus = cpus;
  machine.memory_gib = memory_gib;
  machine.usd_per_hour =
      machine.gpu_usd_per_hour + cpus * catalogue.usd_per_cpu_hour + memory_gib * catalogue.usd_per_gib_hour;
  if (!gpu.empty()) return machine;
  machine.name = fmt::format("cpu-{:g}", cpus);
  machine.bytes_per_second *= cpus / nearest->cpus;
  machine.ops_per_second *= cpus / nearest->cpus;
  machine.usable_bytes *= memory_gib / nearest->memory_gib;
  return machine;
}

Result<Catalogue> parse_catalogue(std::string_view text) {
  try {
    return read_catalogue(YAML::Load(std::string(text)));
  } catch (const YAML::Exception& error) {  // the library's exceptions stop here
    return at_line(error.mark, error.msg);
  }
}

}  // namespace commissure
