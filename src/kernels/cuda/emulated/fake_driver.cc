#include "kernels/cuda/emulated/fake_driver.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <vector>

#include "core/check.h"
#include "core/mutex.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/emulated/machine.h"
#include "kernels/cuda/emulated/registry.h"

namespace commissure::cuda::emulated {

namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kCardBytes = std::size_t{4} << 30;
constexpr int kArch = 89;
constexpr int kInvalidValue = 1;
constexpr unsigned char kPoison = 0xff;

std::size_t round_up(std::size_t n, std::size_t to) { return (n + to - 1) / to * to; }

/// The buffer lies against the end of its pages; the page behind belongs to nobody.
struct Buffer {
  std::size_t n_bytes = 0;
  std::size_t n_open() const { return round_up(n_bytes, kPage); }
  std::size_t offset() const { return n_open() - round_up(n_bytes, 16); }
};

struct Card {
  Mutex mutex;
  std::map<DriverPtr, Buffer> buffers;
  std::map<Stream, std::vector<std::function<void()>>> streams;
  std::uint64_t n_modules = 0, n_contexts = 0, n_calls = 0, n_launches = 0, n_allocations = 0;
  std::uint64_t n_bytes = 0, most_bytes = 0;
  std::uintptr_t next_handle = 0x1000;
  std::uint64_t fail_at = 0, fail_allocation_at = 0;
  int fail_with = 0;
};

Card& card() {
  static Card one;
  return one;
}

/// Counts a call and says whether it is the one to fail.
int begin_call() {
  Card& c = card();
  ++c.n_calls;
  if (c.fail_at == 0 || --c.fail_at > 0) return 0;
  return c.fail_with;
}

#define CALL()                        \
  const MutexLock lock(card().mutex); \
  if (const int error = begin_call()) return error

/// Whether [at, at + n) lies within one buffer.
bool is_ours(DriverPtr at, std::size_t n_bytes) {
  const auto above = card().buffers.upper_bound(at);
  if (above == card().buffers.begin()) return false;
  const auto& [begin, buffer] = *std::prev(above);
  return at + n_bytes <= begin + buffer.n_bytes;
}

void* address(DriverPtr at) { return reinterpret_cast<void*>(static_cast<std::uintptr_t>(at)); }

void run(Stream stream) {
  auto work = std::exchange(card().streams.at(stream), {});
  for (const auto& one : work) one();
}

int allocate(DriverPtr* at, std::size_t n_bytes) {
  CALL();
  if (n_bytes == 0) return kInvalidValue;
  if (n_bytes > kCardBytes) return kOutOfMemory;
  ++card().n_allocations;
  if (card().fail_allocation_at > 0 && --card().fail_allocation_at == 0) return kOutOfMemory;
  const Buffer buffer = {n_bytes};
  void* pages = mmap(nullptr, buffer.n_open() + kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) return kOutOfMemory;
  CHECK(mprotect(static_cast<char*>(pages) + buffer.n_open(), kPage, PROT_NONE) == 0);
  std::memset(pages, kPoison, buffer.n_open());
  *at = reinterpret_cast<std::uintptr_t>(pages) + buffer.offset();
  card().buffers.emplace(*at, buffer);
  card().n_bytes += n_bytes;
  card().most_bytes = std::max(card().most_bytes, card().n_bytes);
  return 0;
}

int free_buffer(DriverPtr at) {
  CALL();
  const auto found = card().buffers.find(at);
  if (found == card().buffers.end()) return kInvalidValue;
  for (auto& [stream, work] : card().streams) run(stream);
  munmap(static_cast<char*>(address(at)) - found->second.offset(), found->second.n_open() + kPage);
  card().n_bytes -= found->second.n_bytes;
  card().buffers.erase(found);
  return 0;
}

int copy_in(DriverPtr to, const void* from, std::size_t n_bytes, Stream stream) {
  CALL();
  if (!is_ours(to, n_bytes)) return kInvalidValue;
  // As late as the driver may read them.
  card().streams.at(stream).push_back([=] { std::memcpy(address(to), from, n_bytes); });
  return 0;
}

int copy_out(void* to, DriverPtr from, std::size_t n_bytes, Stream stream) {
  CALL();
  if (!is_ours(from, n_bytes)) return kInvalidValue;
  std::memset(to, kPoison, n_bytes);
  card().streams.at(stream).push_back([=] { std::memcpy(to, address(from), n_bytes); });
  return 0;
}

int fill(DriverPtr at, unsigned char value, std::size_t n_bytes, Stream stream) {
  CALL();
  if (!is_ours(at, n_bytes)) return kInvalidValue;
  card().streams.at(stream).push_back([=] { std::memset(address(at), value, n_bytes); });
  return 0;
}

int stream_create(Stream* stream, unsigned) {
  CALL();
  *stream = reinterpret_cast<Stream>(card().next_handle++);
  card().streams[*stream];
  return 0;
}

int stream_destroy(Stream stream) {
  CALL();
  return card().streams.erase(stream) == 1 ? 0 : kInvalidValue;
}

int stream_wait(Stream stream) {
  const MutexLock lock(card().mutex);
  const int error = begin_call();
  if (error != 0) card().streams.at(stream).clear();  // what was queued never runs
  run(stream);
  return error;
}

int module_load(Module* module, const void*) {
  CALL();
  *module = reinterpret_cast<Module>(card().next_handle++);
  ++card().n_modules;
  return 0;
}

int module_unload(Module) {
  CALL();
  --card().n_modules;
  return 0;
}

int module_function(Function* function, Module, const char* name) {
  CALL();
  const Kernel* kernel = find_kernel(name);
  if (kernel == nullptr) return kFunctionNotFound;
  *function = reinterpret_cast<Function>(const_cast<Kernel*>(kernel));
  return 0;
}

int launch_kernel(Function function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                  unsigned block_y, unsigned block_z, unsigned, Stream stream, void** arguments, void**) {
  CALL();
  const auto* kernel = reinterpret_cast<const Kernel*>(function);
  constexpr unsigned kMaxGridY = 65535;
  const bool fits = std::cmp_less_equal(block_x * block_y * block_z, kernel->max_threads) && grid_y <= kMaxGridY;
  if (!fits || grid_x * grid_y * grid_z == 0) return kInvalidValue;
  ++card().n_launches;
  const auto* bytes = static_cast<const char*>(arguments[0]);
  // Arguments are taken when the launch is queued, aligned as any argument may be.
  auto kept = std::make_shared<std::vector<std::uint64_t>>((kernel->args_bytes + 7) / 8);
  std::memcpy(kept->data(), bytes, kernel->args_bytes);
  card().streams.at(stream).push_back(
      [=] { launch({grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, [&] { kernel->run(kept->data()); }); });
  return 0;
}

int context_retain(Context* context, int) {
  CALL();
  *context = reinterpret_cast<Context>(card().next_handle++);
  ++card().n_contexts;
  return 0;
}

int context_release(int) {
  CALL();
  --card().n_contexts;
  return 0;
}

int attribute(int* value, int which, int) {
  CALL();
  *value = which == kCapabilityMajor ? kArch / 10 : which == kCapabilityMinor ? kArch % 10 : 4;
  return 0;
}

int memory_info(std::size_t* free, std::size_t* total) {
  CALL();
  *total = kCardBytes;
  *free = *total - std::min<std::size_t>(*total, card().n_bytes);
  return 0;
}

int error_name(int error, const char** name) {
  *name = error == kOutOfMemory    ? "CUDA_ERROR_OUT_OF_MEMORY"
          : error == kInvalidValue ? "CUDA_ERROR_INVALID_VALUE"
                                   : nullptr;
  return 0;
}

int succeed_with(int* out, int value) {
  CALL();
  *out = value;
  return 0;
}

int device_name(char* text, int size, int) {
  CALL();
  std::snprintf(text, static_cast<std::size_t>(size), "emulated card");
  return 0;
}

int succeed() {
  CALL();
  return 0;
}

}  // namespace

Driver fake_driver() {
  Driver driver;
  driver.init = [](unsigned) { return succeed(); };
  driver.version = [](int* version) { return succeed_with(version, 12020); };
  driver.error_name = error_name;
  driver.device_count = [](int* n) { return succeed_with(n, 1); };
  driver.device_get = [](int* device, int) { return succeed_with(device, 0); };
  driver.device_name = device_name;
  driver.device_attribute = attribute;
  driver.context_retain = context_retain;
  driver.context_release = context_release;
  driver.context_set = [](Context) { return succeed(); };
  driver.memory_info = memory_info;
  driver.allocate = allocate;
  driver.free = free_buffer;
  driver.copy_in = copy_in;
  driver.copy_out = copy_out;
  driver.fill = fill;
  driver.stream_create = stream_create;
  driver.stream_destroy = stream_destroy;
  driver.stream_wait = stream_wait;
  driver.module_load = module_load;
  driver.module_unload = module_unload;
  driver.module_function = module_function;
  driver.launch = launch_kernel;
  return driver;
}

std::span<const Cubin> fake_cubins() {
  // No bytes, packed by zlib.
  static constexpr unsigned char kImage[] = {0, 0, 0, 0, 0, 0, 0, 0, 0x78, 0x9c, 0x03, 0, 0, 0, 0, 0x01};
  static const Cubin kCubins[] = {{kArch, kImage, kImage + sizeof kImage}};
  return kCubins;
}

Result<std::unique_ptr<Backend>> make_emulated_backend() {
  return std::make_unique<CudaBackend>(TRY(Device::open(fake_driver(), fake_cubins(), 0)), "emulated");
}

void fail_call(std::uint64_t n, int error) {
  const MutexLock lock(card().mutex);
  card().fail_at = n;
  card().fail_with = error;
}

void fail_allocation(std::uint64_t n) {
  const MutexLock lock(card().mutex);
  card().fail_allocation_at = n;
}

DriverCounts driver_counts() {
  Card& c = card();
  const MutexLock lock(c.mutex);
  return {c.buffers.size(), c.n_bytes, c.streams.size(), c.n_modules,
          c.n_contexts,     c.n_calls, c.n_launches,     c.n_allocations};
}

std::uint64_t most_bytes() {
  const MutexLock lock(card().mutex);
  return card().most_bytes;
}

void forget_most_bytes() {
  const MutexLock lock(card().mutex);
  card().most_bytes = card().n_bytes;
}

}  // namespace commissure::cuda::emulated
