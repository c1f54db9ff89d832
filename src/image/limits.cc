#include <algorithm>
#include <new>

#include "core/index.h"
#include "image/formats.h"

namespace commissure {

Status check_size(std::int64_t width, std::int64_t height, const ImageLimits& limits) {
  if (width < 1 || height < 1) {
    return Error(Code::kInvalidArgument, "the image is empty: ", width, " x ", height, " pixels");
  }
  if (width > limits.max_pixels / height) {
    return Error(Code::kInvalidArgument, "the image has ", width, " x ", height, " pixels, but may have at most ",
                 limits.max_pixels, "; make it smaller");
  }
  const auto [shorter, longer] = std::minmax(width, height);
  if (longer > shorter * limits.max_ratio) {
    return Error(Code::kInvalidArgument, "the image has ", width, " x ", height,
                 " pixels, but its longer side may be at most ", limits.max_ratio,
                 " times as long as the shorter one; cut it");
  }
  return {};
}

Result<Image> empty_image(int width, int height) {
  Image image{.width = width, .height = height, .rgb = {}};
  try {
    image.rgb.resize(n_elements(height, width, 3));
  } catch (const std::bad_alloc&) {
    return Error(Code::kResourceExhausted, "no memory for an image of ", width, " x ", height, " pixels");
  }
  return image;
}

Error damaged(std::string_view kind, std::string_view why) {
  return Error(Code::kInvalidArgument, "the ", kind, " file is damaged: ", why);
}

}  // namespace commissure
