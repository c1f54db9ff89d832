#include "serve/image_rows_cache.h"

#include <algorithm>
#include <utility>

namespace commissure {

namespace {
constexpr std::size_t kLeastBytes = std::size_t{64} << 10;
}

std::size_t ImageRowsCache::Entry::n_bytes() const { return std::max(kLeastBytes, rows->values.size() * sizeof(bf16)); }

template <typename Claim>
ImageRowsCache::Rows ImageRowsCache::find(Claim claim) {
  const auto entry = std::ranges::find_if(entries_, claim);
  if (entry == entries_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, entry);
  return entries_.front().rows;
}

ImageRowsCache::Rows ImageRowsCache::of_file(std::string_view file_hash) {
  return find([&](const Entry& entry) { return entry.file_hash == file_hash; });
}

ImageRowsCache::Rows ImageRowsCache::of_key(std::string_view key) {
  return find([&](const Entry& entry) { return entry.rows->key == key; });
}

void ImageRowsCache::add(std::string file_hash, Rows rows) {
  Entry entry = {std::move(file_hash), std::move(rows)};
  if (entry.n_bytes() > max_bytes_) return;
  n_bytes_ += entry.n_bytes();
  entries_.push_front(std::move(entry));
  while (n_bytes_ > max_bytes_) {
    n_bytes_ -= entries_.back().n_bytes();
    entries_.pop_back();
  }
}

}  // namespace commissure
