#pragma once

#include <string_view>

namespace commissure::cpu {

/// The instruction sets the kernels are compiled for, slowest first. kReference is the plain oracle.
enum class Isa { kReference, kGeneric, kAvx2, kAvx512, kAmx };

constexpr Isa kAllIsas[] = {Isa::kReference, Isa::kGeneric, Isa::kAvx2, Isa::kAvx512, Isa::kAmx};

/// "reference", "generic", "avx2", "avx512", "amx".
std::string_view isa_name(Isa isa);

/// Whether this CPU and its operating system can run kernels of `isa`.
///   avx2    needs AVX2, FMA, F16C, BMI2
///   avx512  those and AVX-512 F, BW, DQ, VL, VNNI
///   amx     those and AMX tile and int8; only wide products of quantised weights use them, the rest is avx512's
bool can_run(Isa isa);

/// Whether this CPU has vdpbf16ps, which kAvx512 and kAmx use where it is.
bool has_bf16_products();

/// The fastest ISA that can run here.
Isa best_isa();

}  // namespace commissure::cpu
