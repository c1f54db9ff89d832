#pragma once

#include <cstdint>

#include "core/result.h"
#include "plan/split_plan.h"
#include "stage/card_use.h"

namespace commissure {

/// What a stage takes of a card beside what is counted: a step's integers, tables of rotations, and what the driver
/// rounds up.
inline constexpr std::uint64_t kCardOwnBytes = std::uint64_t{256} << 20;

/// What a stage will take of a card's memory, in one line for people; `free_bytes` is what the card has.
std::string describe_card_memory(const StageEstimate& stage, const CardUse& use, std::uint64_t free_bytes);

/// Errors: kResourceExhausted, the stage does not fit; nothing was loaded yet.
Status check_card_memory(const StageEstimate& stage, const CardUse& use, std::uint64_t free_bytes);

}  // namespace commissure
