#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/result.h"
#include "synth/random_tensor.h"
#include "weights/byte_source.h"

namespace commissure {

/// A file that lies nowhere: a text, and behind it tensors whose bytes are made when they are read.
class RandomFile final : public ByteSource {
 public:
  ///   head     all bytes before the first tensor
  ///   tensors  in the file's order, offsets from the end of `head`; between them zeros
  ///   n_bytes  of all tensors with what pads them
  RandomFile(std::string name, std::string head, std::vector<RandomTensor> tensors, std::uint64_t n_bytes);

  const std::string& name() const override { return name_; }
  std::uint64_t size() const override { return head_.size() + n_bytes_; }
  /// Errors: kOutOfRange; kResourceExhausted, no memory.
  Result<ByteRange> read(std::uint64_t offset, std::uint64_t n_bytes) override;
  bool is_mapped() const override { return false; }
  std::uint64_t bytes_read() const override { return bytes_read_; }

 private:
  Status fill(std::uint64_t offset, std::span<std::byte> out) const;

  const std::string name_;
  const std::string head_;
  const std::vector<RandomTensor> tensors_;
  const std::uint64_t n_bytes_;
  std::atomic<std::uint64_t> bytes_read_ = 0;
};

}  // namespace commissure
