// gpt-oss's experts: bytes choose which tensors a checkpoint has, of which type, shape and content.

#include <map>
#include <vector>

#include "core/index.h"
#include "fuzz/fuzz.h"
#include "weights/header_reader.h"
#include "weights/made_tensor.h"
#include "weights/oss_experts.h"

namespace {

using namespace commissure;

constexpr DType kTypes[] = {DType::kF32, DType::kBF16, DType::kF16, DType::kI32, DType::kQ8_0, DType::kNF4};
constexpr std::int64_t kMostElements = 1 << 14;

/// As a header's reader promises it: bytes that fit its shape. Mostly of the shape that the format asks for.
TensorInfo choose_tensor(fuzz::Choices& choices, std::string name, DType dtype, std::vector<std::int64_t> shape) {
  for (std::int64_t& size : shape) {
    if (choices.once_in(16)) size = static_cast<std::int64_t>(choices.below(6));
  }
  if (choices.once_in(16)) shape.push_back(2);
  if (choices.once_in(16)) shape.pop_back();
  if (choices.once_in(16)) name += std::string(choices.byte(), 'x');
  shape.back() *= block_size(dtype).n_elements;
  TensorInfo tensor;
  tensor.name = std::move(name);
  tensor.dtype = dtype;
  tensor.offset = choices.byte();
  tensor.n_bytes = to_size(*count_elements(shape)) / to_size(block_size(dtype).n_elements) * block_size(dtype).n_bytes;
  tensor.shape = std::move(shape);
  return tensor;
}

struct Stored {
  std::map<std::string, TensorInfo> bytes;
  std::vector<TensorInfo> floats;
};

Stored choose_tensors(fuzz::Choices& choices) {
  Stored stored;
  const auto add_bytes = [&](TensorInfo tensor) { stored.bytes.emplace(tensor.name, std::move(tensor)); };
  for (std::size_t layer = 0; layer < 3 && !choices.done(); ++layer) {
    for (const char* kind : {"gate_up_proj", "down_proj"}) {
      const std::string name = fmt::format("model.layers.{}.mlp.experts.{}", layer, kind);
      const auto size = [&] { return static_cast<std::int64_t>(choices.below(4)) + 1; };
      const std::int64_t n_experts = size(), n_out = 2 * size(), n_in = size();
      if (choices.below(2) == 0) {
        add_bytes(choose_tensor(choices, name + "_blocks", DType::kU8, {n_experts, n_out, n_in, 16}));
        add_bytes(choose_tensor(choices, name + "_scales", DType::kU8, {n_experts, n_out, n_in}));
      } else {
        stored.floats.push_back(choose_tensor(choices, name, kTypes[choices.below(6)], {n_experts, n_in, n_out}));
      }
      stored.floats.push_back(choose_tensor(choices, name + "_bias", kTypes[choices.below(6)], {n_experts, n_out}));
    }
  }
  return stored;
}

/// Whether the bytes lie in one of the tensors that are stored.
bool is_inside(const Stored& stored, const TensorInfo& part) {
  const auto holds = [&](const TensorInfo& whole) {
    return part.offset >= whole.offset && part.offset + part.n_bytes <= whole.offset + whole.n_bytes;
  };
  for (const auto& [name, tensor] : stored.bytes) {
    if (holds(tensor)) return true;
  }
  for (const TensorInfo& tensor : stored.floats) {
    if (holds(tensor)) return true;
  }
  return false;
}

}  // namespace

/// Experts that are found promise that what they are made of is there, and that any content of it is arranged.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Choices choices(data, size);
  const Stored stored = choose_tensors(choices);
  const auto found = find_oss_experts(stored.bytes, stored.floats);
  if (!fuzz::is_accepted(found)) return 0;
  for (const OssTensor& expert : found->made) {
    CHECK(is_inside(stored, expert.stored));
    const auto n_elements = count_elements(expert.tensor.shape);
    CHECK(n_elements && *n_elements > 0 && *n_elements <= kMostElements);
    if (!expert.layout) continue;
    const auto made = make_tensor({.stored = expert.stored, .dtype = expert.tensor.dtype, .oss = expert.layout},
                                  [&](const TensorInfo& part) -> Result<ByteRange> {
                                    CHECK(is_inside(stored, part));
                                    const auto bytes = std::make_shared<std::vector<std::byte>>(part.n_bytes);
                                    for (std::byte& byte : *bytes) byte = static_cast<std::byte>(choices.byte());
                                    return ByteRange{*bytes, bytes};
                                  });
    CHECK(made.has_value() && made->bytes.size() == expert.tensor.n_bytes);
  }
  return 0;
}
