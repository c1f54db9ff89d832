// In the place of the GPU driver's library: cards and failures as the environment says.
//   STUB_DRIVER_CARDS   number of cards, each an sm_89 of 24 GiB with 20 free; default 1
//   STUB_DRIVER_FAILS   the function that fails with error 999, e.g. cuMemGetInfo; default none
// Signatures as in the CUDA driver API 12.2.
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

constexpr int kFailure = 999;
int n_contexts = 0;

int result_of(const char* function) {
  const char* failing = std::getenv("STUB_DRIVER_FAILS");
  return failing != nullptr && std::strcmp(failing, function) == 0 ? kFailure : 0;
}

}  // namespace

extern "C" {

int cuInit(unsigned) { return result_of("cuInit"); }

int cuDriverGetVersion(int* version) {
  *version = 12020;
  return result_of("cuDriverGetVersion");
}

int cuGetErrorName(int error, const char** name) {
  *name = error == kFailure ? "CUDA_ERROR_UNKNOWN" : nullptr;
  return result_of("cuGetErrorName");
}

int cuDeviceGetCount(int* n_devices) {
  const char* cards = std::getenv("STUB_DRIVER_CARDS");
  *n_devices = cards != nullptr ? std::atoi(cards) : 1;
  return result_of("cuDeviceGetCount");
}

int cuDeviceGet(int* device, int index) {
  *device = index;
  return result_of("cuDeviceGet");
}

int cuDeviceGetName(char* text, int size, int device) {
  std::snprintf(text, static_cast<std::size_t>(size), "Stub L4 number %d", device);
  return result_of("cuDeviceGetName");
}

int cuDeviceGetAttribute(int* value, int which, int) {
  *value = which == 75 ? 8 : 9;
  return result_of("cuDeviceGetAttribute");
}

int cuDeviceTotalMem_v2(std::size_t* n_bytes, int) {
  *n_bytes = std::size_t{24} << 30;
  return result_of("cuDeviceTotalMem");
}

int cuDevicePrimaryCtxRetain(void** context, int) {
  if (const int error = result_of("cuDevicePrimaryCtxRetain")) return error;
  *context = &n_contexts;
  ++n_contexts;
  return 0;
}

int cuDevicePrimaryCtxRelease_v2(int) {
  --n_contexts;
  return 0;
}

int cuCtxPushCurrent_v2(void*) { return result_of("cuCtxPushCurrent"); }

int cuCtxPopCurrent_v2(void** context) {
  *context = &n_contexts;
  return 0;
}

int cuMemGetInfo_v2(std::size_t* free, std::size_t* total) {
  *free = std::size_t{20} << 30;
  *total = std::size_t{24} << 30;
  return result_of("cuMemGetInfo");
}

/// Contexts retained and not yet released.
int stub_driver_contexts() { return n_contexts; }

}  // extern "C"
