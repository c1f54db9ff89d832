#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

/// CUDA device code on the CPU. Every CUDA thread is a fiber on a stack of its own; warp operations and barriers are
/// rendezvous, which name the line of a mismatch and abort. One block runs at a time, blocks and warps in an order
/// drawn from a seed. Shared memory is poisoned for every block (all bits set: NaN), and asynchronous copies arrive
/// only when they are waited for. What it cannot see: the real rounding of bf16 matrix instructions, wrong assembler.
namespace commissure::cuda::emulated {

struct Index {
  unsigned x = 0, y = 0, z = 0;
};
struct Extent {
  unsigned x = 1, y = 1, z = 1;
};

/// Runs `body` once a thread of `grid` blocks of `block` threads. Threading: any thread, one launch at a time.
void launch(Extent grid, Extent block, const std::function<void()>& body);

/// Draws the order of blocks and warps from now on.
void set_seed(std::uint64_t seed);

// --- called by the device sources, on a fiber -----------------------------------------------------------------------

Index thread_index();
Index block_index();
Extent block_size();
/// Threads of a block in a row; its lane is the remainder by 32.
int linear_thread();

/// The object named at `line` in this block's shared memory; made, poisoned, when a block's first thread asks. Its
/// address is a multiple of `alignment` and of no higher power of two: a card promises no more.
void* shared_object(const char* file, int line, std::size_t n_bytes, std::size_t alignment);

enum class Operation : std::uint8_t { kShuffle, kMultiplyInt8, kMultiplyBf16 };

struct ShuffleArgs {
  std::uint64_t value;
  int source;
};
/// Operands of a lane, as the instructions lay them out.
struct MultiplyArgs {
  void* d;
  const unsigned* a;
  const unsigned* b;
};
/// Waits for the lanes in `mask`; all of them must come to the same operation on the same line.
void meet(Operation operation, unsigned mask, void* args, int line);
/// Waits for all threads of the block that still run.
void barrier(int line);

/// 16 bytes that are there after copy_wait(); until then the place holds poison.
void copy_async(void* to, const void* from);
void copy_commit();
void copy_wait(int n_left);

[[noreturn]] void fail(const std::string& what, int line);

}  // namespace commissure::cuda::emulated
