#pragma once

#include <cstddef>

/// Stacks to switch between. A fiber never ends: its function switches away for the last time, and it is started anew.
namespace commissure::cuda::emulated {

class Fiber {
 public:
  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// Makes the next resume() begin `entry` on an empty stack.
  void start(void (*entry)());
  /// From the scheduler: runs the fiber until it calls yield().
  void resume();
  /// From the fiber: back to the scheduler. `is_last`: the fiber will not be resumed but started anew.
  void yield(bool is_last);
  /// First thing that `entry` calls.
  void entered();

 private:
  static constexpr std::size_t kStackBytes = std::size_t{128} << 10;

  char* stack_ = nullptr;  // behind a page that nobody may touch
  void* sp_ = nullptr;
  void* scheduler_sp_ = nullptr;
  // What AddressSanitizer wants to know at a switch.
  [[maybe_unused]] void* fake_stack_ = nullptr;
  [[maybe_unused]] void* scheduler_fake_stack_ = nullptr;
  [[maybe_unused]] const void* scheduler_bottom_ = nullptr;
  [[maybe_unused]] std::size_t scheduler_size_ = 0;
};

}  // namespace commissure::cuda::emulated
