// An image file to its pixels, and those resized.

#include "fuzz/fuzz.h"
#include "image/image.h"
#include "image/image_type.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace commissure;
  const auto file = std::as_bytes(std::span(data, size));
  const auto image = decode_image(file, {.max_pixels = 1 << 20});
  if (!fuzz::is_accepted(image)) return 0;
  CHECK(!image_type(file).empty());
  CHECK(image->width >= 1 && image->height >= 1);
  CHECK(image->rgb.size() == std::size_t{3} * image->width * image->height);
  for (const ResizeFilter filter : {ResizeFilter::kBilinear, ResizeFilter::kBicubic}) {
    const Image small = resize(*image, 3, 2, filter);
    CHECK(small.width == 3 && small.height == 2 && small.rgb.size() == 18);
  }
  return 0;
}
