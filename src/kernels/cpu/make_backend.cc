#include "core/cpu_count.h"
#include "core/log.h"
#include "kernels/backend.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/isa/cpu_features.h"
#include "kernels/cpu/thread_choice.h"

namespace commissure {

namespace {

/// One for each core, no more than the container may use at once.
int default_threads(int n_cpus) {
  const int n_granted = n_granted_cpus();
  if (n_granted < n_cpus) return n_granted;
  static const int n_threads = [n_cpus] {
    const int chosen = cpu::choose_thread_count(n_cpus, cpu::probe_seconds);
    if (chosen < n_cpus) log_info("CPUs share cores: a thread for every second one", {{"cpus", n_cpus}});
    return chosen;
  }();
  return n_threads;
}

cpu::KernelSet kernels_of(cpu::Isa isa) {
  switch (isa) {
    case cpu::Isa::kGeneric:
      return {isa, &cpu::generic::kPointwise, &cpu::generic::kAttention, &cpu::generic::kDelta,
              &cpu::generic::kLowRank};
#if defined(COMMISSURE_X86_KERNELS)
    case cpu::Isa::kAvx2:
      return {isa, &cpu::avx2::kPointwise, &cpu::avx2::kAttention, &cpu::avx2::kDelta, &cpu::avx2::kLowRank};
    case cpu::Isa::kAvx512:
    case cpu::Isa::kAmx:
      return {isa, &cpu::avx512::kPointwise,
              cpu::has_bf16_products() ? &cpu::avx512bf16::kAttention : &cpu::avx512::kAttention, &cpu::avx512::kDelta,
              &cpu::avx512::kLowRank};
#endif
    default:
      return {isa, &cpu::reference::kPointwise, &cpu::reference::kAttention, &cpu::reference::kDelta,
              &cpu::reference::kLowRank};
  }
}

Result<cpu::Isa> chosen_isa(const std::string& name) {
  if (name.empty()) return cpu::best_isa();
  std::string possible;
  for (const cpu::Isa isa : cpu::kAllIsas) {
    if (!cpu::can_run(isa)) continue;
    if (name == cpu::isa_name(isa)) return isa;
    possible += (possible.empty() ? "" : ", ") + std::string(cpu::isa_name(isa));
  }
  return Error(Code::kInvalidArgument, "no kernels for \"", name, "\" on this CPU; possible: ", possible);
}

}  // namespace

Result<std::unique_ptr<Backend>> make_cpu_backend(const CpuOptions& options) {
  constexpr int kMaxThreads = 1024;
  if (options.n_threads < 0 || options.n_threads > kMaxThreads) {
    return Error(Code::kInvalidArgument, options.n_threads, " threads; choose 0 (all CPUs) to ", kMaxThreads);
  }
  const cpu::Isa isa = TRY(chosen_isa(options.isa));
  const int n_cpus = n_allowed_cpus();
  const int n_threads = options.n_threads > 0 ? options.n_threads : default_threads(n_cpus);
  // Where siblings share a core, which CPUs they are is not known: two threads pinned might meet on one core.
  const bool may_pin = options.pin && (options.n_threads > 0 || 2 * n_threads != n_cpus);
  return std::make_unique<cpu::CpuBackend>(kernels_of(isa), n_threads, may_pin || n_threads == n_cpus);
}

}  // namespace commissure
