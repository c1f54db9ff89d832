#include "doctor/examination.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <limits>
#include <span>

#include "core/cpu_count.h"
#include "kernels/devices.h"
#include "terminal/captured_process.h"
#include "terminal/gcloud.h"
#include "terminal/own_folder.h"
#include "terminal/paths.h"
#include "terminal/progress.h"
#include "terminal/word_wrap.h"

namespace commissure {

namespace {

namespace fs = std::filesystem;

/// Below this a stage of the smallest model (98 MB of weights, keys and values beside them) does not start.
constexpr std::uint64_t kLeastMemory = std::uint64_t{256} << 20;
/// Below this a stage of the default model starts, and larger models do not.
constexpr std::uint64_t kLittleMemory = std::uint64_t{2} << 30;
/// Room for the default model, its packed weights and logs.
constexpr std::uint64_t kLittleDisk = std::uint64_t{1} << 30;
constexpr std::chrono::seconds kCloudLimit{15};

/// The folder itself, or the nearest one above it that exists.
fs::path nearest_folder(const fs::path& wanted) {
  std::error_code ignored;
  fs::path folder = fs::absolute(wanted, ignored);
  while (!fs::exists(folder, ignored) && folder != folder.parent_path()) folder = folder.parent_path();
  return folder;
}

FolderState look_at(const fs::path& folder, Status trust) {
  FolderState state{.path = folder, .trust = std::move(trust)};
  const fs::path nearest = nearest_folder(folder);
  if (state.trust && access(nearest.c_str(), W_OK | X_OK) != 0) {
    state.trust = Error(Code::kPermissionDenied, "cannot write to ", nearest.string());
  }
  std::error_code problem;
  const fs::space_info space = fs::space(nearest, problem);
  if (!problem) state.free_bytes = space.available;
  return state;
}

Finding examine_cpu(const Surroundings& here) {
  Finding finding{.topic = "cpu"};
  const std::string name = here.machine.cpu.empty() ? "a CPU without a name" : here.machine.cpu;
  finding.fact = fmt::format("{}: kernels for {}", name, cpu::isa_name(here.isa));
  if (here.has_amx) finding.fact += "; it has AMX too, which COMMISSURE_ISA=amx takes";
  if (here.isa < cpu::Isa::kAvx2) {
    finding.severity = FindingSeverity::kWarning;
    finding.advice = "without AVX2 and FMA a stage computes ten times slower; choose another machine or a tiny model";
  }
  return finding;
}

Finding examine_cores(const Surroundings& here) {
  Finding finding{.topic = "cores", .fact = fmt::format("{} for each stage at most", here.n_cpus)};
  if (here.n_cpus == 1) {
    finding.severity = FindingSeverity::kNote;
    finding.advice = "stages on one core take turns; a container's CPU limit may be raised";
  }
  return finding;
}

Finding examine_memory(const Surroundings& here) {
  Finding finding{.topic = "memory"};
  const std::uint64_t usable = here.machine.usable_bytes();
  finding.fact = fmt::format("{} can be had of {}", human_bytes(usable), human_bytes(here.machine.memory_bytes));
  if (here.machine.memory_limit) {
    finding.fact += fmt::format("; the container grants {}", human_bytes(*here.machine.memory_limit));
  }
  if (here.machine.memory_bytes == 0) {
    finding.fact = "the system does not say how much there is";
    finding.severity = FindingSeverity::kNote;
  } else if (usable < kLeastMemory) {
    finding.severity = FindingSeverity::kFailure;
    finding.advice = fmt::format("the smallest model needs {}; end other programs or raise the container's limit",
                                 human_bytes(kLeastMemory));
  } else if (usable < kLittleMemory) {
    finding.severity = FindingSeverity::kNote;
    finding.advice = "enough for small models; `commissure inspect MODEL --stages N` tells what a stage needs";
  }
  return finding;
}

Finding examine_huge_pages(const Surroundings& here) {
  const std::string& setting = here.machine.huge_pages;
  Finding finding{.topic = "huge pages", .fact = setting.empty() ? "the system does not say" : setting};
  if (setting == "never") {
    finding.severity = FindingSeverity::kNote;
    finding.advice =
        "weights from a bucket are read through small pages; `echo madvise` into "
        "/sys/kernel/mm/transparent_hugepage/enabled (root) lets them have large ones";
  }
  return finding;
}

std::string cuda_name(int version) { return fmt::format("CUDA {}.{}", version / 1000, version % 1000 / 10); }

/// Of the driver's card number `index`; stages compute on the first.
std::string advice_on_card(const NvidiaDriver& driver, std::size_t index, std::span<const int> kernels) {
  const NvidiaCard& card = driver.cards[index];
  if (index > 0) return "no stage computes on it: `--device cuda` is the first GPU";
  if (kernels.empty()) return "this program was built without kernels for GPUs: stages compute on the CPU";
  if (!run_on_card(kernels, card.major, card.minor)) {
    return "this program has no kernels for it: stages compute on the CPU";
  }
  if (driver.cuda_version < kOldestCuda) return "its driver is too old: stages compute on the CPU";
  return "`--device cuda` computes on it; its kernels are new and were tried by emulation only";
}

Finding describe_card(const NvidiaDriver& driver, std::size_t index, std::span<const int> kernels) {
  const NvidiaCard& card = driver.cards[index];
  const std::string memory =
      card.free_bytes ? fmt::format("{} of {} free", human_bytes(*card.free_bytes), human_bytes(card.memory_bytes))
                      : human_bytes(card.memory_bytes);
  return {.topic = "gpu",
          .severity = FindingSeverity::kNote,
          .fact = fmt::format("{}, sm_{}{}, {}", card.name, card.major, card.minor, memory),
          .advice = advice_on_card(driver, index, kernels)};
}

void examine_gpu(const Surroundings& here, std::vector<Finding>& findings) {
  if (!here.driver) {
    Finding finding{.topic = "gpu", .severity = FindingSeverity::kNote};
    if (here.driver.error().code() == Code::kNotFound) {
      finding.fact = "no NVIDIA driver: stages compute on the CPU";
    } else {
      finding.fact = "the NVIDIA driver does not answer: " + here.driver.error().message();
      finding.advice = "stages compute on the CPU; `nvidia-smi` tells more, and a container needs the GPU handed in";
    }
    findings.push_back(std::move(finding));
    return;
  }
  const NvidiaDriver& driver = *here.driver;
  Finding finding{.topic = "gpu driver",
                  .fact = fmt::format("{} up to {}, cards: {}", driver.library, cuda_name(driver.cuda_version),
                                      driver.cards.size())};
  if (driver.cuda_version < kOldestCuda) {
    finding.severity = FindingSeverity::kNote;
    finding.advice = fmt::format("kernels for GPUs need {} (driver 525) or a newer driver: stages compute on the CPU",
                                 cuda_name(kOldestCuda));
  }
  findings.push_back(std::move(finding));
  for (std::size_t i = 0; i < driver.cards.size(); ++i) {
    findings.push_back(describe_card(driver, i, here.gpu_kernels));
  }
}

Finding examine_folder(const char* topic, const FolderState& folder, const char* variable) {
  Finding finding{.topic = topic, .fact = folder.path.string()};
  if (folder.free_bytes) finding.fact += fmt::format(", {} free", human_bytes(*folder.free_bytes));
  if (!folder.trust) {
    finding.severity = FindingSeverity::kFailure;
    finding.fact = folder.trust.error().message();
    finding.advice = fmt::format("give it to this user, or set {} to a folder of your own", variable);
  } else if (folder.free_bytes && *folder.free_bytes < kLittleDisk) {
    finding.severity = FindingSeverity::kWarning;
    finding.advice = fmt::format("make room, or set {} to another disk", variable);
  }
  return finding;
}

Finding examine_gcloud(const Surroundings& here) {
  Finding finding{.topic = "gcloud", .severity = FindingSeverity::kNote};
  if (!here.gcloud_config) {
    finding.fact = here.gcloud_config.error().message();
    finding.advice = "only `up` without --local needs it";
    return finding;
  }
  if (!here.gcloud_config->good()) {
    finding.fact = "gcloud fails: " + google_words(*here.gcloud_config);
    finding.advice = "`gcloud info --run-diagnostics` tells more; only `up` without --local needs it";
    return finding;
  }
  const auto config = parse_json(here.gcloud_config->output);
  const Json* core = config ? find_member(*config, "core") : nullptr;
  const auto text = [&](const char* key) {
    const Json* value = core != nullptr ? find_member(*core, key) : nullptr;
    return value != nullptr && value->is_string() ? value->get<std::string>() : std::string();
  };
  if (text("account").empty()) {
    finding.fact = "installed, nobody is logged in";
    finding.advice = "`gcloud auth login`; only `up` without --local needs it";
    return finding;
  }
  finding.severity = FindingSeverity::kGood;
  finding.fact = fmt::format("{}, project {}", text("account"),
                             text("project").empty() ? "not set (commissure.yaml names one)" : text("project"));
  return finding;
}

}  // namespace

std::string_view severity_name(FindingSeverity severity) {
  switch (severity) {
    case FindingSeverity::kGood: return "good";
    case FindingSeverity::kNote: return "note";
    case FindingSeverity::kWarning: return "warning";
    default: return "failure";
  }
}

Surroundings look_around() {
  Surroundings here;
  here.machine = read_machine_facts();
  here.n_cpus = std::min(n_allowed_cpus(), n_granted_cpus());
  here.isa = cpu::best_isa();
  here.has_amx = cpu::can_run(cpu::Isa::kAmx);
  here.driver = find_nvidia_driver();
  here.gpu_kernels = gpu_kernels();
  here.models = look_at(cache_dir(), check_cache_dir());
  here.runs = look_at(run_dir(), check_own_folder(run_dir()));
  ProgramCall config = gcloud({"config", "list", "--format=json"});
  config.limit = kCloudLimit;
  here.gcloud_config = run_captured(config);
  return here;
}

std::vector<Finding> examine(const Surroundings& surroundings) {
  std::vector<Finding> findings{examine_cpu(surroundings), examine_cores(surroundings), examine_memory(surroundings),
                                examine_huge_pages(surroundings)};
  examine_gpu(surroundings, findings);
  findings.push_back(examine_folder("models", surroundings.models, "COMMISSURE_CACHE"));
  findings.push_back(examine_folder("runs", surroundings.runs, "COMMISSURE_RUN_DIR"));
  findings.push_back(examine_gcloud(surroundings));
  return findings;
}

bool can_run_stage(const std::vector<Finding>& findings) {
  return std::none_of(findings.begin(), findings.end(),
                      [](const Finding& finding) { return finding.severity == FindingSeverity::kFailure; });
}

Json examination_json(const Surroundings& surroundings, const std::vector<Finding>& findings) {
  Json list = Json::array(), cards = Json::array();
  for (const Finding& finding : findings) {
    list.push_back({{"topic", finding.topic},
                    {"severity", severity_name(finding.severity)},
                    {"fact", finding.fact},
                    {"advice", finding.advice}});
  }
  if (surroundings.driver) {
    for (const NvidiaCard& card : surroundings.driver->cards) {
      cards.push_back({{"name", card.name},
                       {"architecture", fmt::format("sm_{}{}", card.major, card.minor)},
                       {"memory_bytes", card.memory_bytes},
                       {"free_bytes", card.free_bytes ? Json(*card.free_bytes) : Json()},
                       {"has_kernels", run_on_card(surroundings.gpu_kernels, card.major, card.minor)}});
    }
  }
  return {{"can_run", can_run_stage(findings)}, {"findings", std::move(list)}, {"cards", std::move(cards)}};
}

std::string examination_text(const std::vector<Finding>& findings, int width) {
  constexpr int kFactColumn = 21;
  std::string text;
  for (const Finding& finding : findings) {
    text += fmt::format("{:<8} {:<11} {}\n", severity_name(finding.severity), finding.topic,
                        wrapped_lines(finding.fact, kFactColumn, width));
    if (!finding.advice.empty()) {
      text += fmt::format("{:>{}}{}\n", "> ", kFactColumn, wrapped_lines(finding.advice, kFactColumn, width));
    }
  }
  return text +
         (can_run_stage(findings) ? "A stage can run here.\n" : "No stage can run here: see the failures above.\n");
}

}  // namespace commissure
