#include "serve/card_memory.h"

#include <fmt/format.h>

#include "terminal/progress.h"

namespace commissure {

namespace {

/// The log of rows stays in the host's memory.
std::uint64_t card_bytes(const StageEstimate& stage) {
  return stage.weight_bytes + stage.kv_bytes + stage.scratch_bytes + kCardOwnBytes;
}

}  // namespace

std::string describe_card_memory(const StageEstimate& stage, std::uint64_t free_bytes) {
  return fmt::format("{} of {} free on the GPU: weights {}, keys and values {}, activations {}",
                     human_bytes(card_bytes(stage)), human_bytes(free_bytes), human_bytes(stage.weight_bytes),
                     human_bytes(stage.kv_bytes), human_bytes(stage.scratch_bytes + kCardOwnBytes));
}

Status check_card_memory(const StageEstimate& stage, std::uint64_t free_bytes) {
  if (card_bytes(stage) <= free_bytes) return {};
  return Error(Code::kResourceExhausted, "the stage does not fit, it needs ", describe_card_memory(stage, free_bytes),
               "; cut the model into more stages, or choose fewer --kv-tokens, a --quant or --device cpu");
}

}  // namespace commissure
