#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/result.h"

/// A card is asked for a few values of all that answers rest on before it computes any, so that a surprise of the
/// hardware is an error and not a wrong answer.
namespace commissure::cuda {

/// What the kernel `self_check` (device/check.cu) reads, and what it must write: [32 lanes][kCheckWords].
std::vector<std::uint32_t> check_words();
std::vector<std::uint32_t> expected_check();

/// Errors: kFailedPrecondition, the first of `got` that is not as expected, in words.
Status judge_check(std::span<const std::uint32_t> got);

}  // namespace commissure::cuda
