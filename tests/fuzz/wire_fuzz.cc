// A frame of the boundary stream from a hostile peer. The first byte says into which pieces the network cut it.

#include <grpcpp/support/slice.h>

#include <algorithm>
#include <string>
#include <variant>
#include <vector>

#include "fuzz/fuzz.h"
#include "step/stage_info.h"
#include "wire/codec.h"
#include "wire/handshake.h"

namespace {

using namespace commissure;

/// What was understood is understood the same way when it is passed on.
template <typename T, typename... Encoded>
T passed_on(const Encoded&... value) {
  const Result<Frame> again = decode_frame(encode_frame(value...));
  CHECK(again.has_value() && std::holds_alternative<T>(*again));
  return std::get<T>(*again);
}

StageInfo stage_b() {
  StageInfo info;
  info.model = "m";
  info.fingerprint = "f";
  info.plan = {1, 3, 30, {10, 20}};
  info.precision = "fast";
  info.kv_dtype = "bf16";
  info.d_model = 4;
  info.max_rows = 64;
  return info;
}

void check(const Hello& hello) {
  CHECK(passed_on<Hello>(hello) == hello);
  static const StageInfo self = stage_b();
  (void)fuzz::is_accepted(accept_client_hello(self, hello));
  (void)fuzz::is_accepted(accept_server_hello(self, hello));
  (void)lost_stages(hello);
}

void check(const StageInput& input) {
  const auto copy = passed_on<StageInput>(input.batch, input.boundary);
  CHECK(std::ranges::equal(copy.boundary.values, input.boundary.values));
  CHECK(copy.batch.slices.size() == input.batch.slices.size() && copy.batch.released == input.batch.released);
  CHECK(copy.batch.rebuild == input.batch.rebuild && copy.batch.traces == input.batch.traces);
  (void)fuzz::is_accepted(validate(input.batch));
}

void check(const SampledTokens& tokens) {
  const auto copy = passed_on<SampledTokens>(tokens);
  CHECK(copy.step == tokens.step && copy.results.size() == tokens.results.size());
  CHECK(copy.timings.size() == tokens.timings.size());
}

void check(const StepError& error) { CHECK(passed_on<StepError>(error).step == error.step); }
void check(const Goodbye& goodbye) { CHECK(passed_on<Goodbye>(goodbye).reason == goodbye.reason); }
void check(const Busy& busy) { CHECK(passed_on<Busy>(busy).reason == busy.reason); }

/// The answer of Describe.
void check_description(const std::string& bytes) {
  v1::ChainDescription message;
  if (message.ParseFromString(bytes)) (void)fuzz::is_accepted(decode(message.stages()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return -1;
  const std::string bytes(fuzz::as_text(data + 1, size - 1));
  check_description(bytes);
  const std::size_t piece = data[0] == 0 ? bytes.size() + 1 : data[0];
  std::vector<grpc::Slice> slices;
  for (std::size_t at = 0; at < bytes.size(); at += piece) slices.emplace_back(bytes.substr(at, piece));
  const Result<Frame> frame = decode_frame(grpc::ByteBuffer(slices.data(), slices.size()), Checksum::kIgnore);
  if (fuzz::is_accepted(frame)) {
    std::visit([](const auto& value) { check(value); }, *frame);
  } else {
    CHECK(frame.error().code() == Code::kDataLoss);
  }
  return 0;
}
