#include "support/failing_threads.h"

#include <dlfcn.h>
#include <pthread.h>

#include <atomic>
#include <cerrno>

namespace {

std::atomic<bool> fails = false;
std::atomic<bool> fails_here = false;
std::atomic<int> n_failures = 0;
thread_local bool is_maker = false;

}  // namespace

namespace commissure {

FailingThreads::FailingThreads(Where where) {
  is_maker = true;
  fails_here = where == Where::kHere;
  n_failures = 0;
  fails = true;
}

FailingThreads::~FailingThreads() {
  fails = false;
  is_maker = false;
}

int FailingThreads::n_failed() const { return n_failures; }

}  // namespace commissure

extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*run)(void*),
                              void* argument) {
  if (fails && is_maker == fails_here) {
    ++n_failures;
    return EAGAIN;
  }
  using Create = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  static const auto create = reinterpret_cast<Create>(dlsym(RTLD_NEXT, "pthread_create"));
  return create(thread, attributes, run, argument);
}
