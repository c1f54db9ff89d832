#pragma once

#include <cstddef>

#include "kernels/cpu/isa/tile_config.h"
#include "kernels/cpu/matmul/matmul_kernels.h"

/// AMX's tile instructions in plain C++, so that the kernels of matmul_amx.cc can be tested on CPUs without them.
/// What makes the instruction fault aborts with a message, and so does a thread that configures its tiles again without
/// having released them (the CPU allows that; a kernel that does it has forgotten them).
/// Threading: each thread has tiles of its own. Source: Intel SDM volume 2, each instruction's page.
namespace commissure::cpu::emulated_tiles {

void configure(const TileConfig& config);
void release();
void zero(int tile);
/// The tile's rows from rows of memory `stride` bytes apart.
void load(int tile, const void* from, std::ptrdiff_t stride);
void store(int tile, void* to, std::ptrdiff_t stride);
/// sums[m][n] += the products of the four int8 of a[m][k] with the four bytes of b[k][n], for all k.
void add_products(int sums, int a, int b);

}  // namespace commissure::cpu::emulated_tiles

namespace commissure::cpu::amx_emulated {
/// amx::kWide on emulated tiles; the rest of it needs AVX-512.
extern const WideKernels kWide;
}  // namespace commissure::cpu::amx_emulated
