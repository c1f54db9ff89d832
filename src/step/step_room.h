#pragma once

#include <cstddef>

#include "step/sampling_params.h"

namespace commissure {

/// Bytes of a step's header, which is everything but its rows. No stage takes more from the wire, so no step is planned
/// that may have more.
inline constexpr std::size_t kMaxStepHeaderBytes = std::size_t{16} << 20;
/// Entries (n_list_entries) of the parameters in one step, with those that travel once for several sequences counted
/// for each: what a header unpacks to is bounded too.
inline constexpr std::size_t kMaxStepListEntries = std::size_t{32} << 20;
/// Words of the masks in one step, unpacked: one that came as a few ids has as many as one that came as bits, and a
/// planned step has room for all of them as bits.
inline constexpr std::size_t kMaxStepMaskWords = kMaxStepHeaderBytes / 4;

/// How long the token lists of these parameters are, in units of one token id.
std::size_t n_list_entries(const SamplingParams& params);
/// Whether two sequences have the same token lists, as the choices of one request have. Such lists travel once.
bool same_lists(const SamplingParams& a, const SamplingParams& b);
void copy_lists(const SamplingParams& from, SamplingParams& to);

/// What one sequence brings into a step's header; each number may be a bound from above.
struct SliceSize {
  int n_rows = 0;
  int n_targets = 0;
  int n_blocks = 0;  ///< new ones, of both tables
  int n_history = 0;
  int n_images = 0;
  std::size_t n_mask_bytes = 0;            ///< of the tokens that may be drawn
  const SamplingParams* params = nullptr;  ///< those that go with it; null: the stages have them
};

/// How much room a step's header still has. Counts bytes from above, so that what fits here fits on the wire.
/// Threading: one thread at a time.
class StepRoom {
 public:
  explicit StepRoom(std::size_t n_bytes = kMaxStepHeaderBytes);

  bool fits(const SliceSize& slice) const;
  /// The parameters stay where they are as long as this room is used.
  void take(const SliceSize& slice);
  /// What a slice needs in a step of its own.
  static std::size_t bytes_alone(const SliceSize& slice);
  std::size_t n_bytes() const { return n_bytes_; }

 private:
  struct Need {
    std::size_t n_bytes = 0;
    std::size_t n_entries = 0;
  };
  static Need need(const SliceSize& slice, const SamplingParams* before);

  std::size_t n_bytes_;
  std::size_t n_entries_ = kMaxStepListEntries;
  const SamplingParams* before_ = nullptr;  // of the slice that brought parameters last
};

}  // namespace commissure
