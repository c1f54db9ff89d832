#include <cmath>
#include <random>

#include "kernels/cuda/emulated/fake_driver.h"
#include "kernels/quant.h"
#include "support/backend_testing.h"

/// Row operations on the emulated card: the bits of the CPU's vector kernels, but for the rotation table.
namespace commissure {
namespace {

using testing::random_values;

struct Both {
  std::unique_ptr<Backend> gpu = std::move(cuda::emulated::make_emulated_backend()).value();
  std::unique_ptr<Backend> cpu = testing::backend_for("");

  /// Runs f on each and compares what it leaves in the rows that it returns.
  template <typename F>
  bool agree(F f) {
    return testing::same_bits(f(*gpu), f(*cpu));
  }
  bool can_agree() const { return isas_agree(cpu->info().isa, "avx2"); }
};

constexpr int kWidths[] = {1, 15, 16, 63, 64, 65, 160, 577};

TEST(CudaRows, RmsNormHasTheBitsOfTheCpu) {
  Both both;
  if (!both.can_agree()) GTEST_SKIP();
  for (const int n : kWidths) {
    EXPECT_TRUE(both.agree([&](Backend& b) {
      const auto x = testing::upload(b, random_values(static_cast<std::size_t>(3 * n), 1), 3);
      const auto w = testing::upload(b, random_values(static_cast<std::size_t>(n), 2), 1);
      b.rms_norm(x.rows, w.rows.data, 1e-6f, x.rows);
      return testing::download(b, x.rows);
    })) << n;
  }
}

TEST(CudaRows, AddHasTheBitsOfTheCpu) {
  Both both;
  if (!both.can_agree()) GTEST_SKIP();
  for (const int n : kWidths) {
    for (const bool norms : {false, true}) {
      for (const bool rounds : {false, true}) {
        EXPECT_TRUE(both.agree([&](Backend& b) {
          const auto x = testing::upload(b, random_values(static_cast<std::size_t>(3 * n), 1), 3);
          const auto y = testing::upload(b, random_values(static_cast<std::size_t>(3 * n), 2), 3);
          const auto w = testing::upload(b, random_values(static_cast<std::size_t>(n), 3), 1);
          b.add(x.rows, y.rows, norms ? w.rows.data : DevicePtr{}, 1e-6f, rounds);
          return testing::download(b, x.rows);
        })) << n
            << norms << rounds;
      }
    }
  }
}

TEST(CudaRows, GatedHasTheBitsOfTheCpu) {
  Both both;
  if (!both.can_agree()) GTEST_SKIP();
  for (const Activation activation :
       {Activation::kSilu, Activation::kGeluTanh, Activation::kClampedSwiglu, Activation::kSigmoid}) {
    EXPECT_TRUE(both.agree([&](Backend& b) {
      auto values = random_values(3 * 300, 1, 30.0f);
      values[0] = -INFINITY, values[1] = 1e30f, values[2] = -1e30f, values[3] = 0.0f;
      const auto gate = testing::upload(b, values, 3), up = testing::upload(b, random_values(3 * 300, 2), 3);
      b.gated(activation, gate.rows, up.rows, gate.rows);
      auto out = testing::download(b, gate.rows);
      for (float& v : out) v = std::isnan(v) ? 0.5f : v;  // which NaN is nobody's concern
      return out;
    }));
  }
}

TEST(CudaRows, NormRopeHasTheBitsOfTheCpu) {
  Both both;
  if (!both.can_agree()) GTEST_SKIP();
  for (const bool interleaved : {false, true}) {
    for (const auto& [head_dim, n_pairs] : {std::pair(64, 32), std::pair(80, 20), std::pair(256, 128)}) {
      for (const bool norms : {false, true}) {
        RopeSpec rope;
        rope.frequencies.assign(static_cast<std::size_t>(n_pairs), 0.1f);
        rope.interleaved = interleaved;
        EXPECT_TRUE(both.agree([&](Backend& b) {
          const auto x = testing::upload(b, random_values(static_cast<std::size_t>(2 * 3 * head_dim), 1), 2);
          const auto table = testing::upload(b, random_values(static_cast<std::size_t>(2 * 2 * n_pairs), 2), 2);
          const auto w = testing::upload(b, random_values(static_cast<std::size_t>(head_dim), 3), 1);
          b.norm_rope(x.rows, 3, norms ? w.rows.data : DevicePtr{}, 1e-6f, rope, table.rows);
          return testing::download(b, x.rows);
        })) << head_dim
            << interleaved << norms;
      }
    }
  }
}

TEST(CudaRows, RopeTableIsRightWithinAFewUlpOfItsAngle) {
  Both both;
  RopeSpec rope;
  for (int i = 0; i < 32; ++i) rope.frequencies.push_back(std::pow(10000.0f, -static_cast<float>(i) / 32.0f));
  rope.magnitude = 1.25f;
  rope.growth = 0.5f, rope.growth_context = 1001.0f;  // the rows are on both sides of one of its steps
  const StepShape shape = testing::one_sequence(5, 3000);
  const auto run = [&](Backend& b) {
    const auto index = b.make_step_index(shape);
    const auto out = testing::upload(b, std::vector<float>(5 * 64, NAN), 5);
    b.rope_table(rope, *index, out.rows);
    return testing::download(b, out.rows);
  };
  EXPECT_LE(testing::max_difference(run(*both.gpu), run(*both.cpu)), 4 * testing::kEpsilon * 2.25f);
}

TEST(CudaRows, Bf16GoesToTheWireAndBackWithTheBitsOfTheCpu) {
  Both both;
  if (!both.can_agree()) GTEST_SKIP();
  EXPECT_TRUE(both.agree([&](Backend& b) {
    auto values = random_values(3 * 77, 1);
    values[0] = INFINITY, values[1] = -INFINITY, values[2] = 3.4e38f, values[3] = 1e-40f;
    const auto x = testing::upload(b, values, 3), back = testing::upload(b, std::vector<float>(3 * 77, NAN), 3);
    const DeviceBuffer packed = b.allocate(3 * 77 * sizeof(std::uint16_t)).value();
    b.pack_bf16(x.rows, packed.ptr());
    b.unpack_bf16(packed.ptr(), back.rows);
    return testing::download(b, back.rows);
  }));
}

TEST(CudaRows, EmbedHasTheBitsOfTheCpuForEveryType) {
  Both both;
  if (!both.can_agree()) GTEST_SKIP();
  for (const DType dtype :
       {DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K,
        DType::kNF4, DType::kMXFP4, DType::kF32, DType::kF16, DType::kBF16}) {
    const int n_cols = 512;
    std::vector<std::byte> bytes(row_bytes(dtype, n_cols) * 20);
    std::mt19937 random(4);
    // Small exponents in every half: nothing becomes infinite.
    for (std::size_t i = 0; i < bytes.size(); ++i)
      bytes[i] = static_cast<std::byte>(random() & (dtype == DType::kQ8_0 ? 0x3f : 0x3b));
    const MatrixSource source = testing::source_of(dtype, 20, bytes, n_cols);
    StepShape shape = testing::one_sequence(4);
    shape.tokens = {0, 19, 7, 16};
    EXPECT_TRUE(both.agree([&](Backend& b) {
      const auto table = b.load_matrix(source).value();
      const auto index = b.make_step_index(shape);
      const auto out = testing::upload(b, std::vector<float>(4 * n_cols, NAN), 4);
      b.embed(*table, *index, 1.7f, out.rows);
      return testing::download(b, out.rows);
    })) << dtype_name(dtype);
  }
}

TEST(CudaRows, ScatterAddHasTheBitsOfTheCpuAndClearLeavesZeros) {
  Both both;
  if (!both.can_agree()) GTEST_SKIP();
  EXPECT_TRUE(both.agree([&](Backend& b) {
    const auto x = testing::upload(b, random_values(5 * 77, 1), 5), y = testing::upload(b, random_values(2 * 77, 2), 2);
    b.clear(x.rows.slice(1, 2));
    b.scatter_add(x.rows, std::vector<std::int32_t>{4, 1}, std::vector<float>{0.3f, -1.7f}, y.rows);
    return testing::download(b, x.rows);
  }));
}

TEST(CudaRows, ScaleHasTheBitsOfTheCpu) {
  Both both;
  if (!both.can_agree()) GTEST_SKIP();
  EXPECT_TRUE(both.agree([&](Backend& b) {
    const auto x = testing::upload(b, random_values(3 * 77, 1), 3),
               factor = testing::upload(b, std::vector<float>{0.37f}, 1);
    b.scale(x.rows, factor.rows.data);
    return testing::download(b, x.rows);
  }));
}

TEST(CudaRows, GatherTakesTheRowsAskedFor) {
  Both both;
  EXPECT_TRUE(both.agree([&](Backend& b) {
    const auto x = testing::upload(b, random_values(5 * 33, 1), 5),
               out = testing::upload(b, random_values(2 * 33, 2), 2);
    b.gather(x.rows, std::vector<std::int32_t>{4, 1}, out.rows);
    return testing::download(b, out.rows);
  }));
}

}  // namespace
}  // namespace commissure
