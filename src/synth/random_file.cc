#include "synth/random_file.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <utility>

#include "weights/check_range.h"

namespace commissure {

RandomFile::RandomFile(std::string name, std::string head, std::vector<RandomTensor> tensors, std::uint64_t n_bytes)
    : name_(std::move(name)), head_(std::move(head)), tensors_(std::move(tensors)), n_bytes_(n_bytes) {}

Status RandomFile::fill(std::uint64_t offset, std::span<std::byte> out) const {
  const std::uint64_t end = offset + out.size();
  if (offset < head_.size()) {
    const std::uint64_t n = std::min<std::uint64_t>(head_.size() - offset, out.size());
    std::memcpy(out.data(), head_.data() + offset, n);
  }
  const auto begins = [&](const RandomTensor& tensor) { return head_.size() + tensor.info.offset; };
  auto tensor = std::ranges::upper_bound(tensors_, offset, {}, begins);
  if (tensor != tensors_.begin()) --tensor;
  for (; tensor != tensors_.end() && begins(*tensor) < end; ++tensor) {
    const std::uint64_t begin = begins(*tensor);
    const std::uint64_t from = std::max(begin, offset), to = std::min(begin + tensor->info.n_bytes, end);
    if (from < to) TRY(draw(*tensor, from - begin, out.subspan(from - offset, to - from)));
    // Zeros up to the next tensor.
    const std::uint64_t next = std::next(tensor) == tensors_.end() ? size() : begins(*std::next(tensor));
    const std::uint64_t gap = std::max(begin + tensor->info.n_bytes, offset), gap_end = std::min(next, end);
    if (gap < gap_end) std::memset(out.data() + (gap - offset), 0, gap_end - gap);
  }
  return {};
}

Result<ByteRange> RandomFile::read(std::uint64_t offset, std::uint64_t n_bytes) {
  TRY(check_range(*this, offset, n_bytes));
  bytes_read_ += n_bytes;
  try {
    const auto memory = std::make_shared_for_overwrite<std::byte[]>(n_bytes);  // shared, as ranges are
    const std::span<std::byte> bytes(memory.get(), n_bytes);
    TRY(fill(offset, bytes));
    return ByteRange{bytes, memory};
  } catch (const std::bad_alloc&) {
    return Error(Code::kResourceExhausted, name_, ": no memory for ", n_bytes, " bytes");
  }
}

}  // namespace commissure
