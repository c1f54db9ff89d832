#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <new>

/// operator new for tests of kernels: memory lies against an inaccessible page, so that a kernel which reads or writes
/// over its end (by more than the rounding to 16 bytes) dies at that instruction, in the optimised form that ships.
/// Linked into one test program; costs two mappings for each allocation that lives.
///
///   | unused | Prefix | the memory, rounded up to 16 | inaccessible page |
namespace {

constexpr std::size_t kAlignment = __STDCPP_DEFAULT_NEW_ALIGNMENT__;
constexpr std::size_t kMinBytes = 64;  // smaller ones are gtest's own, by the thousand: plain malloc
constexpr std::size_t kMaxBytes = std::size_t{1} << 46;

/// Lies before the memory handed out.
struct Prefix {
  void* begin;           ///< of the mapping or of malloc's memory
  std::size_t n_mapped;  ///< 0: malloc's
};
static_assert(sizeof(Prefix) == kAlignment);

void* allocate(std::size_t n_bytes) {
  if (n_bytes > kMaxBytes) throw std::bad_alloc();
  const std::size_t n_rounded = (n_bytes + kAlignment - 1) / kAlignment * kAlignment;
  Prefix prefix = {};
  std::size_t n_open = n_rounded + sizeof(Prefix);
  if (n_bytes < kMinBytes) {
    prefix = {std::malloc(n_open), 0};
    if (prefix.begin == nullptr) throw std::bad_alloc();
  } else {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    n_open = (n_open + page - 1) / page * page;
    prefix.n_mapped = n_open + page;
    prefix.begin = mmap(nullptr, prefix.n_mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (prefix.begin == MAP_FAILED) throw std::bad_alloc();
    if (mprotect(static_cast<std::byte*>(prefix.begin) + n_open, page, PROT_NONE) != 0) throw std::bad_alloc();
  }
  std::byte* memory = static_cast<std::byte*>(prefix.begin) + n_open - n_rounded;
  ::new (memory - sizeof(Prefix)) Prefix(prefix);
  return memory;
}

void release(void* memory) {
  if (memory == nullptr) return;
  const Prefix prefix = *reinterpret_cast<const Prefix*>(static_cast<std::byte*>(memory) - sizeof(Prefix));
  if (prefix.n_mapped == 0) return std::free(prefix.begin);
  munmap(prefix.begin, prefix.n_mapped);
}

}  // namespace

void* operator new(std::size_t n_bytes) { return allocate(n_bytes); }
void* operator new[](std::size_t n_bytes) { return allocate(n_bytes); }
void operator delete(void* memory) noexcept { release(memory); }
void operator delete[](void* memory) noexcept { release(memory); }
void operator delete(void* memory, std::size_t) noexcept { release(memory); }
void operator delete[](void* memory, std::size_t) noexcept { release(memory); }
