// A frame of the boundary stream from a hostile peer. The first byte says into which pieces the network cut it.

#include <grpcpp/support/slice.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "core/check.h"
#include "wire/codec.h"

using namespace commissure;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string bytes(reinterpret_cast<const char*>(data + 1), size - 1);
  const std::size_t piece = data[0] == 0 ? bytes.size() + 1 : data[0];
  std::vector<grpc::Slice> slices;
  for (std::size_t at = 0; at < bytes.size(); at += piece) slices.emplace_back(bytes.substr(at, piece));
  const Result<Frame> frame = decode_frame(grpc::ByteBuffer(slices.data(), slices.size()), Checksum::kIgnore);
  if (!frame) {
    CHECK(frame.error().code() == Code::kDataLoss);
    return 0;
  }
  if (const auto* input = std::get_if<StageInput>(&*frame)) {
    // What was understood is understood the same way when it is passed on.
    const Result<Frame> again = decode_frame(encode_frame(input->batch, input->boundary));
    CHECK(again.has_value());
    const auto& copy = std::get<StageInput>(*again);
    CHECK(std::ranges::equal(copy.boundary.values, input->boundary.values));
    CHECK(copy.batch.slices.size() == input->batch.slices.size() && copy.batch.released == input->batch.released);
  }
  return 0;
}
