#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <type_traits>
#include <vector>

#include "core/result.h"
#include "jinja/value/value.h"

namespace commissure::jinja {

/// What one render may use. A template is code from a stranger: every step costs fuel, every byte memory.
struct Limits {
  std::uint64_t fuel = 10'000'000;              ///< steps: one node evaluated, one item or 16 bytes looked at
  std::size_t memory_bytes = 96u << 20;         ///< all values made and all text written
  std::size_t text_bytes = 16u << 20;           ///< one text, the output too
  int depth = 1500;                             ///< evaluations within evaluations, macros included
  std::function<bool()> is_unwanted = nullptr;  ///< asked now and then: whether nobody waits for the text any more
};

/// Values of one render: taken from blocks, given back all at once when the render ends, so that no value has a
/// destructor, however deep it is and whatever points back at it.
/// Threading: one thread.
class Heap {
 public:
  explicit Heap(const Limits& limits) : limits_(limits) {}
  Heap(const Heap&) = delete;
  Heap& operator=(const Heap&) = delete;

  const Limits& limits() const { return limits_; }

  /// Takes `n_bytes` from the budget. Errors: kResourceExhausted.
  Status charge(std::size_t n_bytes);

  /// Room for `n` values of a trivial type, made by its default constructor.
  /// Errors: kResourceExhausted, the budget is used up.
  template <typename T>
  Result<T*> array(std::size_t n) {
    static_assert(std::is_trivially_destructible_v<T>);
    if (n > limits_.memory_bytes / sizeof(T)) return exhausted();
    char* room = TRY(take(n * sizeof(T), alignof(T)));
    T* first = reinterpret_cast<T*>(room);
    for (std::size_t i = 0; i < n; ++i) new (first + i) T();
    return first;
  }

  template <typename T>
  Result<T*> make() {
    return array<T>(1);
  }

  /// A copy of `text`. Errors: kResourceExhausted.
  Result<Value> text(std::string_view text);

  /// `a` and `b` joined. A text that grows by one end is never copied twice: the new part goes behind it where it lies
  /// last in its block, and the old value stays its prefix.
  Result<Value> concat(std::string_view a, std::string_view b);

 private:
  Error exhausted() const;
  Result<char*> take(std::size_t n_bytes, std::size_t alignment);

  Limits limits_;
  std::size_t used_ = 0;
  std::vector<std::unique_ptr<char[]>> blocks_;
  char* top_ = nullptr;
  char* end_ = nullptr;
};

}  // namespace commissure::jinja
