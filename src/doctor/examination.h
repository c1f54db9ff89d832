#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "core/result.h"
#include "doctor/machine.h"
#include "doctor/nvidia_driver.h"
#include "kernels/cpu/isa/cpu_features.h"
#include "terminal/program_call.h"

namespace commissure {

/// What a finding means for a stage on this machine. kFailure: no stage can run before it is mended.
enum class FindingSeverity { kGood, kNote, kWarning, kFailure };

/// "good", "note", "warning", "failure".
std::string_view severity_name(FindingSeverity severity);

/// One thing that was looked at.
struct Finding {
  std::string topic;  ///< what was looked at, a word or two: "cpu", "gpu", "models"
  FindingSeverity severity = FindingSeverity::kGood;
  std::string fact = {};    ///< what was found, one sentence without a full stop
  std::string advice = {};  ///< what to do about it; empty: nothing
};

/// A folder that a stage writes to.
struct FolderState {
  std::filesystem::path path;
  Status trust = {};                             ///< an error where somebody else may write there, or we may not
  std::optional<std::uint64_t> free_bytes = {};  ///< on its disk; nothing: not known
};

/// Everything that the examination looks at. It is read in one place and judged in another, so that tests can describe
/// machines that they do not run on.
struct Surroundings {
  MachineFacts machine;
  int n_cpus = 1;                                ///< CPUs that a stage may use at once
  cpu::Isa isa = cpu::Isa::kGeneric;             ///< the kernels that a stage takes unless told otherwise
  bool has_amx = false;                          ///< whether the CPU and the system let AMX kernels run
  Result<NvidiaDriver> driver = NvidiaDriver{};  ///< kNotFound: this machine has none
  std::vector<int> gpu_kernels;                  ///< kinds of card that this program has kernels for: 89 for sm_89
  FolderState models;                            ///< the cache of models
  FolderState runs;                              ///< what runs on this machine keeps its sockets and logs there
  Result<ProgramAnswer> gcloud_config = ProgramAnswer{};  ///< of `gcloud config list --format=json`
};

/// Looks at this machine: reads files, loads the GPU's driver if there is one, asks gcloud for its configuration (some
/// seconds at most). Changes nothing.
Surroundings look_around();

/// Judges it. The order of the findings is that of their topics: CPU, cores, memory, pages, GPU, folders, cloud.
std::vector<Finding> examine(const Surroundings& surroundings);

/// Whether a stage can run: no finding is a failure.
bool can_run_stage(const std::vector<Finding>& findings);

/// {"can_run": bool, "findings": [{"topic", "severity", "fact", "advice"}], "cards": [{"name", "architecture",
/// "memory_bytes", "free_bytes", "has_kernels"}]}; free_bytes is null where it is not known.
Json examination_json(const Surroundings& surroundings, const std::vector<Finding>& findings);

/// A line for each finding, broken at `width` columns (0: never), advice below it; then the verdict.
std::string examination_text(const std::vector<Finding>& findings, int width);

}  // namespace commissure
