#include "kernels/cuda/driver.h"

#include <dlfcn.h>

#include <type_traits>

namespace commissure::cuda {

namespace {

/// The name of the first function that the library lacks; empty: it has all.
std::string load_all(void* library, Driver& driver) {
  std::string missing;
  const auto want = [&](const char* symbol, auto& call) {
    call = reinterpret_cast<std::remove_reference_t<decltype(call)>>(dlsym(library, symbol));
    if (call == nullptr && missing.empty()) missing = symbol;
  };
  want("cuInit", driver.init);
  want("cuDriverGetVersion", driver.version);
  want("cuGetErrorName", driver.error_name);
  want("cuDeviceGetCount", driver.device_count);
  want("cuDeviceGet", driver.device_get);
  want("cuDeviceGetName", driver.device_name);
  want("cuDeviceGetAttribute", driver.device_attribute);
  want("cuDevicePrimaryCtxRetain", driver.context_retain);
  want("cuDevicePrimaryCtxRelease_v2", driver.context_release);
  want("cuCtxSetCurrent", driver.context_set);
  want("cuMemGetInfo_v2", driver.memory_info);
  want("cuMemAlloc_v2", driver.allocate);
  want("cuMemFree_v2", driver.free);
  want("cuMemcpyHtoDAsync_v2", driver.copy_in);
  want("cuMemcpyDtoHAsync_v2", driver.copy_out);
  want("cuMemsetD8Async", driver.fill);
  want("cuStreamCreate", driver.stream_create);
  want("cuStreamDestroy_v2", driver.stream_destroy);
  want("cuStreamSynchronize", driver.stream_wait);
  want("cuModuleLoadData", driver.module_load);
  want("cuModuleUnload", driver.module_unload);
  want("cuModuleGetFunction", driver.module_function);
  want("cuLaunchKernel", driver.launch);
  return missing;
}

}  // namespace

std::vector<std::string> driver_libraries() { return {"libcuda.so.1", "/usr/local/nvidia/lib64/libcuda.so.1"}; }

Result<Driver> load_driver(const std::vector<std::string>& libraries) {
  void* library = nullptr;
  std::string found, words;
  for (const std::string& name : libraries) {
    found = name;
    library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library != nullptr) break;
    words += (words.empty() ? "" : "; ") + std::string(dlerror());
  }
  if (library == nullptr) return Error(Code::kNotFound, words.empty() ? "no library was looked for" : words);
  Driver driver;
  const std::string missing = load_all(library, driver);
  if (!missing.empty()) return Error(Code::kFailedPrecondition, found, " has no ", missing);
  return driver;
}

Status check(const Driver& driver, int error, const char* what) {
  if (error == 0) return {};
  const char* name = nullptr;
  if (driver.error_name(error, &name) != 0 || name == nullptr) name = "an error without a name";
  const Code code = error == kOutOfMemory ? Code::kResourceExhausted : Code::kInternal;
  return Error(code, "GPU: ", what, ": ", name, " (", error, ")");
}

}  // namespace commissure::cuda
