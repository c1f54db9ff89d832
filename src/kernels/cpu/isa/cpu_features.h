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
///   avx512  avx2's needs and AVX-512 F, BW, DQ, VL, VNNI
///   amx     avx512's needs and AMX tile and int8; AMX runs products of quantised weights with many columns, avx512 the
///           rest
bool can_run(Isa isa);

/// Whether this CPU has vdpbf16ps, an instruction for bf16 products; kAvx512 and kAmx use it where the CPU has it.
bool has_bf16_products();

/// The ISA taken where none is asked for: the fastest for which `runs` is true. Never kAmx: on the one CPU with AMX
/// that was measured, AVX-512 was faster.
Isa best_isa(bool (*runs)(Isa) = can_run);

}  // namespace commissure::cpu
