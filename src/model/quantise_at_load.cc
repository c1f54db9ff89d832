#include "model/quantise_at_load.h"

namespace commissure {
namespace {

/// Whether the wish is about this tensor. What says how fast a state fades is not: it is a few rows, whose errors would
/// add up over all positions.
bool is_meant(const ExpectedTensor& tensor, const DecoderSpec& spec, QuantWish wish) {
  if (!is_matrix(tensor.role)) return false;
  if (tensor.role == TensorRole::kDeltaDecay || tensor.role == TensorRole::kDeltaBeta) return false;
  if (tensor.layer >= 0) return true;
  return wish.head && tensor.name == head_name(spec);  // a tied one is the first stage's embedding, too
}

}  // namespace

Status check_quantisable(const DecoderSpec& spec, const Checkpoint* checkpoint) {
  const std::string model = checkpoint == nullptr ? spec.architecture : checkpoint->location();
  for (const ExpectedTensor& tensor : expected_tensors(spec, {0, spec.n_layers(), false, false})) {
    if (tensor.expert >= 0 || tensor.role == TensorRole::kRouter) {
      return Error(Code::kUnimplemented, model, ": ", tensor.name,
                   " belongs to experts, which --quant (QUANT, quant:) does not know; run the model without it");
    }
    if (is_matrix(tensor.role) && !tensor.whole_shape.empty()) {
      return Error(
          Code::kUnimplemented, model, ": ", tensor.name,
          " holds several matrices, which --quant (QUANT, quant:) does not take apart; run the model without it");
    }
    const TensorInfo* found = checkpoint == nullptr ? nullptr : checkpoint->find(tensor.name);
    if (found == nullptr || !is_quantised(found->dtype)) continue;
    if (checkpoint->is_made(*found) && !checkpoint->quantisation().empty()) continue;  // another part's
    return Error(Code::kInvalidArgument, model, ": is quantised already (", tensor.name, " is ",
                 dtype_name(found->dtype), "); --quant (QUANT, quant:) is for models of BF16, F16 or F32 weights");
  }
  return {};
}

Status check_stage_quants(const DecoderSpec& spec, std::span<const QuantWish> stages) {
  return spec.tied_head ? check_tied_quants(stages) : Status();
}

Status check_tied_quants(std::span<const QuantWish> stages) {
  const auto of_head = [](QuantWish wish) { return wish.head ? wish.type : Quantisation::kNone; };
  if (stages.empty() || of_head(stages.front()) == of_head(stages.back())) return {};
  return Error(Code::kInvalidArgument, "the first stage is ", quant_name(stages.front()), ", the last ",
               quant_name(stages.back()),
               ": this model's head is its embedding, which both hold, so both must be +head of one kind, or neither");
}

Status quantise_at_load(Checkpoint& checkpoint, const DecoderSpec& spec, const ModelPart& part, QuantWish wish) {
  if (!wish) return {};
  TRY(check_quantisable(spec, &checkpoint));
  const std::vector<ExpectedTensor> expected = expected_tensors(spec, part);
  const std::vector<TensorInfo> tensors = TRY(part_tensors(checkpoint, spec, part));
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const TensorInfo& tensor = tensors[i];
    if (!is_meant(expected[i], spec, wish) || is_quantised(tensor.dtype)) continue;
    const DType dtype = quantised_dtype(wish.type, tensor.dtype, tensor.shape.back());
    if (dtype != tensor.dtype) checkpoint.quantise(tensor.name, dtype);
  }
  checkpoint.set_quantisation(quant_name(wish));
  return {};
}

}  // namespace commissure
