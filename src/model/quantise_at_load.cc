#include "model/quantise_at_load.h"

namespace commissure {
namespace {

/// Whether the wish is about this tensor.
bool is_meant(const ExpectedTensor& tensor, const DecoderSpec& spec, const ModelPart& part, QuantWish wish) {
  if (!is_matrix(tensor.role)) return false;
  if (tensor.layer >= 0) return true;
  return wish.head && part.has_head && tensor.name == head_name(spec);
}

/// Errors: kInvalidArgument, a matrix of the layers is quantised in the files; kUnimplemented, one is a part of a
/// tensor, or of experts.
Status refuse_what_cannot(const Checkpoint& checkpoint, const DecoderSpec& spec) {
  for (const ExpectedTensor& tensor : expected_tensors(spec, {0, spec.n_layers(), false, false})) {
    if (tensor.expert >= 0 || tensor.role == TensorRole::kRouter) {
      return Error(Code::kUnimplemented, checkpoint.location(), ": ", tensor.name,
                   " belongs to experts, which --quant (QUANT, quant:) does not know; run the model without it");
    }
    if (is_matrix(tensor.role) && !tensor.whole_shape.empty()) {
      return Error(
          Code::kUnimplemented, checkpoint.location(), ": ", tensor.name,
          " holds several matrices, which --quant (QUANT, quant:) does not take apart; run the model without it");
    }
    const TensorInfo* found = checkpoint.find(tensor.name);
    if (found == nullptr || !is_quantised(found->dtype)) continue;
    if (checkpoint.is_made(*found) && !checkpoint.quantisation().empty()) continue;  // another part's
    return Error(Code::kInvalidArgument, checkpoint.location(), ": is quantised already (", tensor.name, " is ",
                 dtype_name(found->dtype), "); --quant (QUANT, quant:) is for models of BF16, F16 or F32 weights");
  }
  return {};
}

}  // namespace

Status quantise_at_load(Checkpoint& checkpoint, const DecoderSpec& spec, const ModelPart& part, QuantWish wish) {
  if (!wish) return {};
  TRY(refuse_what_cannot(checkpoint, spec));
  const std::vector<ExpectedTensor> expected = expected_tensors(spec, part);
  const std::vector<TensorInfo> tensors = TRY(part_tensors(checkpoint, spec, part));
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const TensorInfo& tensor = tensors[i];
    if (!is_meant(expected[i], spec, part, wish) || is_quantised(tensor.dtype)) continue;
    const DType dtype = quantised_dtype(wish.type, tensor.dtype, tensor.shape.back());
    if (dtype != tensor.dtype) checkpoint.quantise(tensor.name, dtype);
  }
  checkpoint.set_quantisation(quant_name(wish));
  return {};
}

}  // namespace commissure
