#pragma once

#include <cstddef>

#include "kernels/cpu/isa/tile_config.h"

/// AMX's tile instructions. Written out, because GCC 12's intrinsics tell the compiler of 8 of the 64 bytes that
/// LDTILECFG reads and of none that TILELOADD reads, so it may drop or delay the stores before them.
namespace commissure::cpu::COMMISSURE_ISA_NS {

#if defined(COMMISSURE_EMULATED_TILES)  // the build of the tests includes their header before this one

inline void configure_tiles(const TileConfig& config) { emulated_tiles::configure(config); }
inline void release_tiles() { emulated_tiles::release(); }
template <int kTile>
void zero_tile() {
  emulated_tiles::zero(kTile);
}
template <int kTile>
void load_tile(const void* from, std::ptrdiff_t stride) {
  emulated_tiles::load(kTile, from, stride);
}
template <int kTile>
void store_tile(void* to, std::ptrdiff_t stride) {
  emulated_tiles::store(kTile, to, stride);
}
template <int kSums, int kA, int kB>
void add_tile_products() {
  emulated_tiles::add_products(kSums, kA, kB);
}

#else

inline void configure_tiles(const TileConfig& config) { asm volatile("ldtilecfg %0" : : "m"(config)); }
inline void release_tiles() { asm volatile("tilerelease"); }
template <int kTile>
[[gnu::always_inline]] inline void zero_tile() {
  asm volatile("tilezero %%tmm%c0" : : "n"(kTile));
}
/// The tile's rows from rows of memory `stride` bytes apart.
template <int kTile>
[[gnu::always_inline]] inline void load_tile(const void* from, std::ptrdiff_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "n"(kTile) : "memory");
}
template <int kTile>
[[gnu::always_inline]] inline void store_tile(void* to, std::ptrdiff_t stride) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "n"(kTile) : "memory");
}
/// kSums[m][n] += the products of the four int8 of kA[m][k] with the four bytes of kB[k][n], for all k.
template <int kSums, int kA, int kB>
[[gnu::always_inline]] inline void add_tile_products() {
  asm volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "n"(kSums), "n"(kA), "n"(kB));
}

#endif

}  // namespace commissure::cpu::COMMISSURE_ISA_NS
