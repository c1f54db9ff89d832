#pragma once

#include <string_view>
#include <vector>

#include "core/index.h"
#include "core/result.h"
#include "step/sampling_params.h"
#include "wire/stage.pb.h"

namespace commissure {

/// Sampling parameters to and from their message. `before`: those that came last in the same step, null for the first;
/// token lists that are the same as there do not travel again.
/// Errors of decode: kDataLoss, naming the list, when a count or a sign is wrong. Ranges are for validate().
void encode(const SamplingParams& params, const SamplingParams* before, v1::SamplingParams& out);
Result<SamplingParams> decode(const v1::SamplingParams& message, const SamplingParams* before);

/// The error for a frame that contradicts itself.
template <typename... What>
Error broken(const What&... what) {
  return Error(Code::kDataLoss, what...);
}

/// Writes ids as plain integers, and reads them back; an id below `lowest` is refused.
template <typename IdType, typename Field>
void put_ids(const std::vector<IdType>& ids, Field& field) {
  field.Reserve(count_of(ids));
  for (const IdType id : ids) field.AddAlreadyReserved(id.value);
}

template <typename IdType, typename Field>
Status take_ids(const Field& field, std::string_view name, int lowest, std::vector<IdType>& ids) {
  ids.reserve(field.size());
  for (const auto value : field) {
    if (value < lowest) return broken(name, " ", value, " is negative");
    ids.emplace_back(value);
  }
  return {};
}

}  // namespace commissure
