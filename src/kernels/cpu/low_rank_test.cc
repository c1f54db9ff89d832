#include "kernels/low_rank.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/matmul/low_rank.h"
#include "support/backend_testing.h"

namespace commissure {
namespace {

using testing::backend_for;
using testing::download;
using testing::random_values;
using testing::source_of;
using testing::upload;

struct Shape {
  int rank, n_inputs, n_outputs;
};

/// Ranks, inputs and outputs of one, odd, and on both sides of what kernels take at once.
std::vector<Shape> shapes() {
  return {{1, 1, 1},     {3, 17, 15},  {4, 64, 16},    {8, 96, 33},
          {16, 100, 64}, {33, 48, 80}, {64, 257, 129}, {256, 32, 300}};
}

MatrixSource matrix(DType dtype, int n_rows, int n_cols, unsigned seed) {
  const auto values = random_values(to_size(n_rows * n_cols), seed, 1.0f / std::sqrt(static_cast<float>(n_cols)));
  if (dtype == DType::kF32) return source_of(dtype, n_rows, values, n_cols);
  std::vector<bf16> rounded(values.size());
  std::ranges::transform(values, rounded.begin(), to_bf16);
  return source_of(dtype, n_rows, rounded, n_cols);
}

/// An adapter of one product, and the product as a base model left it.
class Adapted {
 public:
  Adapted(Backend& backend, const Shape& shape, DType dtype, bool is_dora, unsigned seed = 1)
      : backend_(backend),
        shape_(shape),
        gain_(random_values(is_dora ? to_size(shape.n_outputs) : 0, seed)),
        bias_(upload(backend, random_values(to_size(shape.n_outputs), seed + 1), 1)),
        is_dora_(is_dora) {
    const LowRankSource source = {.down = matrix(dtype, shape.rank, shape.n_inputs, seed + 2),
                                  .up = matrix(dtype, shape.n_outputs, shape.rank, seed + 3),
                                  .scale = 2.0f,
                                  .gain = gain_};
    auto loaded = backend.load_low_rank(source);
    EXPECT_TRUE(loaded.has_value()) << loaded.error().message();
    weight_ = std::move(*loaded);
  }

  const LowRank& weight() const { return *weight_; }
  LowRankJob job(Rows out, int first_row, int n_rows, float scale = 0.5f) const {
    MatmulJob product = {nullptr, out};
    if (is_dora_) product.bias = bias_.rows.data;
    product.scale = 0.75f;
    return {weight_.get(), product, first_row, n_rows, scale};
  }

  /// Rows [first, last) of the same random inputs, in one job.
  std::vector<float> run(int first, int last, float scale = 0.5f) const {
    const auto all_x = random_values(to_size(kRows * shape_.n_inputs), 7);
    const auto all_y = random_values(to_size(kRows * shape_.n_outputs), 8);
    const auto part = [&](const std::vector<float>& all, int width) {
      return upload(backend_, std::span(all).subspan(to_size(first * width), to_size((last - first) * width)),
                    last - first);
    };
    const auto x = part(all_x, shape_.n_inputs), out = part(all_y, shape_.n_outputs);
    backend_.add_low_rank(x.rows, std::array{job(out.rows, 0, last - first, scale)});
    return download(backend_, out.rows);
  }

  static constexpr int kRows = 37;

 private:
  Backend& backend_;
  const Shape shape_;
  const std::vector<float> gain_;
  const testing::DeviceRows bias_;
  const bool is_dora_;
  std::unique_ptr<LowRank> weight_;
};

/// Sums of n products of numbers near 1 / sqrt(n) and 1, twice one behind the other, times at most some 4.
float tolerance(const Shape& shape) {
  return 64.0f * testing::kEpsilon * (std::sqrt(static_cast<float>(shape.n_inputs)) + static_cast<float>(shape.rank));
}

TEST(LowRank, EveryIsaAgreesWithTheReference) {
  const auto reference = backend_for("reference");
  for (const std::string& isa : testing::fast_isas()) {
    const auto backend = backend_for(isa);
    ASSERT_EQ(backend->info().isa, isa);
    for (const Shape& shape : shapes()) {
      for (const DType dtype : {DType::kF32, DType::kBF16}) {
        for (const bool is_dora : {false, true}) {
          const auto expected = Adapted(*reference, shape, dtype, is_dora).run(0, Adapted::kRows);
          const auto found = Adapted(*backend, shape, dtype, is_dora).run(0, Adapted::kRows);
          EXPECT_LE(testing::max_difference(found, expected), tolerance(shape))
              << isa << ", rank " << shape.rank << ", " << dtype_name(dtype) << (is_dora ? ", gain" : "");
          const auto other = Adapted(*backend, shape, dtype, is_dora, /*seed=*/2).run(0, Adapted::kRows);
          EXPECT_GT(testing::max_difference(other, expected), tolerance(shape)) << "another adapter";
        }
      }
    }
  }
}

TEST(LowRank, TheReferenceComputesTheFormula) {
  const auto backend = backend_for("reference");
  const auto x = upload(*backend, std::vector<float>{1.0f, 2.0f}, 1);
  const auto out = upload(*backend, std::vector<float>{5.0f, 7.0f, 9.0f}, 1);
  const auto bias = upload(*backend, std::vector<float>{1.0f, 1.0f, 1.0f}, 1);
  const std::vector<float> gain = {1.0f, 2.0f, 3.0f};
  const auto weight = backend->load_low_rank({.down = source_of(DType::kF32, 1, std::vector<float>{3.0f, 4.0f}, 2),
                                              .up = source_of(DType::kF32, 3, std::vector<float>{1.0f, 2.0f, -1.0f}, 1),
                                              .scale = 0.5f,
                                              .gain = gain});
  ASSERT_TRUE(weight.has_value());
  const MatmulJob product = {nullptr, out.rows, bias.rows.data, 2.0f};
  backend->add_low_rank(x.rows, std::array{LowRankJob{weight->get(), product, 0, 1, 0.25f}});
  // down x = 11; without bias the base gave (out - 2) / 2: 1.5, 2.5, 3.5.
  // adapted = (gain (y + 0.5 up 11) + 1) 2 = 16, 56, -10; a quarter of the way from 5, 7, 9.
  EXPECT_EQ(download(*backend, out.rows), (std::vector<float>{7.75f, 19.25f, 4.25f}));
}

TEST(LowRank, ARowsBitsDependOnItAlone) {
  for (const std::string& isa : available_isas()) {
    for (const Shape& shape : {Shape{4, 64, 16}, Shape{33, 48, 80}, Shape{64, 257, 1290}}) {
      const auto one = backend_for(isa, 1), three = backend_for(isa, 3);
      const Adapted adapted(*one, shape, DType::kBF16, true), threaded(*three, shape, DType::kBF16, true);
      const auto all = adapted.run(0, Adapted::kRows);
      EXPECT_EQ(threaded.run(0, Adapted::kRows), all) << isa << ": threads";
      for (const auto& [first, last] : {std::pair{0, 1}, {5, 6}, {3, 9}, {17, 37}}) {
        const auto from = all.begin() + first * shape.n_outputs, to = all.begin() + last * shape.n_outputs;
        EXPECT_EQ(threaded.run(first, last), std::vector<float>(from, to)) << isa << ": rows " << first << "-" << last;
      }
    }
  }
}

TEST(LowRank, RowsOfSeveralAdaptersInOneCall) {
  const Shape shape = {8, 96, 330}, other = {3, 96, 330};
  for (const std::string& isa : available_isas()) {
    const auto backend = backend_for(isa, 3);
    const Adapted a(*backend, shape, DType::kF32, false), b(*backend, other, DType::kBF16, true, 5);
    const auto x = upload(*backend, random_values(to_size(Adapted::kRows * 96), 7), Adapted::kRows);
    const auto base = random_values(to_size(Adapted::kRows * 330), 8);
    const auto out = upload(*backend, base, Adapted::kRows), second = upload(*backend, base, Adapted::kRows);
    backend->add_low_rank(x.rows, std::array{a.job(out.rows, 2, 3), b.job(out.rows, 10, 20), a.job(out.rows, 5, 1),
                                             b.job(second.rows, 10, 1)});
    std::vector<float> expected = base;
    const auto put = [&](const Adapted& adapter, int first, int last) {
      std::ranges::copy(adapter.run(first, last), expected.begin() + first * 330);
    };
    put(a, 2, 6);
    put(b, 10, 30);
    EXPECT_EQ(download(*backend, out.rows), expected) << isa;
    expected = base;
    put(b, 10, 11);
    EXPECT_EQ(download(*backend, second.rows), expected) << isa << ": another product of the same rows";
  }
}

TEST(LowRank, NothingIsAddedAtScaleZero) {
  const auto backend = backend_for("reference");
  const Adapted adapted(*backend, {4, 64, 16}, DType::kF32, true);
  EXPECT_EQ(adapted.run(0, Adapted::kRows, 0.0f), random_values(to_size(Adapted::kRows * 16), 8));
}

TEST(LowRank, WhatDoesNotFitIsRefused) {
  const auto backend = backend_for("reference");
  const auto code = [&](const MatrixSource& down, const MatrixSource& up, std::size_t n_gain = 0) {
    const std::vector<float> gain(n_gain);
    const auto loaded = backend->load_low_rank({.down = down, .up = up, .gain = gain});
    return loaded ? Code::kOk : loaded.error().code();
  };
  const MatrixSource down = matrix(DType::kF32, 4, 8, 1), up = matrix(DType::kBF16, 6, 4, 1);
  EXPECT_EQ(code(down, up), Code::kOk);
  EXPECT_EQ(code(down, up, 6), Code::kOk);
  EXPECT_EQ(code(down, up, 5), Code::kInvalidArgument);
  EXPECT_EQ(code(down, matrix(DType::kF32, 6, 5, 1)), Code::kInvalidArgument);
  EXPECT_EQ(code(matrix(DType::kF32, 257, 8, 1), matrix(DType::kF32, 6, 257, 1)), Code::kInvalidArgument);
  MatrixSource cut = down;
  cut.data.bytes = cut.data.bytes.first(cut.data.bytes.size() - 1);
  EXPECT_EQ(code(cut, up), Code::kInvalidArgument);
  MatrixSource half = down;
  half.dtype = DType::kF16;
  EXPECT_EQ(code(half, up), Code::kUnimplemented);
}

}  // namespace
}  // namespace commissure
