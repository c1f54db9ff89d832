#include <webp/decode.h>
#include <webp/demux.h>

#include <memory>

#include "core/index.h"
#include "image/exif.h"
#include "image/formats.h"

namespace commissure {

namespace {

/// The first frame on its canvas, black where the frame is not.
Status read_first_frame(const WebPData& data, Image& image) {
  WebPAnimDecoderOptions options;
  if (WebPAnimDecoderOptionsInit(&options) == 0) return Error(Code::kResourceExhausted, "another version of libwebp");
  options.color_mode = MODE_RGBA;
  const std::unique_ptr<WebPAnimDecoder, void (*)(WebPAnimDecoder*)> decoder(WebPAnimDecoderNew(&data, &options),
                                                                             &WebPAnimDecoderDelete);
  std::uint8_t* canvas = nullptr;
  int time = 0;
  if (decoder == nullptr || WebPAnimDecoderGetNext(decoder.get(), &canvas, &time) == 0) {
    return damaged("WebP", "its first frame cannot be read");
  }
  for (std::size_t i = 0; i < image.rgb.size() / 3; ++i) std::copy_n(canvas + i * 4, 3, image.rgb.data() + i * 3);
  return {};
}

int orientation_of(const WebPData& data) {
  const std::unique_ptr<WebPDemuxer, void (*)(WebPDemuxer*)> demuxer(WebPDemux(&data), &WebPDemuxDelete);
  WebPChunkIterator chunk = {};
  if (demuxer == nullptr || WebPDemuxGetChunk(demuxer.get(), "EXIF", 1, &chunk) == 0) return 1;
  const int orientation = exif_orientation(std::as_bytes(std::span(chunk.chunk.bytes, chunk.chunk.size)));
  WebPDemuxReleaseChunkIterator(&chunk);
  return orientation;
}

}  // namespace

Result<DecodedImage> decode_webp(std::span<const std::byte> file, const ImageLimits& limits) {
  const WebPData data{reinterpret_cast<const std::uint8_t*>(file.data()), file.size()};
  WebPBitstreamFeatures features;
  const VP8StatusCode status = WebPGetFeatures(data.bytes, data.size, &features);
  if (status != VP8_STATUS_OK) {
    return damaged("WebP", status == VP8_STATUS_NOT_ENOUGH_DATA ? kEndsEarly : "its header makes no sense");
  }
  TRY(check_size(features.width, features.height, limits));
  DecodedImage result{.image = TRY(empty_image(features.width, features.height)), .orientation = orientation_of(data)};
  Image& image = result.image;
  if (features.has_animation != 0) {
    TRY(read_first_frame(data, image));
  } else if (WebPDecodeRGBInto(data.bytes, data.size, image.rgb.data(), image.rgb.size(), features.width * 3) ==
             nullptr) {
    return damaged("WebP", "it ends early, or its pixels make no sense; send it again, whole");
  }
  return result;
}

}  // namespace commissure
