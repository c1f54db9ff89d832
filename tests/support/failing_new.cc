#include "support/failing_new.h"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

constinit std::atomic<std::size_t> limit = 0;
constinit commissure::Failing failing;

}  // namespace

namespace commissure {

FailingNew::FailingNew(std::size_t n_bytes, Where where) {
  limit = n_bytes;
  failing.begin(where);
}

FailingNew::~FailingNew() { failing.end(); }

int FailingNew::n_failed() const { return failing.n_failed(); }

}  // namespace commissure

void* operator new(std::size_t n_bytes) {
  if (n_bytes >= limit && failing.fails()) throw std::bad_alloc();
  void* const memory = std::malloc(n_bytes == 0 ? 1 : n_bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
