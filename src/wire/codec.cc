#include "wire/codec.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>
#include <grpcpp/support/proto_buffer_reader.h>
#include <grpcpp/support/slice.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "core/crc32c.h"
#include "core/index.h"
#include "wire/codec_params.h"
#include "wire/codec_values.h"

namespace commissure {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;
using google::protobuf::io::CodedOutputStream;

static_assert(std::endian::native == std::endian::little, "the rows travel as little endian bf16");

constexpr std::uint32_t kRowsTag = WireFormatLite::MakeTag(15, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
constexpr std::uint32_t kChecksumTag = WireFormatLite::MakeTag(14, WireFormatLite::WIRETYPE_FIXED32);
constexpr std::size_t kMaxTrailerMessage = 1024;

/// The frame's body and the checksum over it and the rows.
std::string sealed(const v1::Frame& frame, std::span<const bf16> rows = {}) {
  std::string bytes = frame.SerializeAsString();
  const std::uint32_t sum = crc32c(std::as_bytes(rows), crc32c(std::as_bytes(std::span(bytes))));
  std::uint8_t field[8];
  std::uint8_t* end = CodedOutputStream::WriteTagToArray(kChecksumTag, field);
  end = CodedOutputStream::WriteLittleEndian32ToArray(sum, end);
  bytes.append(reinterpret_cast<const char*>(field), to_size(end - field));
  return bytes;
}

grpc::ByteBuffer one_slice(const v1::Frame& frame) {
  const grpc::Slice slice(sealed(frame));
  return {&slice, 1};
}

/// Keeps the boundary's buffer alive until gRPC has sent it.
void release_owner(void* owner) { delete static_cast<std::shared_ptr<const void>*>(owner); }

grpc::Slice share_rows(const Boundary& boundary) {
  auto owner = std::make_unique<std::shared_ptr<const void>>(boundary.owner);
  // gRPC takes a void* and never writes to it.
  auto* bytes = const_cast<bf16*>(boundary.values.data());
  return {bytes, boundary.values.size_bytes(), release_owner, owner.release()};
}

/// The bytes [offset, offset + n_bytes) of a message as boundary values.
Result<Boundary> take_rows(const grpc::ByteBuffer& message, std::size_t offset, StepId step, int n_rows, int d_model) {
  const std::size_t n_values = n_elements(n_rows, d_model);
  if (n_values == 0) return Boundary{step, n_rows, d_model, {}, nullptr};
  std::vector<grpc::Slice> slices;
  if (!message.Dump(&slices).ok()) return broken("unreadable message buffer");

  std::vector<bf16> copy;
  std::size_t n_copied = 0;
  for (grpc::Slice& slice : slices) {
    if (offset >= slice.size()) {
      offset -= slice.size();
      continue;
    }
    const std::size_t available = slice.size() - offset;
    const bool aligned = reinterpret_cast<std::uintptr_t>(slice.begin() + offset) % alignof(bf16) == 0;
    if (n_copied == 0 && aligned && available >= n_values * sizeof(bf16)) {
      // Shared with gRPC's buffer. The slice moves to the heap first: a small one holds its bytes inside itself.
      auto owner = std::make_shared<const grpc::Slice>(std::move(slice));
      const auto* bytes = owner->begin() + offset;
      if (reinterpret_cast<std::uintptr_t>(bytes) % alignof(bf16) == 0) {
        return Boundary{step, n_rows, d_model, {reinterpret_cast<const bf16*>(bytes), n_values}, owner};
      }
      copy.resize(n_values);
      std::memcpy(copy.data(), bytes, n_values * sizeof(bf16));
      return make_boundary(step, n_rows, d_model, std::move(copy));
    }
    if (copy.empty()) copy.resize(n_values);
    const std::size_t n_bytes = std::min(available, n_values * sizeof(bf16) - n_copied);
    std::memcpy(reinterpret_cast<std::uint8_t*>(copy.data()) + n_copied, slice.begin() + offset, n_bytes);
    n_copied += n_bytes;
    offset = 0;
  }
  return make_boundary(step, n_rows, d_model, std::move(copy));
}

/// A frame taken apart: its message, and where the rows lie.
struct Parts {
  v1::Frame frame;
  std::size_t rows_offset = 0;
  std::size_t rows_bytes = 0;
  bool has_rows = false;
  std::size_t body_bytes = 0;  // before the checksum
  std::optional<std::uint32_t> checksum;
};

/// Reads a length and then a message of exactly this length.
Status read_message(CodedInputStream& in, std::size_t limit, google::protobuf::Message& message) {
  std::uint32_t length = 0;
  if (!in.ReadVarint32(&length)) return broken("truncated frame");
  if (length > limit) return broken("a frame header of ", length, " bytes, at most ", limit, " are taken");
  const auto outer = in.PushLimit(static_cast<int>(length));
  if (!message.MergeFromCodedStream(&in) || !in.ConsumedEntireMessage() || in.BytesUntilLimit() != 0) {
    return broken("a frame is malformed");
  }
  in.PopLimit(outer);
  return {};
}

Status read_body(CodedInputStream& in, int field, v1::Frame& frame) {
  if (frame.body_case() != v1::Frame::BODY_NOT_SET) return broken("a frame has two bodies");
  switch (field) {
    case v1::Frame::kHello: return read_message(in, kMaxStepHeaderBytes, *frame.mutable_hello());
    case v1::Frame::kStep: return read_message(in, kMaxStepHeaderBytes, *frame.mutable_step());
    case v1::Frame::kResult: return read_message(in, kMaxResultBytes, *frame.mutable_result());
    case v1::Frame::kError: return read_message(in, kMaxStepHeaderBytes, *frame.mutable_error());
    case v1::Frame::kGoodbye: return read_message(in, kMaxStepHeaderBytes, *frame.mutable_goodbye());
    case v1::Frame::kBusy: return read_message(in, kMaxStepHeaderBytes, *frame.mutable_busy());
    default: return broken("a frame has the unknown field ", field);
  }
}

Result<Parts> take_apart(const grpc::ByteBuffer& message) {
  const std::size_t total = message.Length();
  if (total > kMaxFrameBytes) return broken("a frame of ", total, " bytes, at most ", kMaxFrameBytes, " are taken");
  grpc::ByteBuffer shared(message);  // the reader wants to consume it; this copies a reference
  grpc::ProtoBufferReader reader(&shared);
  if (!reader.status().ok()) return broken("unreadable message buffer");
  CodedInputStream in(&reader);
  Parts parts;
  for (std::size_t at = 0; const std::uint32_t tag = in.ReadTag(); at = to_size(in.CurrentPosition())) {
    if (tag == kChecksumTag) {
      std::uint32_t sum = 0;
      if (parts.checksum || !in.ReadLittleEndian32(&sum)) return broken("a frame's checksum is malformed");
      parts.checksum = sum;
      parts.body_bytes = at;
      continue;
    }
    if (WireFormatLite::GetTagWireType(tag) != WireFormatLite::WIRETYPE_LENGTH_DELIMITED) {
      return broken("a frame has a field of the wrong kind");
    }
    if (tag != kRowsTag) {
      TRY(read_body(in, WireFormatLite::GetTagFieldNumber(tag), parts.frame));
      continue;
    }
    std::uint32_t length = 0;
    if (!in.ReadVarint32(&length)) return broken("truncated frame");
    parts.has_rows = true;
    parts.rows_bytes = length;
    parts.rows_offset = to_size(in.CurrentPosition());
    if (parts.rows_offset + length != total) return broken("the rows are not the rest of their frame");
    return parts;
  }
  if (to_size(in.CurrentPosition()) != total) return broken("bytes after the end of a frame");
  return parts;
}

/// The checksum that the message should carry.
Result<std::uint32_t> checksum_of(const grpc::ByteBuffer& message, const Parts& parts) {
  std::vector<grpc::Slice> slices;
  if (!message.Dump(&slices).ok()) return broken("unreadable message buffer");
  std::uint32_t sum = 0;
  const auto take = [&](std::size_t begin, std::size_t end) {
    std::size_t at = 0;
    for (const grpc::Slice& slice : slices) {
      const std::size_t from = std::clamp(begin, at, at + slice.size()) - at;
      const std::size_t to = std::clamp(end, at, at + slice.size()) - at;
      sum = crc32c(std::as_bytes(std::span(slice.begin() + from, slice.begin() + to)), sum);
      at += slice.size();
    }
  };
  take(0, parts.body_bytes);
  if (parts.has_rows) take(parts.rows_offset, parts.rows_offset + parts.rows_bytes);
  return sum;
}

Status check_sum(const grpc::ByteBuffer& message, const Parts& parts) {
  if (!parts.checksum) {
    // Another version's hello is understood well enough to be told so.
    return parts.frame.has_hello() ? Status() : broken("a frame has no checksum");
  }
  if (TRY(checksum_of(message, parts)) != *parts.checksum)
    return broken("a frame was changed on its way: wrong checksum");
  return {};
}

Result<Frame> decode_step(const Parts& parts, const grpc::ByteBuffer& message) {
  const v1::Step& step = parts.frame.step();
  StepBatch batch = TRY(decode(step));
  if (step.d_model() < 0) return broken("d_model is ", step.d_model());
  const std::size_t expected = n_elements(step.n_rows(), step.d_model()) * sizeof(bf16);
  if (parts.rows_bytes != expected) {
    return broken("step ", step.step(), ": ", parts.rows_bytes, " bytes of rows, ", step.n_rows(), " rows of ",
                  step.d_model(), " values are ", expected);
  }
  Boundary boundary = TRY(take_rows(message, parts.rows_offset, batch.step, step.n_rows(), step.d_model()));
  return Frame(StageInput{std::move(batch), std::move(boundary)});
}

Code code_of(int number) {
  return number >= 1 && number <= static_cast<int>(Code::kUnauthenticated) ? static_cast<Code>(number) : Code::kUnknown;
}

/// A peer's words, as long as we would send them: they go into logs and from there to people.
std::string words(const std::string& text) { return text.substr(0, kMaxTrailerMessage); }

}  // namespace

grpc::ByteBuffer encode_frame(const Hello& hello) {
  v1::Frame frame;
  encode(hello, *frame.mutable_hello());
  return one_slice(frame);
}

grpc::ByteBuffer encode_frame(const StepBatch& batch, const Boundary& boundary) {
  v1::Frame frame;
  encode(batch, boundary, *frame.mutable_step());
  if (boundary.values.empty()) return one_slice(frame);
  std::string header = sealed(frame, boundary.values);
  std::uint8_t prefix[10];
  std::uint8_t* end = CodedOutputStream::WriteTagToArray(kRowsTag, prefix);
  end = CodedOutputStream::WriteVarint32ToArray(static_cast<std::uint32_t>(boundary.values.size_bytes()), end);
  header.append(reinterpret_cast<const char*>(prefix), to_size(end - prefix));
  const grpc::Slice slices[] = {grpc::Slice(header), share_rows(boundary)};
  return {slices, 2};
}

grpc::ByteBuffer encode_frame(const SampledTokens& tokens) {
  v1::Frame frame;
  encode(tokens, *frame.mutable_result());
  return one_slice(frame);
}

grpc::ByteBuffer encode_frame(const StepError& error) {
  v1::Frame frame;
  frame.mutable_error()->set_step(error.step.value);
  frame.mutable_error()->set_code(static_cast<int>(error.error.code()));
  frame.mutable_error()->set_message(words(error.error.message()));
  return one_slice(frame);
}

grpc::ByteBuffer encode_frame(const Goodbye& goodbye) {
  v1::Frame frame;
  frame.mutable_goodbye()->set_reason(words(goodbye.reason));
  return one_slice(frame);
}

grpc::ByteBuffer encode_frame(const Busy& busy) {
  v1::Frame frame;
  frame.mutable_busy()->set_reason(words(busy.reason));
  return one_slice(frame);
}

Result<Frame> decode_frame(const grpc::ByteBuffer& message, Checksum checksum) {
  Parts parts = TRY(take_apart(message));
  if (checksum == Checksum::kVerify) TRY(check_sum(message, parts));
  if (parts.has_rows && !parts.frame.has_step()) return broken("rows without their step");
  switch (parts.frame.body_case()) {
    case v1::Frame::kHello: return Frame(TRY(decode(parts.frame.hello())));
    case v1::Frame::kStep: return decode_step(parts, message);
    case v1::Frame::kResult: return Frame(TRY(decode(parts.frame.result())));
    case v1::Frame::kError: {
      const v1::StepError& error = parts.frame.error();
      return Frame(StepError{StepId(error.step()), Error(code_of(error.code()), words(error.message()))});
    }
    case v1::Frame::kGoodbye: return Frame(Goodbye{words(parts.frame.goodbye().reason())});
    case v1::Frame::kBusy: return Frame(Busy{words(parts.frame.busy().reason())});
    case v1::Frame::BODY_NOT_SET: break;
  }
  return broken("an empty frame");
}

void encode(const std::vector<StageInfo>& stages, google::protobuf::RepeatedPtrField<v1::StageInfo>& out) {
  for (const StageInfo& stage : stages) encode(stage, *out.Add());
}

Result<std::vector<StageInfo>> decode(const google::protobuf::RepeatedPtrField<v1::StageInfo>& stages) {
  if (stages.size() > kMaxStages) return broken(stages.size(), " stages, a chain has at most ", kMaxStages);
  std::vector<StageInfo> infos;
  for (const v1::StageInfo& stage : stages) infos.push_back(TRY(decode(stage)));
  return infos;
}

grpc::Status to_grpc(const Error& error) {
  return {static_cast<grpc::StatusCode>(error.code()), words(error.message())};
}

Error from_grpc(const grpc::Status& status) {
  return Error(code_of(static_cast<int>(status.error_code())), words(status.error_message()));
}

}  // namespace commissure
