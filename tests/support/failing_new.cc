#include "support/failing_new.h"

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace {

std::atomic<std::size_t> limit = SIZE_MAX;
std::atomic<bool> fails_here = false;
std::atomic<int> n_failures = 0;
thread_local bool is_maker = false;

}  // namespace

namespace commissure {

FailingNew::FailingNew(std::size_t n_bytes, Where where) {
  is_maker = true;
  fails_here = where == Where::kHere;
  n_failures = 0;
  limit = n_bytes;
}

FailingNew::~FailingNew() {
  limit = SIZE_MAX;
  is_maker = false;
}

int FailingNew::n_failed() const { return n_failures; }

}  // namespace commissure

void* operator new(std::size_t n_bytes) {
  if (n_bytes >= limit && is_maker == fails_here) {
    ++n_failures;
    throw std::bad_alloc();
  }
  void* const memory = std::malloc(n_bytes == 0 ? 1 : n_bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
