#pragma once

#include <signal.h>

namespace commissure::cpu {

/// While it lives, AMX instructions that this CPU refuses (SIGILL) run on emulated tiles: the compiled kernels
/// themselves, with the operands the compiler chose, as they would run where AMX is.
/// Threading: for all threads of the process; one object at a time.
class TrappedTiles {
 public:
  TrappedTiles();
  ~TrappedTiles();
  TrappedTiles(const TrappedTiles&) = delete;
  TrappedTiles& operator=(const TrappedTiles&) = delete;

  /// Whether this CPU refuses them; only then does anything trap.
  static bool can_trap();
  /// Instructions emulated so far.
  static int n_trapped();

 private:
  struct sigaction before_;
};

}  // namespace commissure::cpu
