#include "serve/card_memory.h"

#include <algorithm>

#include <fmt/format.h>

#include "terminal/progress.h"

namespace commissure {

namespace {

std::uint64_t activation_bytes(const StageEstimate& stage, const CardUse& use) {
  return stage.scratch_bytes + use.product_bytes + kCardOwnBytes;
}

/// Once all is loaded. The log of rows stays in the host's memory, and so does the table of per-layer embeddings.
std::uint64_t lasting_bytes(const StageEstimate& stage, const CardUse& use) {
  return use.weight_bytes + stage.kv_bytes + activation_bytes(stage, use);
}

/// Keys, values and activations are allocated when the weights are loaded.
std::uint64_t card_bytes(const StageEstimate& stage, const CardUse& use) {
  return std::max(lasting_bytes(stage, use), use.load_bytes + kCardOwnBytes);
}

}  // namespace

std::string describe_card_memory(const StageEstimate& stage, const CardUse& use, std::uint64_t free_bytes) {
  const std::uint64_t n_bytes = card_bytes(stage, use);
  const std::string loading = n_bytes > lasting_bytes(stage, use)
                                  ? fmt::format(" ({} while they are packed)", human_bytes(use.load_bytes))
                                  : std::string();
  return fmt::format("{} of {} free on the GPU: weights {}{}, keys and values {}, activations {}", human_bytes(n_bytes),
                     human_bytes(free_bytes), human_bytes(use.weight_bytes), loading, human_bytes(stage.kv_bytes),
                     human_bytes(activation_bytes(stage, use)));
}

Status check_card_memory(const StageEstimate& stage, const CardUse& use, std::uint64_t free_bytes) {
  if (card_bytes(stage, use) <= free_bytes) return {};
  return Error(Code::kResourceExhausted, "the stage does not fit, it needs ",
               describe_card_memory(stage, use, free_bytes),
               "; cut the model into more stages, or choose fewer --kv-tokens, a --quant or --device cpu");
}

}  // namespace commissure
