#include "kernels/cuda/device.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <utility>

#include "core/check.h"
#include "core/index.h"
#include "kernels/cuda/device/args.h"
#include "kernels/cuda/self_check.h"
#include "kernels/devices.h"

namespace commissure::cuda {

bool runs_on(int code, int card) { return code / 10 == card / 10 && code <= card; }

int best_arch(std::span<const Cubin> cubins, int arch) {
  int best = 0;
  for (const Cubin& cubin : cubins) {
    if (runs_on(cubin.arch, arch)) best = std::max(best, cubin.arch);
  }
  return best;
}

namespace {

Result<Card> describe(const Driver& driver, int ordinal) {
  Card card;
  TRY(check(driver, driver.device_get(&card.device, ordinal), "cuDeviceGet"));
  std::array<char, 256> name{};
  TRY(check(driver, driver.device_name(name.data(), count_of(name) - 1, card.device), "cuDeviceGetName"));
  card.name = name.data();
  int major = 0, minor = 0;
  const auto ask = [&](int which, int* value) {
    return check(driver, driver.device_attribute(value, which, card.device), "cuDeviceGetAttribute");
  };
  TRY(ask(kCapabilityMajor, &major));
  TRY(ask(kCapabilityMinor, &minor));
  TRY(ask(kMultiprocessors, &card.n_multiprocessors));
  card.arch = 10 * major + minor;
  return card;
}

std::string listed(std::span<const Cubin> cubins) {
  std::string names;
  for (const Cubin& cubin : cubins) {
    const std::string one = "sm_" + std::to_string(cubin.arch);
    if (names.find(one) == std::string::npos) names += (names.empty() ? "" : ", ") + one;
  }
  return names.empty() ? "no GPU" : names;
}

}  // namespace

Result<Card> find_card(const Driver& driver, std::span<const Cubin> cubins, int ordinal) {
  // A kernel that is loaded at its first launch may find no memory left then.
  setenv("CUDA_MODULE_LOADING", "EAGER", 0);
  TRY(check(driver, driver.init(0), "cuInit"));
  int version = 0, n_cards = 0;
  TRY(check(driver, driver.version(&version), "cuDriverGetVersion"));
  if (version < kOldestCuda) {
    return Error(Code::kFailedPrecondition, "the GPU's driver runs CUDA ", version / 1000, ".", version % 1000 / 10,
                 "; driver 525 (CUDA 12.0) or newer is needed");
  }
  TRY(check(driver, driver.device_count(&n_cards), "cuDeviceGetCount"));
  if (ordinal < 0 || ordinal >= n_cards) {
    return Error(Code::kFailedPrecondition, "there is no GPU number ", ordinal, "; the driver has ", n_cards);
  }
  Card card = TRY(describe(driver, ordinal));
  if (best_arch(cubins, card.arch) == 0) {
    return Error(Code::kFailedPrecondition, card.name, " is an sm_", card.arch, "; this program has kernels for ",
                 listed(cubins));
  }
  return card;
}

Result<std::unique_ptr<Device>> Device::open(const Driver& driver, std::span<const Cubin> cubins, int ordinal) {
  Card card = TRY(find_card(driver, cubins, ordinal));  // not in the `new`, whose memory an early return would lose
  std::unique_ptr<Device> device(new Device(driver, std::move(card)));
  TRY(device->load(cubins));
  if (const Status checked = device->check_arithmetic(); !checked) return checked.error().within(device->name());
  return device;
}

Status Device::load(std::span<const Cubin> cubins) {
  const int arch = best_arch(cubins, card_.arch);
  TRY(check(driver_, driver_.context_retain(&context_, card_.device), "cuDevicePrimaryCtxRetain"));
  TRY(check(driver_, driver_.context_set(context_), "cuCtxSetCurrent"));
  constexpr unsigned kNonBlocking = 1;
  TRY(check(driver_, driver_.stream_create(&stream_, kNonBlocking), "cuStreamCreate"));
  for (const Cubin& cubin : cubins) {
    if (cubin.arch != arch) continue;
    Module module = nullptr;
    const std::vector<unsigned char> code = TRY(unpacked(cubin));
    TRY(check(driver_, driver_.module_load(&module, code.data()), "cuModuleLoadData"));
    modules_.push_back(module);
  }
  return {};
}

Status Device::check_arithmetic() {
  const std::vector<std::uint32_t> words = check_words();
  std::vector<std::uint32_t> got(to_size(kWarp * kCheckWords));
  const std::size_t n_read = std::as_bytes(std::span(words)).size(), n_written = std::as_bytes(std::span(got)).size();
  const DriverPtr memory = TRY(allocate(n_read + n_written));
  copy_in(memory, words.data(), n_read);
  launch("self_check", {1}, kWarp,
         CheckArgs{reinterpret_cast<const std::uint32_t*>(memory), reinterpret_cast<std::uint32_t*>(memory + n_read)});
  copy_out(got.data(), memory + n_read, n_written);
  const Status done = wait();
  release(memory);
  TRY(done);
  return judge_check(got);
}

Device::~Device() {
  if (context_ == nullptr) return;
  driver_.context_set(context_);
  if (stream_ != nullptr) {
    driver_.stream_wait(stream_);
    driver_.stream_destroy(stream_);
  }
  for (Module module : modules_) driver_.module_unload(module);
  driver_.context_release(card_.device);
}

bool Device::enter() {
  if (!failure_) return false;
  keep(driver_.context_set(context_), "cuCtxSetCurrent");
  return failure_.has_value();
}

void Device::keep(int error, const char* what) {
  if (error == 0 || is_lasting_) return;
  const Error failure = check(driver_, error, what).error();
  failure_ = Error(failure.code() == Code::kInternal ? Code::kUnavailable : failure.code(), failure.message());
  is_lasting_ = true;
}

Status Device::lasting_failure() const { return is_lasting_ ? failure_ : Status(); }

void Device::give_up(const Error& error) {
  if (failure_) failure_ = error;
}

Result<DriverPtr> Device::allocate(std::size_t n_bytes) {
  if (!failure_) return failure_.error();  // nothing would be written to it
  TRY(check(driver_, driver_.context_set(context_), "cuCtxSetCurrent"));
  DriverPtr at = 0;
  TRY(check(driver_, driver_.allocate(&at, n_bytes), "cuMemAlloc"));
  fill_zero(at, n_bytes);
  return at;
}

Result<std::size_t> Device::free_bytes() {
  TRY(check(driver_, driver_.context_set(context_), "cuCtxSetCurrent"));
  std::size_t free = 0, total = 0;
  TRY(check(driver_, driver_.memory_info(&free, &total), "cuMemGetInfo"));
  return free;
}

void Device::release(DriverPtr at) {
  keep(driver_.context_set(context_), "cuCtxSetCurrent");
  keep(driver_.stream_wait(stream_), "cuStreamSynchronize");
  keep(driver_.free(at), "cuMemFree");
}

void Device::copy_in(DriverPtr to, const void* from, std::size_t n_bytes) {
  if (n_bytes == 0 || !enter()) return;
  // Whether the driver reads pageable memory before it returns depends on the machine.
  constexpr std::size_t kMostKept = std::size_t{256} << 10;
  if (n_bytes <= kMostKept) {
    const auto* bytes = static_cast<const std::byte*>(from);
    kept_.emplace_back(bytes, bytes + n_bytes);
    from = kept_.back().data();
  }
  keep(driver_.copy_in(to, from, n_bytes, stream_), "cuMemcpyHtoDAsync");
  if (n_bytes > kMostKept) keep(driver_.stream_wait(stream_), "cuStreamSynchronize");
}

void Device::copy_out(void* to, DriverPtr from, std::size_t n_bytes) {
  if (n_bytes > 0 && enter()) keep(driver_.copy_out(to, from, n_bytes, stream_), "cuMemcpyDtoHAsync");
}

void Device::fill_zero(DriverPtr at, std::size_t n_bytes) {
  if (n_bytes > 0 && enter()) keep(driver_.fill(at, 0, n_bytes, stream_), "cuMemsetD8Async");
}

Result<Function> Device::function(std::string_view kernel) {
  if (const auto found = functions_.find(kernel); found != functions_.end()) return found->second;
  const std::string name(kernel);
  for (Module module : modules_) {
    Function made = nullptr;
    const int error = driver_.module_function(&made, module, name.c_str());
    if (error == kFunctionNotFound) continue;
    TRY(check(driver_, error, "cuModuleGetFunction"));
    functions_.emplace(name, made);
    return made;
  }
  return Error(Code::kInternal, "GPU: no kernel ", name);
}

void Device::launch_with(std::string_view kernel, Grid grid, int n_threads, void* args) {
  if (grid.x == 0 || grid.y == 0 || !enter()) return;
  const Result<Function> found = function(kernel);
  if (!found) return give_up(found.error());
  void* arguments[] = {args};
  const int error = driver_.launch(*found, static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y), 1,
                                   static_cast<unsigned>(n_threads), 1, 1, 0, stream_, arguments, nullptr);
  keep(error, std::string(kernel).c_str());
}

Status Device::wait() {
  if (!is_lasting_) {
    keep(driver_.context_set(context_), "cuCtxSetCurrent");
    keep(driver_.stream_wait(stream_), "cuStreamSynchronize");
    kept_.clear();
  }
  const Status failure = failure_;
  if (!is_lasting_) failure_ = {};
  return failure;
}

}  // namespace commissure::cuda
