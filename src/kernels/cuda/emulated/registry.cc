#include "kernels/cuda/emulated/registry.h"

#include <map>

namespace commissure::cuda::emulated {

namespace {

std::map<std::string_view, Kernel>& table() {
  static std::map<std::string_view, Kernel> kernels;  // made by the first registration, whatever the link order
  return kernels;
}

}  // namespace

const Kernel* find_kernel(std::string_view name) {
  const auto found = table().find(name);
  return found == table().end() ? nullptr : &found->second;
}

Registration::Registration(const Kernel& kernel) { table().emplace(kernel.name, kernel); }

}  // namespace commissure::cuda::emulated
