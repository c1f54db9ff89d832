#pragma once

#include "wire/frame.h"
#include "wire/stage.pb.h"

namespace commissure {

/// Step values to and from their messages; frames are put together in codec.h.
/// All decode functions: kDataLoss, naming the field, when a count, sign or range is wrong.
void encode(const Hello& hello, v1::Hello& out);
void encode(const StepBatch& batch, const Boundary& boundary, v1::Step& out);
void encode(const SampledTokens& tokens, v1::Result& out);
void encode(const StageInfo& info, v1::StageInfo& out);

void encode(const AdapterSource& source, v1::AdapterSource& out);

Result<Hello> decode(const v1::Hello& message);
Result<StepBatch> decode(const v1::Step& message);
Result<SampledTokens> decode(const v1::Result& message);
Result<StageInfo> decode(const v1::StageInfo& message);
Result<AdapterSource> decode(const v1::AdapterSource& message);

}  // namespace commissure
