#pragma once

namespace commissure {

/// Logs the broken invariant with its place and aborts.
[[noreturn]] void check_failed(const char* condition, const char* file, int line);

}  // namespace commissure

/// For our own broken invariants only, in all builds; never for input.
#define CHECK(condition)                                          \
  do {                                                            \
    if (!(condition)) [[unlikely]]                                \
      ::commissure::check_failed(#condition, __FILE__, __LINE__); \
  } while (false)

/// CHECK in hot loops: absent from release builds.
#ifdef NDEBUG
#define DCHECK(condition) \
  do {                    \
  } while (false && (condition))
#else
#define DCHECK(condition) CHECK(condition)
#endif
