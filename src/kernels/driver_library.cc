#include "kernels/driver_library.h"

#include <dlfcn.h>

namespace commissure {

std::vector<std::string> driver_libraries() { return {"libcuda.so.1", "/usr/local/nvidia/lib64/libcuda.so.1"}; }

Result<DriverLibrary> DriverLibrary::open(const std::vector<std::string>& names) {
  std::string words;
  for (const std::string& name : names) {
    void* handle = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle != nullptr) return DriverLibrary(handle, name);
    words += (words.empty() ? "" : "; ") + std::string(dlerror());
  }
  return Error(Code::kNotFound, words.empty() ? "no library was looked for" : words);
}

Status DriverLibrary::check_complete() const {
  if (missing_.empty()) return {};
  return Error(Code::kFailedPrecondition, name_, " has no ", missing_);
}

void* DriverLibrary::address(const char* symbol) {
  void* found = dlsym(handle_, symbol);
  if (found == nullptr && missing_.empty()) missing_ = symbol;
  return found;
}

}  // namespace commissure
