#include "kernels/cpu/cpu_features.h"

#include "kernels/backend.h"

namespace commissure {
namespace cpu {

std::string_view isa_name(Isa isa) {
  switch (isa) {
    case Isa::kReference: return "reference";
    case Isa::kGeneric: return "generic";
    case Isa::kAvx2: return "avx2";
    case Isa::kAvx512: return "avx512";
  }
  return "unknown";
}

// The compiler's check reads cpuid and XGETBV, so it also knows whether the system saves the wide registers.
bool can_run(Isa isa) {
  if (isa == Isa::kReference || isa == Isa::kGeneric) return true;
#if defined(COMMISSURE_X86_KERNELS)
  const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                        __builtin_cpu_supports("f16c") && __builtin_cpu_supports("bmi2");
  if (isa == Isa::kAvx2) return has_avx2;
  return has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vnni");
#else
  return false;
#endif
}

bool has_bf16_products() {
#if defined(COMMISSURE_X86_KERNELS)
  return can_run(Isa::kAvx512) && __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

Isa best_isa() {
  Isa best = Isa::kReference;
  for (Isa isa : kAllIsas) {
    if (can_run(isa)) best = isa;
  }
  return best;
}

}  // namespace cpu

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (cpu::Isa isa : cpu::kAllIsas) {
    if (cpu::can_run(isa)) names.emplace_back(cpu::isa_name(isa));
  }
  return names;
}

}  // namespace commissure
