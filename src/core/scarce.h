#pragma once

#include <chrono>
#include <new>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>

#include "core/result.h"
#include "core/thread_annotations.h"

/// What to do where this machine has no memory, or no thread, for a piece of work: that piece fails, and nobody waits
/// for it.
namespace commissure {

/// An error that needs no memory itself.
inline Error no_memory(Code code = Code::kResourceExhausted) { return Error(code, "no memory"); }

/// Whether the system grants so many threads at once. Errors: kUnavailable, with what to do.
Status try_threads(int n);

/// What `work` gives; where memory runs out in it, or the system grants no thread, what `otherwise` gives, which must
/// need neither.
template <typename Work, typename Otherwise>
std::invoke_result_t<Work> unless_scarce(Work&& work, Otherwise&& otherwise)
    COMMISSURE_THREAD_ANNOTATION(no_thread_safety_analysis) {  // `work` says itself which lock it runs under
  try {
    return std::forward<Work>(work)();
  } catch (const std::bad_alloc&) {
    return std::forward<Otherwise>(otherwise)();
  } catch (const std::system_error&) {
    return std::forward<Otherwise>(otherwise)();
  }
}

/// Work that may be left undone, as a line of a log. Whether it was done.
template <typename Work>
bool done_unless_scarce(Work&& work) COMMISSURE_THREAD_ANNOTATION(no_thread_safety_analysis) {
  try {
    std::forward<Work>(work)();
    return true;
  } catch (const std::bad_alloc&) {
    return false;
  } catch (const std::system_error&) {
    return false;
  }
}

/// Work that has to be done, and may be begun again: waits until there is memory for it.
template <typename Work>
void do_once_possible(Work work) {
  while (!done_unless_scarce(work)) std::this_thread::sleep_for(std::chrono::milliseconds(10));
}

/// The same error, if need be without its words: for several who wait for one thing.
inline Error copy_of(const Error& error) {
  return unless_scarce([&] { return error; }, [&] { return no_memory(error.code()); });
}

}  // namespace commissure
