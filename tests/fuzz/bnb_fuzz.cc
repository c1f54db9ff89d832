// The state of a matrix that bitsandbytes has quantised: its description as text, and behind a NUL bytes that choose
// which of its tensors are there and of which type, length and content.

#include <cstring>
#include <map>

#include "core/index.h"
#include "fuzz/fuzz.h"
#include "kernels/quant.h"
#include "weights/made_tensor.h"

namespace {

using namespace commissure;

constexpr DType kTypes[] = {DType::kF32, DType::kU8, DType::kF32, DType::kBF16};

/// Tensors as the choices say: mostly those that the format asks for.
std::map<std::string, TensorInfo> choose_tensors(fuzz::Choices& choices) {
  std::map<std::string, TensorInfo> tensors;
  for (const std::string& name : bnb_state_names("w")) {
    if (choices.once_in(16)) continue;
    TensorInfo tensor;
    tensor.name = name;
    tensor.dtype = kTypes[choices.below(4)];
    const std::int64_t likely[] = {16, 256, 1, 2, 4, 8};
    tensor.shape = {choices.once_in(8) ? choices.byte() : likely[choices.below(6)]};
    tensor.n_bytes = row_bytes(tensor.dtype, tensor.shape[0]);
    tensors.emplace(name, std::move(tensor));
  }
  return tensors;
}

}  // namespace

/// A state that is accepted promises that scales and codes of any content are taken or refused.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto [json, rest] = fuzz::two_texts(fuzz::as_text(data, size));
  fuzz::Choices choices(reinterpret_cast<const std::uint8_t*>(rest.data()), rest.size());
  const TensorInfo codes{
      .name = "w", .dtype = DType::kU8, .shape = {choices.once_in(4) ? choices.byte() : 128, 1}, .n_bytes = 0};
  const std::map<std::string, TensorInfo> tensors = choose_tensors(choices);
  auto state = read_bnb_state(codes, json, [&](const std::string& name) {
    const auto found = tensors.find(name);
    return found == tensors.end() ? nullptr : &found->second;
  });
  if (!fuzz::is_accepted(state)) return 0;
  const std::vector<std::int64_t> shape = state->shape;
  CHECK(shape.size() == 2 && shape[0] * shape[1] == 2 * codes.n_elements());
  TensorInfo stored = codes;
  stored.n_bytes = to_size(codes.n_elements());
  const auto made = make_tensor({.stored = stored, .dtype = DType::kNF4, .bnb = *std::move(state)},
                                [&](const TensorInfo& tensor) -> Result<ByteRange> {
                                  const auto bytes = std::make_shared<std::vector<std::byte>>(tensor.n_bytes);
                                  for (std::byte& byte : *bytes) byte = static_cast<std::byte>(choices.byte());
                                  if (tensor.name == "w.quant_map" && choices.below(2) == 0) {
                                    std::memcpy(bytes->data(), kBnbNf4Values, sizeof kBnbNf4Values);
                                  }
                                  return ByteRange{*bytes, bytes};
                                });
  if (!fuzz::is_accepted(made)) return 0;
  CHECK(made->bytes.size() == to_size(shape[0]) * row_bytes(DType::kNF4, shape[1]));
  std::vector<float> values(to_size(shape[0] * shape[1]));
  dequantise(DType::kNF4, made->bytes.data(), values);
  for (const float value : values) CHECK(value - value == 0.0f);
  return 0;
}
