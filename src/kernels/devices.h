#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/backend.h"

namespace commissure {

/// A backend, and for people which device it is and why, in one line without a full stop.
struct ChosenDevice {
  std::unique_ptr<Backend> backend;
  std::string reason;
  std::string gpu;  ///< the card's name; empty: the CPU
  /// An error after which every step fails, as the card is lost; null: this device is not lost without the process.
  /// Threading: any thread, while the backend lives.
  std::function<Status()> health;
  /// Memory that the card has left, in bytes; null: the host's counts. Errors: kInternal, the driver's own.
  std::function<Result<std::size_t>()> free_bytes;
};

/// Whether `name` is one of "cpu", "cuda" and "auto".
bool is_device_name(std::string_view name);

/// Whether a GPU is here that this program has kernels for, without making anything on it. Errors: kFailedPrecondition:
/// "no GPU can be used", what was looked for, what was found, what to do.
Status check_gpu();

/// `device`: "cpu"; "cuda", the first GPU; "auto", the first GPU where it can be used, else the CPU.
/// Errors: as check_gpu(), also for a GPU that is there and cannot be opened; as make_cpu_backend().
Result<ChosenDevice> make_device(std::string_view device, const CpuOptions& cpu);

/// The kinds of card this program has kernels for: 89 for sm_89. Empty: built without any.
std::vector<int> gpu_kernels();
/// Whether some of `kernels` run on a card of compute capability `major`.`minor`: those made for it, or for an earlier
/// one of the same generation.
bool run_on_card(std::span<const int> kernels, int major, int minor);

/// The oldest version of CUDA that a GPU's driver must run: 12.0, which driver 525 does.
inline constexpr int kOldestCuda = 12000;

}  // namespace commissure
