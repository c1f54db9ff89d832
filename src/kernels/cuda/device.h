#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "kernels/cuda/cubins.h"
#include "kernels/cuda/driver.h"

namespace commissure::cuda {

/// A card as the driver describes it.
struct Card {
  int device = 0;  ///< the driver's number
  std::string name;
  int arch = 0;  ///< 89 for sm_89
  int n_multiprocessors = 0;
};

/// Starts the driver and looks at a card; makes nothing on it. Errors: kFailedPrecondition, the driver is too old, or
/// there is no such card, or `cubins` has no kernels for it; kInternal, the driver's own.
Result<Card> find_card(const Driver& driver, std::span<const Cubin> cubins, int ordinal);

/// One card, opened: its context, one stream, the kernels for it. Queued calls never wait. After the first that fails
/// nothing more is queued, as it would work on what is not there; wait() returns that error.
/// Threading: one thread at a time; any thread.
class Device {
 public:
  /// Errors: as find_card(); kFailedPrecondition, the card computes otherwise than the kernels expect
  /// (self_check.h); kResourceExhausted, kInternal, kUnavailable: the driver's own.
  static Result<std::unique_ptr<Device>> open(const Driver& driver, std::span<const Cubin> cubins, int ordinal);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const std::string& name() const { return card_.name; }
  int arch() const { return card_.arch; }  ///< 89 for sm_89
  int n_multiprocessors() const { return card_.n_multiprocessors; }

  /// What can be allocated now, by this process or another. Errors: kInternal, the driver's own.
  Result<std::size_t> free_bytes();

  /// Zero-filled once what is queued has run. Errors: kResourceExhausted; after a failure, that.
  Result<DriverPtr> allocate(std::size_t n_bytes);
  /// Waits for what is queued.
  void release(DriverPtr at);

  void copy_in(DriverPtr to, const void* from, std::size_t n_bytes);  ///< `from` may be reused on return
  void copy_out(void* to, DriverPtr from, std::size_t n_bytes);       ///< `to` is written by the time wait() returns
  void fill_zero(DriverPtr at, std::size_t n_bytes);

  struct Grid {
    int x = 1, y = 1;
  };
  /// `args` is the kernel's one argument.
  template <typename Args>
  void launch(std::string_view kernel, Grid grid, int n_threads, const Args& args) {
    Args copy = args;
    launch_with(kernel, grid, n_threads, &copy);
  }

  /// Nothing more is queued until wait() has returned `error`, unless there is an earlier one.
  void give_up(const Error& error);

  /// Waits for all that is queued. Errors: the driver's first one since the device was opened, which stays; else that
  /// of give_up(), once.
  Status wait();

  /// The error that stays, if there is one. Threading: any thread, at any time.
  Status lasting_failure() const;

 private:
  Device(const Driver& driver, Card card) : driver_(driver), card_(std::move(card)) {}
  Status load(std::span<const Cubin> cubins);
  Status check_arithmetic();
  void launch_with(std::string_view kernel, Grid grid, int n_threads, void* args);
  Result<Function> function(std::string_view kernel);
  /// Makes the context the calling thread's; false once something has failed.
  bool enter();
  /// The first error of the driver stays: kUnavailable, or kResourceExhausted.
  void keep(int error, std::string_view what);

  const Driver driver_;
  const Card card_;
  Context context_ = nullptr;
  Stream stream_ = nullptr;
  std::vector<Module> modules_;
  std::map<std::string, Function, std::less<>> functions_;
  std::vector<std::vector<std::byte>> kept_;  ///< host bytes of copies that may not have run yet
  Status failure_;
  std::atomic<bool> is_lasting_ = false;  ///< failure_ is the driver's, and changes no more
};

/// Whether machine code for one kind of card runs on another.
bool runs_on(int code, int card);
/// The machine code that runs on a card: made for it, or for an earlier one of the same generation. 0: none does.
int best_arch(std::span<const Cubin> cubins, int arch);

}  // namespace commissure::cuda
