#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/status.h>

#include <vector>

#include "wire/frame.h"
#include "wire/stage.pb.h"

namespace commissure {

/// Writes one gRPC message. A step's rows become a slice that shares the boundary's buffer; they are not copied.
grpc::ByteBuffer encode_frame(const Hello& hello);
grpc::ByteBuffer encode_frame(const StepBatch& batch, const Boundary& boundary);
grpc::ByteBuffer encode_frame(const SampledTokens& tokens);
grpc::ByteBuffer encode_frame(const StepError& error);
grpc::ByteBuffer encode_frame(const Goodbye& goodbye);
grpc::ByteBuffer encode_frame(const Busy& busy);

/// Whether a frame's checksum is looked at; a fuzzer, whose every change would break it, does not.
enum class Checksum { kVerify, kIgnore };

/// Reads one message of a peer, checking its checksum, sizes, counts and signs; whether a batch makes sense is
/// validate()'s job. Rows that arrived in one aligned piece are used where they lie, else they are copied once. Errors:
/// kDataLoss, what arrived is no frame.
Result<Frame> decode_frame(const grpc::ByteBuffer& message, Checksum checksum = Checksum::kVerify);

void encode(const std::vector<StageInfo>& stages, google::protobuf::RepeatedPtrField<v1::StageInfo>& out);
/// Errors: kDataLoss, more stages than a chain can have or a plan out of range.
Result<std::vector<StageInfo>> decode(const google::protobuf::RepeatedPtrField<v1::StageInfo>& stages);

/// The error as a gRPC status, its message cut to what fits into HTTP/2 trailers.
grpc::Status to_grpc(const Error& error);
/// Codes outside the canonical table become kUnknown. `status` must not be ok.
Error from_grpc(const grpc::Status& status);

}  // namespace commissure
