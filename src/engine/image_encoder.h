#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "core/ids.h"
#include "core/result.h"
#include "step/image_rows.h"

namespace commissure {

/// How an image stands in a prompt: the chat template writes `mark`, and in the mark's place come `before`, as many
/// tokens as the image has rows, and `after`.
struct ImageMarks {
  std::string mark;    ///< "<start_of_image>"
  std::string before;  ///< text, control tokens included
  TokenId token;       ///< stands for each of the image's rows; below the vocabulary's end
  std::string after;
};

/// The eyes of a model: image files to rows. Threading: any thread; calls take turns.
class ImageEncoder {
 public:
  virtual ~ImageEncoder() = default;

  virtual const ImageMarks& marks() const = 0;
  /// Decodes, resizes and encodes an image; equal files are encoded once as long as they are remembered. Takes long:
  /// seconds for a large encoder.
  /// Errors: kInvalidArgument, not an image that can be read, or one beyond the limits; kResourceExhausted.
  virtual Result<std::shared_ptr<const ImageRows>> encode(std::span<const std::byte> file) = 0;
};

}  // namespace commissure
