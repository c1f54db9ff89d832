#pragma once

#include <cstddef>
#include <string_view>

/// The emulated kernels by name: what a module's symbol table is to the driver.
namespace commissure::cuda::emulated {

struct Kernel {
  const char* name;
  std::size_t args_bytes;
  int max_threads;  ///< of a block
  void (*run)(const void* args);
};

/// Null: there is no such kernel.
const Kernel* find_kernel(std::string_view name);

/// Adds a kernel to the table; the device sources hold one for each of theirs.
struct Registration {
  explicit Registration(const Kernel& kernel);
};

}  // namespace commissure::cuda::emulated
