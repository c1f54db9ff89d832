#pragma once

#include "kernels/cuda/device/args.h"

/// The only assembler of the device sources. Each wrapper has a scalar twin in kernels/cuda/emulated/words.h, which
/// takes its place (and that of CUDA's own words) where the sources are compiled for the CPU.
#if !defined(COMMISSURE_EMULATED)

#define DEVICE __device__ __forceinline__
/// Shared memory of a block, one object of a plain type.
#define SHARED(type, name) __shared__ type name
/// KERNEL(Args, threads, name) { body, which reads `args` }
#define KERNEL(Args, threads, name) extern "C" __global__ void __launch_bounds__(threads, 1) name(const Args args)

namespace commissure::cuda {

/// Weights are read once: past the first-level cache, with the second level asked for whole lines.
DEVICE uint4 load_stream(const uint4* p) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(p));
  return v;
}
DEVICE uint2 load_stream(const uint2* p) {
  uint2 v;
  asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v2.u32 {%0,%1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(p));
  return v;
}

/// All bytes of a vector at once, from anywhere; `p` must be aligned to them.
template <typename Vector>
DEVICE Vector load_wide(const Vector* p) {
  return *p;
}

/// 16 bytes from global to shared memory, there once copy_wait() has waited for their group.
DEVICE void copy_async(void* shared, const void* global) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"((unsigned)__cvta_generic_to_shared(shared)),
               "l"(global)
               : "memory");
}
DEVICE void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Waits until at most kLeft of the thread's groups are under way.
template <int kLeft>
DEVICE void copy_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
}

/// d += a b for int8 a [16 x 32], b [32 x 8]; lane l: rows l / 4 and l / 4 + 8, columns 2 (l % 4) and the next.
DEVICE void multiply_add(int (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
/// The same for bf16 a [16 x 16], b [16 x 8].
DEVICE void multiply_add(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

DEVICE float half_to_float(uint16_t h) {
  float f;
  asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h));
  return f;
}

}  // namespace commissure::cuda

#endif
