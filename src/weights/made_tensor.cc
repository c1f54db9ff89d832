#include "weights/made_tensor.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <vector>

#include "core/index.h"
#include "kernels/quant.h"
#include "kernels/quantise.h"
#include "weights/header_reader.h"
#include "weights/parallel_rows.h"

namespace commissure {
namespace {

/// Memory that is written once, whole.
struct Written {
  explicit Written(std::size_t n_bytes)
      : memory(std::make_shared_for_overwrite<std::byte[]>(n_bytes)), bytes(memory.get(), n_bytes) {}
  ByteRange range() const { return {bytes, memory}; }

  std::shared_ptr<std::byte[]> memory;  // shared: as ByteRange hands it on
  std::span<std::byte> bytes;
};

Result<ByteRange> quantise_tensor(const MadeTensor& made, std::span<const std::byte> stored) {
  const std::vector<std::int64_t>& shape = made.stored.shape;
  const std::int64_t n_rows = shape.size() == 2 ? shape[0] : 1, n_cols = shape.back();
  const std::size_t from_bytes = row_bytes(made.stored.dtype, n_cols), to_bytes = row_bytes(made.dtype, n_cols);
  const Written out(to_size(n_rows) * to_bytes);
  const int n_parts = parts_of(n_rows, n_cols);
  std::vector<float> values_of_parts(to_size(n_parts * n_cols));
  const std::int64_t broken = for_rows(n_rows, n_parts, [&](std::int64_t row, int part) {
    const std::span values = std::span(values_of_parts).subspan(to_size(part * n_cols), to_size(n_cols));
    dequantise(made.stored.dtype, &stored[to_size(row) * from_bytes], values);
    return quantise(made.dtype, values, &out.bytes[to_size(row) * to_bytes]);
  });
  if (broken < 0) return out.range();
  return Error(Code::kDataLoss, "tensor ", printable(made.stored.name), ": row ", broken,
               " has a value that is infinite, NaN or too large to be quantised (is the file damaged?)");
}

// --- bitsandbytes ---

std::vector<float> floats_of(std::span<const std::byte> bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

/// All scales of a matrix, of blocks of any length.
Result<std::vector<float>> read_scales(const BnbState& state, const ReadStored& read) {
  const ByteRange absmax = TRY(read(state.absmax));
  if (!state.nested) return floats_of(absmax.bytes);
  const std::vector<float> map = floats_of(TRY(read(state.nested->map)).bytes);
  const std::vector<float> nested = floats_of(TRY(read(state.nested->absmax)).bytes);
  std::vector<float> scales(absmax.bytes.size());
  for (std::size_t i = 0; i < scales.size(); ++i) {
    scales[i] = map[std::to_integer<std::size_t>(absmax.bytes[i])] * nested[i / to_size(state.nested->block)] +
                state.nested->offset;
  }
  return scales;
}

bool is_nf4(const std::vector<float>& map) {
  return std::ranges::equal(map, kBnbNf4Values, [](float a, float b) { return std::fabs(a - b) < 1e-4f; });
}

/// 64 codes, the even ones in the high nibbles, to our order.
void reorder_codes(const std::byte* from, std::uint8_t* to) {
  const auto code = [&](int i) {
    const auto byte = std::to_integer<unsigned>(from[i / 2]);
    return i % 2 == 0 ? byte >> 4 : byte & 15u;
  };
  for (int half = 0; half < 2; ++half) {
    for (int j = 0; j < 16; ++j) {
      to[16 * half + j] = static_cast<std::uint8_t>(code(32 * half + j) | code(32 * half + j + 16) << 4);
    }
  }
}

Result<ByteRange> convert_bnb(const MadeTensor& made, std::span<const std::byte> codes, const ReadStored& read) {
  constexpr std::int64_t kBlock = 64;
  const BnbState& state = *made.bnb;
  const std::string name = printable(made.stored.name);
  if (!is_nf4(floats_of(TRY(read(state.map)).bytes))) {
    return Error(Code::kDataLoss, "tensor ", name, ": its quant_map holds other values than NF4's");
  }
  const std::vector<float> scales = TRY(read_scales(state, read));
  const auto n_blocks = static_cast<std::int64_t>(codes.size()) * 2 / kBlock;
  const Written out(to_size(n_blocks) * sizeof(BlockNF4));
  const std::int64_t broken = for_rows(n_blocks, parts_of(n_blocks, kBlock), [&](std::int64_t block, int) {
    const float scale = scales[to_size(block * kBlock / state.block)] / kNf4Scale;
    BlockNF4 ours;
    ours.d = float_to_half(scale);
    if (!(scale >= 0.0f) || !std::isfinite(half_to_float(ours.d))) return false;
    reorder_codes(&codes[to_size(block * kBlock / 2)], ours.qs);
    std::memcpy(&out.bytes[to_size(block) * sizeof ours], &ours, sizeof ours);
    return true;
  });
  if (broken < 0) return out.range();
  return Error(Code::kDataLoss, "tensor ", name, ": the scale of values from ", broken * kBlock,
               " on is negative, not finite or too large (the file is corrupt)");
}

// --- gpt-oss's experts ---

/// Where output `i` of n goes.
std::int64_t place_of(const OssLayout& layout, std::int64_t i, std::int64_t n) {
  return layout.has_pairs ? i % 2 * (n / 2) + i / 2 : i;
}

/// Codes 2i and 2i + 1 share byte i; in our blocks codes i and i + 16 do.
void reorder_pairs(const std::byte* from, std::uint8_t* to) {
  for (int i = 0; i < 8; ++i) {
    const auto low = std::to_integer<unsigned>(from[i]), high = std::to_integer<unsigned>(from[i + 8]);
    to[2 * i] = static_cast<std::uint8_t>((low & 15u) | (high & 15u) << 4);
    to[2 * i + 1] = static_cast<std::uint8_t>(low >> 4 | (high & 0xf0u));
  }
}

ByteRange join_blocks(const MadeTensor& made, std::span<const std::byte> codes, std::span<const std::byte> scales) {
  const std::int64_t n_rows = made.stored.shape[0], n_blocks = made.stored.shape[1] / 16;
  const std::size_t stride = to_size(n_blocks) * sizeof(BlockMXFP4);
  const Written out(to_size(n_rows) * stride);
  for_rows(n_rows, parts_of(n_rows, 32 * n_blocks), [&](std::int64_t row, int) {
    std::byte* to = &out.bytes[to_size(place_of(*made.oss, row, n_rows)) * stride];
    for (std::int64_t i = row * n_blocks; i < (row + 1) * n_blocks; ++i, to += sizeof(BlockMXFP4)) {
      BlockMXFP4 block;
      block.e = std::to_integer<std::uint8_t>(scales[to_size(i)]);
      reorder_pairs(&codes[to_size(16 * i)], block.qs);
      std::memcpy(to, &block, sizeof block);
    }
    return true;
  });
  return out.range();
}

/// [inputs, outputs] to [outputs, inputs], some outputs at a time, which share the cache lines that are read.
template <typename Value>
ByteRange transpose(const MadeTensor& made, std::span<const std::byte> stored) {
  constexpr std::int64_t kTile = 32;
  const std::int64_t n_in = made.stored.shape[0], n_out = made.stored.shape[1], n_tiles = (n_out + kTile - 1) / kTile;
  const Written out(stored.size());
  for_rows(n_tiles, parts_of(n_tiles, kTile * n_in), [&](std::int64_t tile, int) {
    const std::int64_t end = std::min(n_out, (tile + 1) * kTile);
    for (std::int64_t in = 0; in < n_in; ++in) {
      for (std::int64_t i = tile * kTile; i < end; ++i) {
        const std::int64_t to = place_of(*made.oss, i, n_out) * n_in + in;
        std::memcpy(&out.bytes[to_size(to) * sizeof(Value)], &stored[to_size(in * n_out + i) * sizeof(Value)],
                    sizeof(Value));
      }
    }
    return true;
  });
  return out.range();
}

/// [n, outputs], each vector's values in our order.
ByteRange sort_vectors(const MadeTensor& made, std::span<const std::byte> stored) {
  const std::int64_t n_out = made.stored.shape.back();
  const std::size_t size = row_bytes(made.dtype, 1);
  const Written out(stored.size());
  for (std::int64_t first = 0; first < made.stored.n_elements(); first += n_out) {
    for (std::int64_t i = 0; i < n_out; ++i) {
      std::memcpy(&out.bytes[to_size(first + place_of(*made.oss, i, n_out)) * size], &stored[to_size(first + i) * size],
                  size);
    }
  }
  return out.range();
}

Result<ByteRange> arrange_oss(const MadeTensor& made, std::span<const std::byte> stored, const ReadStored& read) {
  switch (made.oss->form) {
    case OssLayout::Form::kBlocks: return join_blocks(made, stored, TRY(read(made.oss->scales)).bytes);
    case OssLayout::Form::kVectors: return sort_vectors(made, stored);
    case OssLayout::Form::kTransposed: break;
  }
  return row_bytes(made.dtype, 1) == 2 ? transpose<std::uint16_t>(made, stored) : transpose<float>(made, stored);
}

}  // namespace

Result<ByteRange> make_tensor(const MadeTensor& made, const ReadStored& read) {
  const ByteRange stored = TRY(read(made.stored));
  try {
    if (made.oss) return arrange_oss(made, stored.bytes, read);
    return made.bnb ? convert_bnb(made, stored.bytes, read) : quantise_tensor(made, stored.bytes);
  } catch (const std::bad_alloc&) {
    return Error(Code::kResourceExhausted, "tensor ", printable(made.stored.name), ": no memory to make it of its ",
                 stored.bytes.size(), " bytes");
  }
}

}  // namespace commissure
