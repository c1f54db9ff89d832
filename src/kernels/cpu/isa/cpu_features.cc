#include "kernels/cpu/isa/cpu_features.h"

#if defined(COMMISSURE_X86_KERNELS)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#endif

#include "kernels/backend.h"

namespace commissure {
namespace cpu {
namespace {

#if defined(COMMISSURE_X86_KERNELS)
/// Whether the CPU has AMX with int8 products and the system lets this process use it. The system gives a thread's
/// tiles room only in processes that ask, and may refuse (an old kernel, a signal stack too small for them).
bool may_use_amx() {
  std::uint32_t a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & bit_OSXSAVE) == 0) return false;
  constexpr std::uint32_t kTileAndInt8 = 3u << 24;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (d & kTileAndInt8) != kTileAndInt8) return false;
  std::uint32_t enabled = 0, high = 0;
  asm volatile("xgetbv" : "=a"(enabled), "=d"(high) : "c"(0));
  constexpr std::uint32_t kTileState = 3u << 17;  // configuration and data
  if ((enabled & kTileState) != kTileState) return false;
  constexpr int kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}
#endif

}  // namespace

std::string_view isa_name(Isa isa) {
  switch (isa) {
    case Isa::kReference: return "reference";
    case Isa::kGeneric: return "generic";
    case Isa::kAvx2: return "avx2";
    case Isa::kAvx512: return "avx512";
    case Isa::kAmx: return "amx";
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
  const bool has_avx512 = has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                          __builtin_cpu_supports("avx512vnni");
  if (isa == Isa::kAvx512 || !has_avx512) return has_avx512;
  static const bool has_amx = may_use_amx();
  return has_amx;
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

Isa best_isa(bool (*runs)(Isa)) {
  Isa best = Isa::kReference;
  for (Isa isa : kAllIsas) {
    if (isa != Isa::kAmx && runs(isa)) best = isa;
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

bool isas_agree(std::string_view a, std::string_view b) {
  const auto is_vector = [](std::string_view isa) {
    return isa == isa_name(cpu::Isa::kAvx2) || isa == isa_name(cpu::Isa::kAvx512) || isa == isa_name(cpu::Isa::kAmx);
  };
  return a == b || (is_vector(a) && is_vector(b));
}

}  // namespace commissure
