#include "weights/tensor_reader.h"

#include <system_error>

namespace commissure {

namespace {

constexpr std::size_t kMaxAhead = 32;  // tensors: each may be a single request

}  // namespace

Result<ByteRange> TensorReader::next() {
  if (checkpoint_.reads_at_once(tensors_[next_]) == 1) return checkpoint_.load(tensors_[next_++]);
  read_ahead();
  Result<ByteRange> read = ahead_.front().get();
  ahead_.pop_front();
  bytes_ahead_ -= checkpoint_.stored_bytes(tensors_[next_++]);
  if (read) read_ahead();  // while the caller works on this one
  return read;
}

void TensorReader::read_ahead() {
  for (std::size_t at = next_ + ahead_.size(); at < tensors_.size() && ahead_.size() < kMaxAhead; ++at) {
    const TensorInfo& tensor = tensors_[at];
    const std::uint64_t n_bytes = checkpoint_.stored_bytes(tensor);
    if (!ahead_.empty() && bytes_ahead_ + n_bytes > max_bytes_ahead_) return;
    bytes_ahead_ += n_bytes;
    const auto load = [this, &tensor] { return checkpoint_.load(tensor); };
    try {
      ahead_.push_back(std::async(std::launch::async, load));
    } catch (const std::system_error&) {  // no thread for it: it is read when its turn comes
      ahead_.push_back(std::async(std::launch::deferred, load));
    }
  }
}

}  // namespace commissure
