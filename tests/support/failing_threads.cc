#include "support/failing_threads.h"

#include <dlfcn.h>
#include <pthread.h>

#include <cerrno>

namespace {

constinit commissure::Failing failing;

}  // namespace

namespace commissure {

FailingThreads::FailingThreads(Where where) { failing.begin(where); }
FailingThreads::~FailingThreads() { failing.end(); }

int FailingThreads::n_failed() const { return failing.n_failed(); }

}  // namespace commissure

extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*run)(void*),
                              void* argument) {
  if (failing.fails()) return EAGAIN;
  using Create = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  static const auto create = reinterpret_cast<Create>(dlsym(RTLD_NEXT, "pthread_create"));
  return create(thread, attributes, run, argument);
}
