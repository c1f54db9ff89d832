#pragma once

#include <cstdint>
#include <memory>

#include "kernels/backend.h"
#include "kernels/cuda/cubins.h"
#include "kernels/cuda/driver.h"

/// A driver with one card that is the emulation: memory behind guard pages, poisoned when it is allocated, a stream
/// whose work runs when it is waited for (so whatever is given back or changed too early shows), launches that run the
/// emulated kernels. Everything of kernels/cuda above it is the product's own.
namespace commissure::cuda::emulated {

Driver fake_driver();

/// "Machine code" that the fake driver takes.
std::span<const Cubin> fake_cubins();

/// A backend on the fake driver's card; its isa is "emulated".
Result<std::unique_ptr<Backend>> make_emulated_backend();

/// Makes the n-th call of any function from now on fail with `error`, once; 0: none.
void fail_call(std::uint64_t n, int error);

/// Makes the n-th allocation from now on find no memory, once; 0: none.
void fail_allocation(std::uint64_t n);

/// What the fake card holds now, and calls of the driver so far.
struct DriverCounts {
  std::uint64_t buffers = 0, bytes = 0, streams = 0, modules = 0, contexts = 0, calls = 0, launches = 0,
                allocations = 0;
};
DriverCounts driver_counts();

/// The most bytes that the card held at once since forget_most_bytes().
std::uint64_t most_bytes();
void forget_most_bytes();

}  // namespace commissure::cuda::emulated
