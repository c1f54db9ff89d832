#include <cmath>
#include <random>

#include "kernels/cuda/emulated/fake_driver.h"
#include "kernels/quant.h"
#include "support/backend_testing.h"

/// Products on the emulated card beside the CPU's best kernels.
namespace commissure {
namespace {

using testing::random_values;

constexpr DType kQuantised[] = {DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1,
                                DType::kQ4_K, DType::kQ5_K, DType::kQ6_K, DType::kNF4,  DType::kMXFP4};

std::unique_ptr<Backend> card() {
  auto made = cuda::emulated::make_emulated_backend();
  EXPECT_TRUE(made.has_value());
  return std::move(made).value();
}

/// Whether the CPU has kernels with the order of decision 1: its fused multiply-add.
bool has_canonical_kernels() { return isas_agree(testing::backend_for("")->info().isa, "avx2"); }

/// Random bytes, with scales (f16, where the format has them) that are numbers of middling size.
MatrixSource random_matrix(DType dtype, int n_rows, int n_cols, unsigned seed) {
  const std::size_t stride = row_bytes(dtype, n_cols), n_bytes = block_size(dtype).n_bytes;
  std::vector<std::byte> bytes(stride * static_cast<std::size_t>(n_rows));
  std::mt19937 random(seed);
  for (std::byte& b : bytes) b = static_cast<std::byte>(random());
  const auto put_half = [&](std::byte* at) {
    const auto half = static_cast<std::uint16_t>(0x1c00 + random() % 0x0800 + (random() % 2) * 0x8000);
    std::memcpy(at, &half, sizeof half);
  };
  for (std::size_t b = 0; b < bytes.size(); b += n_bytes) {
    if (dtype == DType::kMXFP4) {
      bytes[b] = static_cast<std::byte>(random() % 8 + 120);
      continue;
    }
    put_half(&bytes[b + (dtype == DType::kQ6_K ? 208 : 0)]);
    const bool has_two =
        dtype == DType::kQ4_1 || dtype == DType::kQ5_1 || dtype == DType::kQ4_K || dtype == DType::kQ5_K;
    if (has_two) put_half(&bytes[b + 2]);
  }
  return testing::source_of(dtype, n_rows, std::move(bytes), n_cols);
}

MatrixSource float_matrix(DType dtype, int n_rows, int n_cols, unsigned seed) {
  const std::vector<float> values = random_values(static_cast<std::size_t>(n_rows * n_cols), seed);
  if (dtype == DType::kF32) return testing::source_of(dtype, n_rows, values, n_cols);
  std::vector<std::uint16_t> halves;
  for (const float v : values) halves.push_back(dtype == DType::kF16 ? float_to_half(v) : to_bf16(v));
  return testing::source_of(dtype, n_rows, std::move(halves), n_cols);
}

std::vector<float> product(Backend& backend, const MatrixSource& source, const std::vector<float>& x, int n_columns,
                           InputPlanes planes, float scale = 1.0f, bool with_bias = false) {
  const auto weight = backend.load_matrix(source).value();
  const auto n_rows = static_cast<std::size_t>(source.n_rows);
  const auto in = testing::upload(backend, x, n_columns);
  const auto out =
      testing::upload(backend, std::vector<float>(n_rows * static_cast<std::size_t>(n_columns), NAN), n_columns);
  const auto bias = testing::upload(backend, random_values(n_rows, 77), 1);
  const MatmulJob job{weight.get(), out.rows, with_bias ? bias.rows.data : DevicePtr{}, scale};
  backend.matmul(in.rows, {&job, 1}, planes);
  return testing::download(backend, out.rows);
}

struct Shape {
  int n_rows, n_cols;
};

std::vector<Shape> shapes_of(DType dtype) {
  if (block_size(dtype).n_elements == 256) return {{20, 256}, {16, 1280}};
  if (block_size(dtype).n_elements == 64) return {{20, 64}, {16, 320}};
  return {{20, 32}, {16, 160}, {33, 512}};  // one block, a short last group, whole groups
}

TEST(CudaProducts, QuantisedOnesHaveTheBitsOfTheCpu) {
  if (!has_canonical_kernels()) GTEST_SKIP() << "this CPU has no fused multiply-add";
  const auto gpu = card(), cpu = testing::backend_for("");
  for (const DType dtype : kQuantised) {
    for (const Shape& shape : shapes_of(dtype)) {
      const MatrixSource source = random_matrix(dtype, shape.n_rows, shape.n_cols, 3);
      for (const int n : {1, 7, 8, 9, 29, 63, 64, 65}) {
        const auto x = random_values(static_cast<std::size_t>(n * shape.n_cols), 5);
        for (const InputPlanes planes : {InputPlanes::kOne, InputPlanes::kTwo}) {
          ASSERT_TRUE(testing::same_bits(product(*gpu, source, x, n, planes), product(*cpu, source, x, n, planes)))
              << dtype_name(dtype) << " [" << shape.n_rows << ", " << shape.n_cols << "] x " << n << " columns, "
              << (planes == InputPlanes::kOne ? "one plane" : "two planes");
        }
      }
    }
  }
}

TEST(CudaProducts, AddBiasAndScaleAsTheCpuDoes) {
  if (!has_canonical_kernels()) GTEST_SKIP() << "this CPU has no fused multiply-add";
  const auto gpu = card(), cpu = testing::backend_for("");
  for (const DType dtype : {DType::kQ4_K, DType::kF16}) {
    const MatrixSource source =
        dtype == DType::kF16 ? float_matrix(dtype, 20, 40, 1) : random_matrix(dtype, 20, 256, 1);
    const auto x = random_values(static_cast<std::size_t>(3 * source.n_cols), 2);
    EXPECT_TRUE(testing::same_bits(product(*gpu, source, x, 3, InputPlanes::kTwo, 0.37f, true),
                                   product(*cpu, source, x, 3, InputPlanes::kTwo, 0.37f, true)));
  }
}

TEST(CudaProducts, AnInfinityOrNaNMakesItsColumnNaNAndNoOther) {
  const auto gpu = card();
  const MatrixSource source = random_matrix(DType::kQ4_0, 20, 160, 3);
  auto x = random_values(3 * 160, 5);
  x[160 + 33] = INFINITY;
  const std::vector<float> out = product(*gpu, source, x, 3, InputPlanes::kOne);
  for (std::size_t i = 0; i < out.size(); ++i) EXPECT_EQ(std::isnan(out[i]), i / 20 == 1) << i;
}

TEST(CudaProducts, ZeroColumnsAndTinyOnesHaveTheBitsOfTheCpu) {
  if (!has_canonical_kernels()) GTEST_SKIP() << "this CPU has no fused multiply-add";
  const auto gpu = card(), cpu = testing::backend_for("");
  const MatrixSource source = random_matrix(DType::kQ5_1, 20, 64, 3);
  for (const float scale : {0.0f, 1e-36f, 1e-31f, 1e30f}) {
    const auto x = scale > 0.0f ? random_values(2 * 64, 5, scale) : std::vector<float>(2 * 64);
    EXPECT_TRUE(testing::same_bits(product(*gpu, source, x, 2, InputPlanes::kTwo),
                                   product(*cpu, source, x, 2, InputPlanes::kTwo)))
        << scale;
  }
}

TEST(CudaProducts, FloatWeightsInF32HaveTheBitsOfTheCpu) {
  if (!has_canonical_kernels()) GTEST_SKIP() << "this CPU has no fused multiply-add";
  const auto gpu = card(), cpu = testing::backend_for("");
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    for (const Shape& shape : {Shape{20, 31}, Shape{9, 96}}) {
      const MatrixSource source = float_matrix(dtype, shape.n_rows, shape.n_cols, 3);
      for (const int n : {1, 8, 9}) {
        const auto x = random_values(static_cast<std::size_t>(n * shape.n_cols), 5);
        ASSERT_TRUE(testing::same_bits(product(*gpu, source, x, n, InputPlanes::kAll),
                                       product(*cpu, source, x, n, InputPlanes::kAll)))
            << dtype_name(dtype) << " " << shape.n_cols << " x " << n;
      }
    }
  }
}

/// |sum of n products, rounded| is off by at most n epsilon times the sum of magnitudes, whatever the order.
TEST(CudaProducts, Bf16OnesAreAsCloseAsTheirLengthAllows) {
  const auto gpu = card(), reference = testing::backend_for("reference");
  for (const Shape& shape : {Shape{20, 31}, Shape{33, 160}, Shape{16, 512}}) {
    const MatrixSource source = float_matrix(DType::kBF16, shape.n_rows, shape.n_cols, 3);
    for (const int n : {1, 8, 9, 64, 65}) {
      auto x = random_values(static_cast<std::size_t>(n * shape.n_cols), 5);
      for (float& v : x) v = to_float(to_bf16(v));
      const auto got = product(*gpu, source, x, n, InputPlanes::kOne);
      const auto want = product(*reference, source, x, n, InputPlanes::kOne);
      // Magnitudes: two normal values' product is 0.64 on average; six times that bounds their sum.
      const float tolerance =
          static_cast<float>(shape.n_cols) * testing::kEpsilon * 4.0f * static_cast<float>(shape.n_cols);
      ASSERT_LE(testing::max_difference(got, want), tolerance) << shape.n_cols << " x " << n;
    }
  }
}

TEST(CudaProducts, ARowsBitsDoNotDependOnItsNeighbours) {
  const auto gpu = card();
  for (const MatrixSource& source : {random_matrix(DType::kQ4_K, 20, 256, 3), float_matrix(DType::kBF16, 20, 160, 3)}) {
    const int n_cols = static_cast<int>(source.n_cols);
    const auto x = random_values(static_cast<std::size_t>(70 * n_cols), 5);
    const auto all = product(*gpu, source, x, 70, InputPlanes::kOne);
    for (const int n : {1, 2, 8, 20, 64}) {
      const std::vector<float> some(x.end() - n * n_cols, x.end());
      const auto out = product(*gpu, source, some, n, InputPlanes::kOne);
      EXPECT_TRUE(testing::same_bits(out, std::span(all).last(out.size()))) << n;
    }
  }
}

TEST(CudaProducts, TheHeadRefinesTheLogitsThatMatterAsTheCpuDoes) {
  if (!has_canonical_kernels()) GTEST_SKIP() << "this CPU has no fused multiply-add";
  const auto gpu = card(), cpu = testing::backend_for("");
  const MatrixSource source = random_matrix(DType::kQ6_K, 300, 256, 3);
  const auto x = random_values(5 * 256, 5, 0.3f);
  const std::vector<LogitsUse> uses(5, LogitsUse{.target = 17});
  const auto run = [&](Backend& backend, float softcap = 0.0f) {
    const auto weight = backend.load_matrix(source).value();
    const auto in = testing::upload(backend, x, 5), out = testing::upload(backend, std::vector<float>(5 * 300, NAN), 5);
    backend.logits(in.rows, *weight, uses, softcap, out.rows);
    return testing::download(backend, out.rows);
  };
  const auto got = run(*gpu);
  EXPECT_TRUE(testing::same_bits(got, run(*cpu)));
  EXPECT_TRUE(testing::same_bits(run(*gpu, 30.0f), run(*cpu, 30.0f)));
  EXPECT_FALSE(testing::same_bits(got, product(*gpu, source, x, 5, InputPlanes::kOne)));
  EXPECT_FALSE(testing::same_bits(got, product(*gpu, source, x, 5, InputPlanes::kTwo)));
}

}  // namespace
}  // namespace commissure
