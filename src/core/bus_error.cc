#include "core/bus_error.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>

namespace commissure {

namespace {

/// One mapping, readable from a signal handler: `end` is 0 while the others are being written.
struct Slot {
  std::atomic<bool> taken = false;
  std::atomic<std::uintptr_t> begin = 0, end = 0;
  std::array<char, 256> name = {};
};

// A signal handler reaches nothing but what is global.
std::array<Slot, 64> slots;

void say(const char* text) { [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text, std::strlen(text)); }

extern "C" void on_bus_error(int, siginfo_t* info, void*) {
  const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr);
  const auto found =
      std::ranges::find_if(slots, [&](const Slot& slot) { return address >= slot.begin && address < slot.end; });
  say("commissure: ");
  say(found == slots.end() ? "a mapped file" : found->name.data());
  say(" can no longer be read: it was cut short while in use, or its disk failed or is full; this process ends. "
      "Replace files by renaming, never in place\n");
  ::_exit(1);
}

}  // namespace

NamedMapping::NamedMapping(const void* begin, std::size_t n_bytes, std::string_view name) : slot_(-1) {
  const auto free = std::ranges::find_if(slots, [](Slot& slot) { return !slot.taken.exchange(true); });
  if (free == slots.end()) return;
  slot_ = static_cast<int>(free - slots.begin());
  free->name[name.copy(free->name.data(), free->name.size() - 1)] = '\0';
  free->begin = reinterpret_cast<std::uintptr_t>(begin);
  free->end = free->begin + n_bytes;
}

NamedMapping::~NamedMapping() {
  if (slot_ < 0) return;
  Slot& slot = slots[static_cast<std::size_t>(slot_)];
  slot.end = 0;
  slot.taken = false;
}

void explain_bus_errors() {
  struct sigaction action{};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO;
  ::sigaction(SIGBUS, &action, nullptr);
}

}  // namespace commissure
