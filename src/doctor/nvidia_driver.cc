#include "doctor/nvidia_driver.h"

#include <array>

#include "core/index.h"
#include "kernels/driver_library.h"

namespace commissure {

namespace {

// The driver's interface (CUDA driver API 12.2), as far as it is used here. Every call returns 0 or an error's number.
using Device = int;
using Context = void*;
constexpr int kCapabilityMajor = 75, kCapabilityMinor = 76;

struct DriverCalls {
  int (*init)(unsigned flags) = nullptr;
  int (*version)(int* version) = nullptr;
  int (*error_name)(int error, const char** name) = nullptr;
  int (*count)(int* n_devices) = nullptr;
  int (*get)(Device* device, int index) = nullptr;
  int (*name)(char* text, int size, Device device) = nullptr;
  int (*attribute)(int* value, int which, Device device) = nullptr;
  int (*memory)(std::size_t* n_bytes, Device device) = nullptr;
  int (*retain)(Context* context, Device device) = nullptr;
  int (*release)(Device device) = nullptr;
  int (*push)(Context context) = nullptr;
  int (*pop)(Context* context) = nullptr;
  int (*free_memory)(std::size_t* free, std::size_t* total) = nullptr;
};

/// Errors: kFailedPrecondition, the library lacks one of them.
Status find_calls(DriverLibrary& library, DriverCalls& calls) {
  library.find("cuInit", calls.init);
  library.find("cuDriverGetVersion", calls.version);
  library.find("cuGetErrorName", calls.error_name);
  library.find("cuDeviceGetCount", calls.count);
  library.find("cuDeviceGet", calls.get);
  library.find("cuDeviceGetName", calls.name);
  library.find("cuDeviceGetAttribute", calls.attribute);
  library.find("cuDeviceTotalMem_v2", calls.memory);
  library.find("cuDevicePrimaryCtxRetain", calls.retain);
  library.find("cuDevicePrimaryCtxRelease_v2", calls.release);
  library.find("cuCtxPushCurrent_v2", calls.push);
  library.find("cuCtxPopCurrent_v2", calls.pop);
  library.find("cuMemGetInfo_v2", calls.free_memory);
  return library.check_complete();
}

Status check(const DriverCalls& calls, int error, const char* what) {
  if (error == 0) return {};
  const char* name = nullptr;
  if (calls.error_name(error, &name) != 0 || name == nullptr) name = "an error without a name";
  return Error(Code::kUnavailable, what, ": ", name, " (", error, ")");
}

std::optional<std::uint64_t> free_bytes(const DriverCalls& calls, Device device) {
  Context context = nullptr;
  if (calls.retain(&context, device) != 0) return {};
  std::size_t free = 0, total = 0;
  bool known = calls.push(context) == 0;
  if (known) {
    known = calls.free_memory(&free, &total) == 0;
    calls.pop(&context);
  }
  calls.release(device);
  return known ? std::optional<std::uint64_t>(free) : std::nullopt;
}

Result<NvidiaCard> describe_card(const DriverCalls& calls, int index) {
  Device device = 0;
  TRY(check(calls, calls.get(&device, index), "cuDeviceGet"));
  std::array<char, 256> name{};
  TRY(check(calls, calls.name(name.data(), count_of(name) - 1, device), "cuDeviceGetName"));
  NvidiaCard card{.name = name.data()};
  TRY(check(calls, calls.attribute(&card.major, kCapabilityMajor, device), "cuDeviceGetAttribute"));
  TRY(check(calls, calls.attribute(&card.minor, kCapabilityMinor, device), "cuDeviceGetAttribute"));
  std::size_t n_bytes = 0;
  TRY(check(calls, calls.memory(&n_bytes, device), "cuDeviceTotalMem"));
  card.memory_bytes = n_bytes;
  card.free_bytes = free_bytes(calls, device);
  return card;
}

}  // namespace

Result<NvidiaDriver> find_nvidia_driver(const std::vector<std::string>& libraries) {
  DriverLibrary library = TRY(DriverLibrary::open(libraries));
  DriverCalls calls;
  TRY(find_calls(library, calls));
  NvidiaDriver driver{.library = library.name()};
  TRY(check(calls, calls.init(0), "cuInit"));
  TRY(check(calls, calls.version(&driver.cuda_version), "cuDriverGetVersion"));
  int n_cards = 0;
  TRY(check(calls, calls.count(&n_cards), "cuDeviceGetCount"));
  for (int i = 0; i < n_cards; ++i) driver.cards.push_back(TRY(describe_card(calls, i)));
  return driver;
}

}  // namespace commissure
