#include "kernels/cuda/driver.h"

#include "kernels/driver_library.h"

namespace commissure::cuda {

Result<Driver> load_driver(const std::vector<std::string>& libraries) {
  DriverLibrary library = TRY(DriverLibrary::open(libraries));
  Driver driver;
  library.find("cuInit", driver.init);
  library.find("cuDriverGetVersion", driver.version);
  library.find("cuGetErrorName", driver.error_name);
  library.find("cuDeviceGetCount", driver.device_count);
  library.find("cuDeviceGet", driver.device_get);
  library.find("cuDeviceGetName", driver.device_name);
  library.find("cuDeviceGetAttribute", driver.device_attribute);
  library.find("cuDevicePrimaryCtxRetain", driver.context_retain);
  library.find("cuDevicePrimaryCtxRelease_v2", driver.context_release);
  library.find("cuCtxSetCurrent", driver.context_set);
  library.find("cuMemGetInfo_v2", driver.memory_info);
  library.find("cuMemAlloc_v2", driver.allocate);
  library.find("cuMemFree_v2", driver.free);
  library.find("cuMemcpyHtoDAsync_v2", driver.copy_in);
  library.find("cuMemcpyDtoHAsync_v2", driver.copy_out);
  library.find("cuMemsetD8Async", driver.fill);
  library.find("cuStreamCreate", driver.stream_create);
  library.find("cuStreamDestroy_v2", driver.stream_destroy);
  library.find("cuStreamSynchronize", driver.stream_wait);
  library.find("cuModuleLoadData", driver.module_load);
  library.find("cuModuleUnload", driver.module_unload);
  library.find("cuModuleGetFunction", driver.module_function);
  library.find("cuLaunchKernel", driver.launch);
  TRY(library.check_complete());
  return driver;
}

Status check(const Driver& driver, int error, std::string_view what) {
  if (error == 0) return {};
  const char* name = nullptr;
  if (driver.error_name(error, &name) != 0 || name == nullptr) name = "an error without a name";
  const Code code = error == kOutOfMemory ? Code::kResourceExhausted : Code::kInternal;
  return Error(code, "GPU: ", what, ": ", name, " (", error, ")");
}

}  // namespace commissure::cuda
