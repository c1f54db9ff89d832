#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <string>
#include <string_view>

#include "step/image_rows.h"

namespace commissure {

/// The rows of images that were encoded lately, by their files and by their pixels. Those asked for least lately are
/// forgotten first. Threading: one at a time.
class ImageRowsCache {
 public:
  using Rows = std::shared_ptr<const ImageRows>;  // shared: with the requests that have the image

  /// `max_bytes` of values; rows that have more are not kept.
  explicit ImageRowsCache(std::size_t max_bytes) : max_bytes_(max_bytes) {}

  /// What add() kept for this file, or null.
  Rows of_file(std::string_view file_hash);
  /// Rows with this ImageRows::key that a file of another hash was turned into, or null.
  Rows of_key(std::string_view key);
  void add(std::string file_hash, Rows rows);

  std::size_t n_bytes() const { return n_bytes_; }

 private:
  struct Entry {
    std::string file_hash;
    Rows rows;
    /// At least so much even of small rows, so that entries are few enough to be looked through.
    std::size_t n_bytes() const;
  };

  template <typename Claim>
  Rows find(Claim claim);

  const std::size_t max_bytes_;
  std::size_t n_bytes_ = 0;
  std::list<Entry> entries_;  // asked for last first
};

}  // namespace commissure
