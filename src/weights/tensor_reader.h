#pragma once

#include <deque>
#include <future>
#include <span>

#include "core/result.h"
#include "weights/checkpoint.h"

namespace commissure {

/// Reads tensors in a given order. From a remote source (HTTP, Cloud Storage), where each read waits for a round trip,
/// it reads the next tensors while the caller works on the last one; other sources are read when asked.
/// Threading: one thread; reads of a remote source run on threads of their own.
class TensorReader {
 public:
  /// Memory over the weights; a larger tensor comes alone.
  static constexpr std::uint64_t kMaxBytesAhead = 64u << 20;

  /// Both outlive the reader. At most `max_bytes_ahead` of the files are under way.
  TensorReader(const Checkpoint& checkpoint, std::span<const TensorInfo> tensors,
               std::uint64_t max_bytes_ahead = kMaxBytesAhead)
      : checkpoint_(checkpoint), tensors_(tensors), max_bytes_ahead_(max_bytes_ahead) {}

  /// The bytes of the next tensor of the list; called once for each. Errors: as Checkpoint::load.
  Result<ByteRange> next();
  /// Reads that are under way, or done and not asked for yet.
  std::size_t n_ahead() const { return ahead_.size(); }

 private:
  void read_ahead();

  const Checkpoint& checkpoint_;
  const std::span<const TensorInfo> tensors_;
  const std::uint64_t max_bytes_ahead_;
  std::size_t next_ = 0;           ///< index of the tensor that next() returns
  std::uint64_t bytes_ahead_ = 0;  ///< of the reads that are under way
  std::deque<std::future<Result<ByteRange>>> ahead_;
};

}  // namespace commissure
