#include "kernels/cpu/cpu_backend.h"

#include <cmath>
#include <utility>
#include <vector>

#include "core/dtype.h"
#include "kernels/cpu/isa/cpu_features.h"
#include "support/backend_testing.h"

namespace commissure {
namespace {

using testing::backend_for;
using testing::random_values;
using testing::source_of;

TEST(CpuBackend, RunsTheIsaItWasAskedFor) {
  EXPECT_EQ(available_isas().front(), "reference");
  for (const std::string& isa : available_isas()) {
    const BackendInfo info = backend_for(isa, 2)->info();
    EXPECT_EQ(info.device, "cpu");
    EXPECT_EQ(info.isa, isa);
    EXPECT_EQ(info.n_threads, 2);
  }
  EXPECT_EQ(backend_for("")->info().isa, cpu::isa_name(cpu::best_isa()));
}

TEST(CpuBackend, TellsWhichIsasGiveTheSameBits) {
  for (const char* a : {"avx2", "avx512", "amx"}) {
    for (const char* b : {"avx2", "avx512", "amx"}) EXPECT_TRUE(isas_agree(a, b));
    EXPECT_FALSE(isas_agree(a, "generic"));
    EXPECT_FALSE(isas_agree("reference", a));
  }
  EXPECT_TRUE(isas_agree("generic", "generic"));
  EXPECT_FALSE(isas_agree("generic", "reference"));
}

TEST(CpuBackend, RefusesAnUnknownIsaAndNamesThePossibleOnes) {
  const auto backend = make_cpu_backend({.n_threads = 1, .isa = "avx1024"});
  ASSERT_FALSE(backend.has_value());
  EXPECT_EQ(backend.error().code(), Code::kInvalidArgument);
  EXPECT_NE(backend.error().message().find("reference, generic"), std::string::npos) << backend.error().message();
  EXPECT_FALSE(make_cpu_backend({.n_threads = -1, .isa = ""}).has_value());
}

TEST(CpuBackend, BuffersAreZeroAndAligned) {
  const auto backend = backend_for("");
  const DeviceBuffer buffer = backend->allocate(1001).value();
  EXPECT_EQ(buffer.ptr().value % 64, 0u);
  const std::span<const std::byte> bytes = backend->fetch(buffer.ptr(), 1001).value();
  for (const std::byte b : bytes) ASSERT_EQ(b, std::byte{0});
  EXPECT_FALSE(backend->allocate(0).value().ptr());
}

TEST(CpuBackendDeathTest, RunningOverABufferDies) {
  const auto backend = backend_for("reference");
  for (const std::size_t n_bytes : {64, 4096, 5000, 8192}) {
    const DeviceBuffer buffer = backend->allocate(n_bytes).value();
    auto* bytes = reinterpret_cast<volatile char*>(buffer.ptr().value);
    bytes[n_bytes - 1] = 1;
    EXPECT_DEATH(bytes[(n_bytes + 63) / 64 * 64] = 1, "") << n_bytes;
  }
}

TEST(GuardedNewDeathTest, RunningOverAllocatedMemoryDies) {
#if !defined(COMMISSURE_GUARDED_NEW)
  GTEST_SKIP() << "the sanitizer's own allocator judges here";
#endif
  for (const std::size_t n : {16, 100, 4096, 5000}) {
    std::vector<float> values(n, 1.0f);
    volatile float* end = values.data() + (n + 3) / 4 * 4;  // operator new's alignment is 16
    EXPECT_EQ(*(end - 4), 1.0f);
    EXPECT_DEATH(*end = 1.0f, "") << n;
  }
}

TEST(CpuBackend, AnImpossibleBufferIsAnErrorNotACrash) {
  const auto buffer = backend_for("")->allocate(std::size_t{1} << 60);
  ASSERT_FALSE(buffer.has_value());
  EXPECT_EQ(buffer.error().code(), Code::kResourceExhausted);
}

TEST(CpuBackend, RefusesBytesThatDoNotMatchTheShape) {
  const auto backend = backend_for("");
  const auto code = [&](const MatrixSource& source) {
    const auto matrix = backend->load_matrix(source);
    return matrix.has_value() ? Code::kOk : matrix.error().code();
  };
  const std::vector<float> values(12);
  EXPECT_EQ(code(source_of(DType::kF32, 3, values, 4)), Code::kOk);
  EXPECT_EQ(code(source_of(DType::kF32, 4, values, 4)), Code::kInvalidArgument);
  EXPECT_EQ(code(source_of(DType::kF32, 0, values, 4)), Code::kInvalidArgument);
  EXPECT_EQ(code(source_of(DType::kF32, -3, values, -4)), Code::kInvalidArgument);
  EXPECT_EQ(code(source_of(DType::kF32, std::int64_t{1} << 62, values, 4)), Code::kInvalidArgument);
  EXPECT_EQ(code(source_of(DType::kQ8_0, 1, values, 48)), Code::kInvalidArgument);
  EXPECT_EQ(code(source_of(DType::kI32, 3, values, 4)), Code::kUnimplemented);
}

TEST(CpuBackend, MatricesAliasTheSourceAndKeepItAlive) {
  const auto backend = backend_for("");
  MatrixSource source = source_of(DType::kF32, 3, random_values(12, 1), 4);
  const std::byte* bytes = source.data.bytes.data();
  const std::weak_ptr<const void> owner = source.data.owner;
  auto matrix = backend->load_matrix(source).value();
  source = {};
  EXPECT_EQ(static_cast<const cpu::CpuMatrix&>(*matrix).source().data.bytes.data(), bytes);
  EXPECT_FALSE(owner.expired());
  matrix.reset();
  EXPECT_TRUE(owner.expired());
}

TEST(CpuBackend, ReadsValuesAtOddAddresses) {
  const std::vector<float> values = random_values(12, 5);
  std::vector<std::byte> bytes(12 * sizeof(float) + 1);
  std::memcpy(bytes.data() + 1, values.data(), 12 * sizeof(float));
  MatrixSource source = source_of(DType::kF32, 3, bytes, 4);
  source.data.bytes = source.data.bytes.subspan(1);
  for (const std::string& isa : available_isas()) {
    const auto backend = backend_for(isa);
    const auto matrix = backend->load_matrix(source).value();
    const auto x = testing::upload(*backend, std::vector<float>{0, 0, 1, 0}, 1),
               y = testing::upload(*backend, std::vector<float>(3), 1);
    const MatmulJob job = {matrix.get(), y.rows};
    backend->matmul(x.rows, {&job, 1});
    EXPECT_EQ(testing::download(*backend, y.rows), (std::vector<float>{values[2], values[6], values[10]}));
    const DeviceBuffer vector = backend->load_vector(source, 0.0f).value();
    EXPECT_EQ(testing::download(*backend, Rows::dense(vector.ptr(), 1, 12)), values);
  }
}

TEST(CpuBackend, LoadsNormVectorsOfEveryFloatType) {
  const auto backend = backend_for("");
  const auto check = [&](const MatrixSource& source) {
    const DeviceBuffer vector = backend->load_vector(source, 1.0f).value();
    EXPECT_EQ(testing::download(*backend, Rows::dense(vector.ptr(), 1, 3)), (std::vector<float>{1.5f, -1.0f, 1.0f}));
  };
  check(source_of(DType::kF32, 1, std::vector<float>{0.5f, -2.0f, 0.0f}, 3));
  check(source_of(DType::kF16, 1, std::vector<std::uint16_t>{float_to_half(0.5f), float_to_half(-2.0f), 0}, 3));
  check(source_of(DType::kBF16, 1, std::vector<std::uint16_t>{to_bf16(0.5f), to_bf16(-2.0f), 0}, 3));
  const auto quantised = backend->load_vector(source_of(DType::kQ8_0, 1, std::vector<std::uint8_t>(34), 32), 0.0f);
  ASSERT_FALSE(quantised.has_value());
  EXPECT_EQ(quantised.error().code(), Code::kUnimplemented);
}

/// A matrix of random bytes with scales that are neither huge nor NaN.
MatrixSource random_matrix(DType dtype, std::int64_t n_rows, std::int64_t n_cols) {
  std::mt19937 random(7);
  std::vector<std::uint8_t> bytes(n_rows * row_bytes(dtype, n_cols));
  for (std::uint8_t& b : bytes) b = static_cast<std::uint8_t>(random() & 0x2f);  // halves below 0.13
  return source_of(dtype, n_rows, std::move(bytes), n_cols);
}

constexpr DType kAllTypes[] = {DType::kF32,  DType::kF16,  DType::kBF16, DType::kQ8_0, DType::kQ4_0,
                               DType::kQ4_1, DType::kQ5_0, DType::kQ5_1, DType::kQ4_K, DType::kQ5_K,
                               DType::kQ6_K, DType::kNF4,  DType::kMXFP4};

TEST(CpuBackend, EmbedsRowsOfEveryTypeExactly) {
  StepShape shape = testing::one_sequence(3);
  shape.tokens = {4, 0, 4};
  for (const DType dtype : kAllTypes) {
    const MatrixSource source = random_matrix(dtype, 5, 512);
    std::vector<float> expected;
    for (const std::string& isa : available_isas()) {
      const auto backend = backend_for(isa);
      const auto table = backend->load_matrix(source).value();
      const auto out = testing::upload(*backend, std::vector<float>(3 * 512, NAN), 3);
      backend->embed(*table, *backend->make_step_index(shape), 2.0f, out.rows);
      const auto values = testing::download(*backend, out.rows);
      if (expected.empty()) expected = values;
      EXPECT_TRUE(testing::same_bits(values, expected)) << dtype_name(dtype) << " on " << isa;
      EXPECT_TRUE(testing::same_bits(std::span(values).first(512), std::span(values).last(512)));
    }
  }
}

TEST(CpuBackend, MultipliesByMatricesOfEveryType) {
  const std::vector<float> x = random_values(5 * 512, 9);
  for (const DType dtype : kAllTypes) {
    const MatrixSource source = random_matrix(dtype, 37, 512);
    std::vector<float> expected;
    float largest = 0.0f;
    for (const std::string& isa : available_isas()) {
      const auto backend = backend_for(isa);
      const auto weight = backend->load_matrix(source).value();
      const auto in = testing::upload(*backend, x, 5);
      // Two jobs that write side by side into one buffer, as q, k and v do.
      const auto out = testing::upload(*backend, std::vector<float>(5 * 74, NAN), 5);
      const MatmulJob jobs[] = {{weight.get(), out.rows.columns(0, 37)}, {weight.get(), out.rows.columns(37, 37)}};
      backend->matmul(in.rows, jobs);
      const auto values = testing::download(*backend, out.rows);
      EXPECT_TRUE(testing::same_bits(std::span(values).first(37), std::span(values).subspan(37, 37)));
      if (expected.empty()) expected = values;
      for (const float v : expected) largest = std::max(largest, std::abs(v));
      // Activations rounded to int8 are off by up to max|x| / 254 each; such errors of both signs add up as a root.
      const float slack = is_quantised(dtype) ? 0.02f : dtype == DType::kBF16 ? 0.01f : 512 * testing::kEpsilon;
      EXPECT_LE(testing::max_difference(values, expected), slack * largest) << dtype_name(dtype) << " on " << isa;
    }
  }
}

TEST(CpuBackend, ABiasIsAddedToTheFinishedProductOfItsJobAlone) {
  constexpr int kInputs = 64, kOutputs = 96;
  const auto biases = random_values(kOutputs, 5, 3.0f);
  for (const std::string& isa : available_isas()) {
    for (const int n_rows : {1, 3, 260}) {  // the last are shared among threads
      const auto backend = backend_for(isa);
      const auto weight =
          backend->load_matrix(source_of(DType::kF32, kOutputs, random_values(kOutputs * kInputs, 1), kInputs)).value();
      const auto bias = testing::upload(*backend, biases, 1);
      const auto x = testing::upload(*backend, random_values(to_size(n_rows) * kInputs, 2), n_rows);
      const auto run = [&](DevicePtr first_bias, DevicePtr second_bias, bool wants_second) {
        const auto a = testing::upload(*backend, std::vector<float>(to_size(n_rows) * kOutputs), n_rows);
        const auto b = testing::upload(*backend, std::vector<float>(to_size(n_rows) * kOutputs), n_rows);
        const MatmulJob jobs[] = {{weight.get(), a.rows, first_bias}, {weight.get(), b.rows, second_bias}};
        backend->matmul(x.rows, jobs);
        return testing::download(*backend, wants_second ? b.rows : a.rows);
      };
      const auto plain = run({}, {}, false);
      auto expected = plain;
      for (std::size_t i = 0; i < expected.size(); ++i) expected[i] += biases[i % kOutputs];
      EXPECT_TRUE(testing::same_bits(run(bias.rows.data, {}, false), expected)) << isa << ", " << n_rows << " rows";
      EXPECT_TRUE(testing::same_bits(run(bias.rows.data, {}, true), plain)) << isa << ", " << n_rows << " rows";
      EXPECT_TRUE(testing::same_bits(run({}, bias.rows.data, true), expected)) << isa << ", " << n_rows << " rows";
      const auto out = testing::upload(*backend, std::vector<float>(to_size(n_rows) * kOutputs), n_rows);
      const MatmulJob scaled = {weight.get(), out.rows, bias.rows.data, 0.375f};
      backend->matmul(x.rows, {&scaled, 1});
      for (float& value : expected) value *= 0.375f;
      EXPECT_TRUE(testing::same_bits(testing::download(*backend, out.rows), expected)) << isa << ": bias, then scale";
    }
  }
}

TEST(CpuBackend, GathersRows) {
  const auto backend = backend_for("");
  const auto x = testing::upload(*backend, std::vector<float>{1, 2, 3, 4, 5, 6}, 3),
             out = testing::upload(*backend, std::vector<float>(4), 2);
  backend->gather(x.rows, std::vector<std::int32_t>{2, 0}, out.rows);
  EXPECT_EQ(testing::download(*backend, out.rows), (std::vector<float>{5, 6, 1, 2}));
}

TEST(CpuBackend, NanAndInfinityInWeightsDoNotCrash) {
  for (const std::string& isa : available_isas()) {
    const auto backend = backend_for(isa);
    for (const DType dtype : kAllTypes) {
      MatrixSource source = source_of(dtype, 16, std::vector<std::uint8_t>(16 * row_bytes(dtype, 256), 0xff), 256);
      const auto weight = backend->load_matrix(source).value();
      const auto x = testing::upload(*backend, std::vector<float>(256, INFINITY), 1),
                 y = testing::upload(*backend, std::vector<float>(16), 1);
      const MatmulJob job = {weight.get(), y.rows};
      backend->matmul(x.rows, {&job, 1});
      backend->gated(Activation::kSilu, y.rows, y.rows, y.rows);
    }
  }
}

TEST(CpuBackend, CallsForEachOnceInOrderOfItsPart) {
  for (const int n_threads : {1, 2, 3}) {
    const auto backend = backend_for("", n_threads);
    for (const int n : {0, 1, 2, 17}) {
      std::vector<int> calls(n), last(n_threads, -1);
      backend->for_each(n, [&](int i, int part) {
        ++calls.at(i);
        EXPECT_LT(std::exchange(last.at(part), i), i);
      });
      for (const int count : calls) EXPECT_EQ(count, 1);
    }
  }
}

}  // namespace
}  // namespace commissure
