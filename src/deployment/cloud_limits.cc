#include "deployment/cloud_limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "core/units.h"

namespace commissure {

namespace {

template <typename... Parts>
Error invalid(Parts&&... parts) {
  return Error(Code::kInvalidArgument, std::forward<Parts>(parts)...);
}

/// A positive number and what stands behind it.
std::optional<std::pair<double, std::string>> number_and_unit(const std::string& text) {
  double value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc() || !std::isfinite(value) || value <= 0) return std::nullopt;
  return std::pair(value, std::string(end, text.data() + text.size()));
}

std::string gib_text(double gib) {
  return gib == std::floor(gib) ? fmt::format("{:g}Gi", gib) : fmt::format("{:g}Mi", gib * 1024);
}

std::string range_text(const MachineShape& shape) {
  return fmt::format("{} to {}", gib_text(shape.least_gib), gib_text(shape.most_gib));
}

/// What the stage asks for, as numbers.
struct Wish {
  const CloudStage& stage;
  double cpus, gib;
  std::string where() const { return "stage " + stage.letter + ": "; }
};

Status check_gpu(const Wish& wish, const Machine& machine) {
  const MachineShape& shape = machine.beside_gpu;
  if (shape.most_gib == 0) return {};
  if (wish.cpus >= shape.least_cpus && wish.cpus <= shape.most_cpus && wish.gib >= shape.least_gib &&
      wish.gib <= shape.most_gib) {
    return {};
  }
  return invalid(wish.where(),
                 fmt::format("{} takes {:g} to {:g} vCPU and {} beside it, not {} and {}: set cpu: {:g} "
                             "and memory: {}",
                             machine.gpu, shape.least_cpus, shape.most_cpus, range_text(shape), wish.stage.cpu,
                             wish.stage.memory, std::clamp(wish.cpus, shape.least_cpus, shape.most_cpus),
                             gib_text(std::clamp(wish.gib, shape.least_gib, shape.most_gib))));
}

/// The pair of CPU and memory. Large GPUs bring shapes of their own, beyond this table.
Status check_pair(const Wish& wish, const std::vector<MachineShape>& shapes) {
  if (shapes.empty() || (!wish.stage.gpu.empty() && wish.cpus > shapes.back().most_cpus)) return {};
  const auto found = std::ranges::find(shapes, wish.cpus, &MachineShape::least_cpus);
  if (found == shapes.end()) {
    const auto nearest = std::ranges::min_element(
        shapes, {}, [&](const MachineShape& shape) { return std::abs(shape.least_cpus - wish.cpus); });
    return invalid(wish.where(),
                   fmt::format("no instance has {} vCPU: set cpu: {:g}", wish.stage.cpu, nearest->least_cpus));
  }
  if (wish.gib >= found->least_gib && wish.gib <= found->most_gib) return {};
  const double nearest = std::clamp(wish.gib, found->least_gib, found->most_gib);
  std::string other;
  const auto holds = [&](const MachineShape& shape) {
    return wish.gib >= shape.least_gib && wish.gib <= shape.most_gib;
  };
  if (const auto shape = std::ranges::find_if(shapes, holds); shape != shapes.end())
    other = fmt::format(" or cpu: {:g}", shape->least_cpus);
  return invalid(wish.where(), fmt::format("{:g} vCPU take {} of memory, not {}: set memory: {}{}", wish.cpus,
                                           range_text(*found), wish.stage.memory, gib_text(nearest), other));
}

std::size_t common_beginning(const std::string& a, const std::string& b) {
  return static_cast<std::size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
}

Status check_region(const CloudStage& stage, const Machine& machine, const std::string& region,
                    const Catalogue& catalogue) {
  if (machine.is_in(region)) return {};
  std::string list;
  for (const std::string& name : machine.regions) list += (list.empty() ? "" : ", ") + name;
  const std::string& nearest = *std::ranges::max_element(
      machine.regions, {}, [&](const std::string& name) { return common_beginning(name, region); });
  return invalid("stage ", stage.letter, ": ", stage.gpu, " is not offered in ", region, ": set region: ", nearest,
                 " (catalogue of ", catalogue.date, ": ", list, ")");
}

Status check_instances(const CloudSpec& spec, const CloudStage& stage) {
  if (stage.min_instances > stage.max_instances) {
    return invalid("stage ", stage.letter, ": min_instances ", stage.min_instances, " is above max_instances ",
                   stage.max_instances, ": set min_instances: ", stage.max_instances);
  }
  if (stage.max_instances == 1 || spec.stages.size() == 1) return {};
  return invalid("stage ", stage.letter, ": max_instances is ", stage.max_instances,
                 ", but a chain has one instance of each stage, whose cache belongs to the one stream before it: set "
                 "max_instances: 1, and deploy a second chain for more");
}

Status check_stage(const CloudSpec& spec, const CloudStage& stage, const Catalogue& catalogue) {
  const auto within = [&](const Error& error) { return error.within("stage " + stage.letter); };
  const auto cpus = parse_cpus(stage.cpu);
  if (!cpus) return within(cpus.error());
  const auto gib = parse_memory_gib(stage.memory);
  if (!gib) return within(gib.error());
  const Wish wish{stage, *cpus, *gib};
  if (stage.gpu.empty() && stage.device == "cuda") {
    return within(
        Error(Code::kInvalidArgument, "device is cuda, but the stage has no GPU: set `gpu`, or leave `device` out"));
  }
  if (!stage.gpu.empty()) {
    const auto machine = shaped_machine(catalogue, stage.gpu, *cpus, *gib);
    if (!machine) return within(machine.error());
    TRY(check_region(stage, *machine, spec.region, catalogue));
    TRY(check_gpu(wish, *machine));
  }
  TRY(check_pair(wish, catalogue.shapes));
  return check_instances(spec, stage);
}

Status check_region_name(const std::string& region, const Catalogue& catalogue) {
  const std::vector<std::string>& known = catalogue.regions;
  if (region.empty() || known.empty() || std::ranges::find(known, region) != known.end()) return {};
  const std::string& nearest =
      *std::ranges::max_element(known, {}, [&](const std::string& name) { return common_beginning(name, region); });
  return invalid("region is \"", region, "\", which is none of Cloud Run's (deploy/catalogue.yaml of ", catalogue.date,
                 "); did you mean ", nearest, "?");
}

}  // namespace

Result<double> parse_cpus(const std::string& text) {
  const auto parts = number_and_unit(text);
  if (parts && parts->second.empty()) return parts->first;
  if (parts && parts->second == "m") return parts->first / 1000;
  return invalid("cpu is \"", text, "\"; it must be a number of vCPUs, e.g. 4");
}

Result<double> parse_memory_gib(const std::string& text) {
  const auto parts = number_and_unit(text);
  if (parts && parts->second == "Gi") return parts->first;
  if (parts && parts->second == "Mi") return parts->first / 1024;
  if (parts && parts->second == "G") return parts->first * 1e9 / kGib;
  if (parts && parts->second == "M") return parts->first * 1e6 / kGib;
  return invalid("memory is \"", text, "\"; it must be a size such as 16Gi or 512Mi");
}

Status check_limits(const CloudSpec& spec, const Catalogue& catalogue) {
  TRY(check_region_name(spec.region, catalogue));
  for (const CloudStage& stage : spec.stages) TRY(check_stage(spec, stage, catalogue));
  return {};
}

Status check_device(const CloudSpec& spec) {
  const auto stage =
      std::ranges::find_if(spec.stages, [](const CloudStage& each) { return each.computes_on() == "cuda"; });
  if (!spec.own_image || stage == spec.stages.end()) return {};
  return Error(
      Code::kFailedPrecondition, "stage ", stage->letter, ": the image that is built here computes on CPUs only",
      " and would refuse to start beside ", stage->gpu,
      ": leave `gpu` out (what CPUs can do: commissure plan --machines cpu-4,cpu-8), or set `image` to one with "
      "GPU kernels");
}

}  // namespace commissure
