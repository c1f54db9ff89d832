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
  /// Both outlive the reader.
  TensorReader(const Checkpoint& checkpoint, std::span<const TensorInfo> tensors)
      : checkpoint_(checkpoint), tensors_(tensors) {}

  /// The bytes of the next tensor of the list; called once for each. Errors: as Checkpoint::load.
  Result<ByteRange> next();

 private:
  void read_ahead();

  const Checkpoint& checkpoint_;
  const std::span<const TensorInfo> tensors_;
  std::size_t next_ = 0;           ///< index of the tensor that next() returns
  std::uint64_t bytes_ahead_ = 0;  ///< of the reads that are under way
  std::deque<std::future<Result<ByteRange>>> ahead_;
};

}  // namespace commissure
