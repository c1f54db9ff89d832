#include "kernels/cuda/emulated/fiber.h"

#include <sys/mman.h>

#include "core/check.h"

#if defined(__SANITIZE_ADDRESS__)
#define COMMISSURE_FIBERS_ASAN
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define COMMISSURE_FIBERS_ASAN
#endif
#endif
#if defined(COMMISSURE_FIBERS_ASAN)
#include <sanitizer/common_interface_defs.h>
#endif

/// Saves what a call must keep on the stack, changes stacks, takes the other's back.
extern "C" void commissure_switch_stack(void** save, void* to);

#if defined(__x86_64__)
asm(R"(
.text
.globl commissure_switch_stack
.type commissure_switch_stack,@function
commissure_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp,(%rdi)
  movq %rsi,%rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size commissure_switch_stack,.-commissure_switch_stack
)");
#else
#error "the emulation switches stacks on x86-64 only"
#endif

namespace commissure::cuda::emulated {

namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kSavedRegisters = 6;

}  // namespace

Fiber::Fiber() {
  void* pages =
      mmap(nullptr, kStackBytes + kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  CHECK(pages != MAP_FAILED && mprotect(pages, kPage, PROT_NONE) == 0);
  stack_ = static_cast<char*>(pages) + kPage;
}

Fiber::~Fiber() { munmap(stack_ - kPage, kStackBytes + kPage); }

void Fiber::start(void (*entry)()) {
  void** sp = reinterpret_cast<void**>(stack_ + kStackBytes - 64);
  *--sp = nullptr;  // what `entry` would return to; keeps the stack aligned as after a call
  *--sp = reinterpret_cast<void*>(entry);
  for (std::size_t i = 0; i < kSavedRegisters; ++i) *--sp = nullptr;
  sp_ = sp;
  fake_stack_ = nullptr;
}

void Fiber::resume() {
#if defined(COMMISSURE_FIBERS_ASAN)
  __sanitizer_start_switch_fiber(&scheduler_fake_stack_, stack_, kStackBytes);
#endif
  commissure_switch_stack(&scheduler_sp_, sp_);
#if defined(COMMISSURE_FIBERS_ASAN)
  __sanitizer_finish_switch_fiber(scheduler_fake_stack_, nullptr, nullptr);
#endif
}

void Fiber::entered() {
#if defined(COMMISSURE_FIBERS_ASAN)
  __sanitizer_finish_switch_fiber(nullptr, &scheduler_bottom_, &scheduler_size_);
#endif
}

void Fiber::yield([[maybe_unused]] bool is_last) {
#if defined(COMMISSURE_FIBERS_ASAN)
  __sanitizer_start_switch_fiber(is_last ? nullptr : &fake_stack_, scheduler_bottom_, scheduler_size_);
#endif
  commissure_switch_stack(&sp_, scheduler_sp_);
#if defined(COMMISSURE_FIBERS_ASAN)
  __sanitizer_finish_switch_fiber(fake_stack_, &scheduler_bottom_, &scheduler_size_);
#endif
}

}  // namespace commissure::cuda::emulated
