#include "kernels/cuda/self_check.h"

#include <array>
#include <bit>
#include <cmath>

#include "core/dtype.h"
#include "core/index.h"
#include "kernels/cuda/device/args.h"

namespace commissure::cuda {

namespace {

constexpr std::size_t kLanes = kWarp, kRowWords = 4, kColumnWords = 2;

/// Operands of one matrix instruction, [16][kDepth] and [8][kDepth], out of the lanes' words: `of` takes element `e` of
/// a word, of which there are kPerWord.
template <std::size_t kPerWord, typename Of>
std::array<float, kLanes * 4> products(std::span<const std::uint32_t> words, Of of) {
  constexpr std::size_t kHalf = 4 * kPerWord, kDepth = 2 * kHalf;
  std::array<std::array<float, kDepth>, 16> rows{};
  std::array<std::array<float, kDepth>, 8> columns{};
  const auto column_words = words.subspan(kLanes * kRowWords);
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    for (std::size_t e = 0; e < kPerWord; ++e) {
      const std::size_t k = lane % 4 * kPerWord + e;
      for (std::size_t i = 0; i < kRowWords; ++i) {
        rows[lane / 4 + i % 2 * 8][k + i / 2 * kHalf] = of(words[lane * kRowWords + i], e);
      }
      for (std::size_t i = 0; i < kColumnWords; ++i) {
        columns[lane / 4][k + i * kHalf] = of(column_words[lane * kColumnWords + i], e);
      }
    }
  }
  std::array<float, kLanes * 4> out{};
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    for (std::size_t i = 0; i < 4; ++i) {
      float& sum = out[lane * 4 + i];
      sum = static_cast<float>(lane);  // whole numbers below 2^24: exact in any order
      for (std::size_t k = 0; k < kDepth; ++k) sum += rows[lane / 4 + i / 2 * 8][k] * columns[lane % 4 * 2 + i % 2][k];
    }
  }
  return out;
}

std::array<float, kLanes> sums_of_16(std::span<const std::uint32_t> words) {
  std::array<float, kLanes> sums{};
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    sums[lane] = static_cast<float>(static_cast<std::int32_t>(words[lane * kRowWords]));
  }
  for (std::size_t step = 8; step > 0; step /= 2) {
    const auto before = sums;
    for (std::size_t lane = 0; lane < kLanes; ++lane) sums[lane] = before[lane] + before[lane ^ step];
  }
  return sums;
}

}  // namespace

std::vector<std::uint32_t> check_words() {
  std::vector<std::uint32_t> words(kLanes * (kRowWords + kColumnWords));
  std::uint32_t word = 1;
  for (std::uint32_t& one : words) {
    word = word * 1664525u + 1013904223u;
    one = word ^ word >> 15;
  }
  return words;
}

std::vector<std::uint32_t> expected_check() {
  const std::vector<std::uint32_t> words = check_words();
  const auto bytes = products<4>(words, [](std::uint32_t word, std::size_t e) {
    return static_cast<float>(static_cast<std::int8_t>(word >> (8 * e)));
  });
  const auto pairs = products<2>(words, [](std::uint32_t word, std::size_t e) {
    return static_cast<float>(static_cast<int>(word >> (4 * e) & 15u) - 8);
  });
  const auto sums = sums_of_16(words);
  std::vector<std::uint32_t> out(kLanes * to_size(kCheckWords));
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    const auto to = std::span(out).subspan(lane * to_size(kCheckWords), to_size(kCheckWords));
    for (std::size_t i = 0; i < 4; ++i) {
      to[i] = static_cast<std::uint32_t>(static_cast<std::int32_t>(bytes[lane * 4 + i]));
      to[4 + i] = std::bit_cast<std::uint32_t>(pairs[lane * 4 + i]);
    }
    const float value = static_cast<float>(static_cast<std::int32_t>(words[lane * kRowWords]));
    const double exact = static_cast<double>(value) * value;  // 48 bits
    const auto square = static_cast<float>(exact);
    to[8] = std::bit_cast<std::uint32_t>(sums[lane]);
    to[9] = std::bit_cast<std::uint32_t>(square - value);
    to[10] = std::bit_cast<std::uint32_t>(static_cast<float>(exact - square));
    to[11] = std::bit_cast<std::uint32_t>(1.0f / value);
    to[12] = std::bit_cast<std::uint32_t>(std::sqrt(square + 1.0f));
    to[13] =
        std::bit_cast<std::uint32_t>(half_to_float(static_cast<std::uint16_t>(words[lane * kRowWords + 1] & 0xbbffu)));
  }
  return out;
}

Status judge_check(std::span<const std::uint32_t> got) {
  static constexpr std::array<const char*, to_size(kCheckWords)> kNames = {
      "int8 matrix products", "int8 matrix products", "int8 matrix products", "int8 matrix products",
      "bf16 matrix products", "bf16 matrix products", "bf16 matrix products", "bf16 matrix products",
      "sums over lanes",      "sums and products",    "fused sums",           "quotients",
      "square roots",         "half floats"};
  const std::vector<std::uint32_t> expected = expected_check();
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (i < got.size() && got[i] == expected[i]) continue;
    return Error(Code::kFailedPrecondition,
                 "it computes otherwise than its kernels expect: ", kNames[i % kNames.size()], ", lane ",
                 i / kNames.size(), ": ", i < got.size() ? fmt::format("{:#010x}", got[i]) : "nothing", " where ",
                 fmt::format("{:#010x}", expected[i]), " was due");
  }
  return {};
}

}  // namespace commissure::cuda
