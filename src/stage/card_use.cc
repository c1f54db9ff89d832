#include "stage/card_use.h"

#include <algorithm>

#include "core/index.h"
#include "kernels/card_bytes.h"
#include "stage/stage_memory.h"

namespace commissure {

namespace {

/// A tensor on the card, as load_weights() hands it to the backend.
CardMatrix on_card(const ExpectedTensor& expected, DType dtype) {
  std::int64_t n_rows = 1;
  for (std::size_t i = 0; i + 1 < expected.shape.size(); ++i) n_rows *= expected.shape[i];
  if (is_matrix(expected.role)) return card_matrix(dtype, n_rows, expected.shape.back());
  const std::size_t n_bytes = n_elements(n_rows, expected.shape.back()) * sizeof(float);
  // What the host computes with passes through.
  return expected.role == TensorRole::kExpertScale ? CardMatrix{0, n_bytes} : CardMatrix{n_bytes, 0};
}

/// Rows of the matrix's input in the form it multiplies, at most; 0: they are read as they are.
std::size_t input_bytes(const DecoderSpec& spec, const ExpectedTensor& expected, DType dtype, int n_rows) {
  if (!is_matrix(expected.role)) return 0;
  const int n_cols = static_cast<int>(expected.shape.back());
  if (is_quantised(dtype)) return card_input(n_rows, n_cols, false, 2).n_bytes();
  const bool is_rounded = dtype == DType::kBF16 && spec.precision != Precision::kExact && expected.layer >= 0;
  return is_rounded ? card_input(n_rows, n_cols, true, 1).n_bytes() : 0;
}

}  // namespace

Result<CardUse> card_use(const Checkpoint& checkpoint, const DecoderSpec& spec, const StagePlan& plan, int max_rows) {
  const std::vector<TensorInfo> tensors = TRY(stage_tensors(checkpoint, spec, plan));
  const std::vector<ExpectedTensor> expected = expected_tensors(spec, model_part(plan));
  CardUse use;
  std::size_t widest_input = 0, second_logits = 0;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const DType dtype = tensors[i].dtype;
    const CardMatrix memory = on_card(expected[i], dtype);
    use.weight_bytes += memory.n_bytes;
    use.load_bytes = std::max<std::uint64_t>(use.load_bytes, use.weight_bytes + memory.stored_bytes);
    const bool is_head = plan.is_last() && expected[i].name == head_name(spec);
    const int n_rows = is_head ? head_rows(spec, max_rows) : max_rows;
    if (is_head && is_quantised(dtype)) second_logits = n_elements(n_rows, spec.n_vocab) * sizeof(float);
    widest_input = std::max(widest_input, input_bytes(spec, expected[i], dtype, n_rows));
  }
  use.product_bytes = card_scratch(widest_input) + card_scratch(second_logits) + kMaxPartialBytes;
  return use;
}

}  // namespace commissure
