#include "kernels/cuda/cuda_backend.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include <cstdlib>

#include "kernels/cuda/driver.h"
#include "kernels/cuda/emulated/fake_driver.h"
#include "kernels/cuda/self_check.h"
#include "kernels/devices.h"
#include "support/backend_testing.h"

/// The host layer over the fake driver.
namespace commissure::cuda {
namespace {

using emulated::driver_counts;

TEST(CudaBackend, GivesBackAllThatItTook) {
  const auto before = driver_counts();
  {
    const auto backend = std::move(emulated::make_emulated_backend()).value();
    EXPECT_EQ(backend->info().device, "cuda");
    EXPECT_EQ(backend->info().isa, "emulated");
    const DeviceBuffer buffer = backend->allocate(1001).value();
    EXPECT_EQ(driver_counts().buffers, before.buffers + 1);
    const auto bytes = backend->fetch(buffer.ptr(), 1001);
    for (const std::byte b : *bytes) ASSERT_EQ(b, std::byte{0});
  }
  const auto after = driver_counts();
  EXPECT_EQ(after.buffers, before.buffers);
  EXPECT_EQ(after.streams, before.streams);
  EXPECT_EQ(after.modules, before.modules);
  EXPECT_EQ(after.contexts, before.contexts);
}

TEST(CudaBackend, RefusesBytesThatDoNotMatchTheShape) {
  const auto backend = std::move(emulated::make_emulated_backend()).value();
  const auto code = [&](const MatrixSource& source) {
    const auto matrix = backend->load_matrix(source);
    return matrix.has_value() ? Code::kOk : matrix.error().code();
  };
  const std::vector<float> values(12);
  EXPECT_EQ(code(testing::source_of(DType::kF32, 3, values, 4)), Code::kOk);
  EXPECT_EQ(code(testing::source_of(DType::kF32, 4, values, 4)), Code::kInvalidArgument);
  EXPECT_EQ(code(testing::source_of(DType::kQ8_0, 1, values, 48)), Code::kInvalidArgument);
  EXPECT_EQ(code(testing::source_of(DType::kI32, 3, values, 4)), Code::kUnimplemented);
  EXPECT_EQ(code(testing::source_of(DType::kMXFP4, 1, std::vector<std::byte>(16), 32)), Code::kInvalidArgument);
}

TEST(CudaBackend, RefusesHeadsThatItHasNoKernelFor) {
  const auto backend = std::move(emulated::make_emulated_backend()).value();
  EXPECT_TRUE(backend->check_heads({.n_heads = 2, .n_kv_heads = 1, .head_dim = 512}));
  EXPECT_EQ(backend->check_heads({.n_heads = 2, .n_kv_heads = 1, .head_dim = 514}).error().code(),
            Code::kUnimplemented);
}

TEST(CudaBackend, RefusesDeltaNets) {
  const auto backend = std::move(emulated::make_emulated_backend()).value();
  EXPECT_TRUE(backend->check_delta({}));
  const DeltaShape shape = {.n_key_heads = 2, .n_value_heads = 4, .key_dim = 16, .value_dim = 16, .kernel = 4};
  EXPECT_EQ(backend->check_delta(shape).error().code(), Code::kUnimplemented);
  const DeviceBuffer buffer = backend->allocate(16).value();
  // Where nobody asked before, the step fails, and no more.
  backend->delta_net({}, {}, *backend->make_step_index(testing::one_sequence(1)), {{}, shape}, {}, {});
  EXPECT_EQ(backend->fetch(buffer.ptr(), 4).error().code(), Code::kUnimplemented);
  EXPECT_TRUE(backend->fetch(buffer.ptr(), 4).has_value());
}

/// What fails is the step that found no memory: nothing on the card is wrong.
TEST(CudaBackend, AfterAStepWithoutMemoryTheNextOneComputes) {
  const auto backend = std::move(emulated::make_emulated_backend()).value();
  const auto values = testing::random_values(64, 1);
  const auto x = testing::upload(*backend, values, 2), out = testing::upload(*backend, values, 2);
  const std::vector<std::int32_t> rows = {1, 0};
  ASSERT_TRUE(backend->fetch(x.rows.data, 0).has_value());
  // The scratch that gather takes is the first allocation; what comes before it makes no call that can lack memory.
  emulated::fail_call(2, kOutOfMemory);
  backend->gather(x.rows, rows, out.rows);
  const auto failed = backend->fetch(out.rows.data, 4);
  emulated::fail_call(0, 0);
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().code(), Code::kResourceExhausted);
  backend->gather(x.rows, rows, out.rows);
  const auto swapped = testing::download(*backend, out.rows);
  EXPECT_TRUE(testing::same_bits(std::span(swapped).first(32), std::span(values).last(32)));
}

TEST(CudaBackend, ALostCardStaysLostAndSaysSo) {
  const auto backend = std::move(emulated::make_emulated_backend()).value();
  const auto& card = static_cast<const CudaBackend&>(*backend);
  const auto x = testing::upload(*backend, testing::random_values(64, 1), 2);
  ASSERT_TRUE(backend->fetch(x.rows.data, 0).has_value());
  EXPECT_TRUE(card.health());
  constexpr int kLaunchFailed = 719;
  emulated::fail_call(3, kLaunchFailed);  // of context, function and launch
  backend->pack_bf16(x.rows, x.rows.data);
  emulated::fail_call(0, 0);
  for (int i = 0; i < 2; ++i) {
    const auto lost = backend->fetch(x.rows.data, 4);
    ASSERT_FALSE(lost.has_value());
    EXPECT_EQ(lost.error().code(), Code::kUnavailable);
    EXPECT_NE(lost.error().message().find("(719)"), std::string::npos) << lost.error().message();
  }
  EXPECT_FALSE(card.health());
}

/// The fake driver reads them as late as it can.
TEST(CudaBackend, HostBytesMayChangeOnceUploadReturns) {
  const auto backend = std::move(emulated::make_emulated_backend()).value();
  for (const std::size_t n : {std::size_t{100}, std::size_t{1} << 20}) {
    const DeviceBuffer buffer = backend->allocate(n).value();
    std::vector<std::byte> bytes(n, std::byte{7});
    backend->upload(buffer.ptr(), bytes);
    std::ranges::fill(bytes, std::byte{9});
    const auto back = backend->fetch(buffer.ptr(), n);
    ASSERT_TRUE(back.has_value());
    EXPECT_EQ(back->front(), std::byte{7}) << n;
    EXPECT_EQ(back->back(), std::byte{7}) << n;
  }
}

TEST(CudaBackend, TooMuchMemoryIsAnErrorNotACrash) {
  const auto backend = std::move(emulated::make_emulated_backend()).value();
  const auto buffer = backend->allocate(std::size_t{1} << 50);
  ASSERT_FALSE(buffer.has_value());
  EXPECT_EQ(buffer.error().code(), Code::kResourceExhausted);
}

/// A product, start to end.
Status one_product() {
  const auto backend = TRY(emulated::make_emulated_backend());
  const auto weight = TRY(backend->load_matrix(testing::source_of(DType::kF32, 3, testing::random_values(12, 1), 4)));
  const DeviceBuffer x = TRY(backend->allocate(16)), out = TRY(backend->allocate(12));
  const MatmulJob job{weight.get(), Rows::dense(out.ptr(), 1, 3)};
  backend->matmul(Rows::dense(x.ptr(), 1, 4), {&job, 1});
  TRY(backend->fetch(out.ptr(), 12));
  return {};
}

TEST(CudaBackend, EveryFailingCallOfTheDriverGivesOneClearErrorOrNone) {
  const auto before = driver_counts();
  ASSERT_TRUE(one_product().has_value());
  const std::uint64_t n_calls = driver_counts().calls - before.calls;
  int n_errors = 0;
  for (std::uint64_t n = 1; n <= n_calls; ++n) {
    emulated::fail_call(n, kOutOfMemory);
    const Status status = one_product();
    emulated::fail_call(0, 0);
    if (status) continue;
    ++n_errors;
    EXPECT_EQ(status.error().code(), Code::kResourceExhausted) << n;
    EXPECT_NE(status.error().message().find("CUDA_ERROR_OUT_OF_MEMORY"), std::string::npos) << status.error().message();
  }
  EXPECT_GT(n_errors, 20);
  EXPECT_TRUE(one_product().has_value());
}

TEST(CudaBackend, RunsTheNewestCodeOfTheCardsOwnGeneration) {
  constexpr unsigned char kImage[1] = {};
  const Cubin cubins[] = {{80, kImage, kImage}, {89, kImage, kImage}, {90, kImage, kImage}, {120, kImage, kImage}};
  EXPECT_EQ(best_arch(cubins, 80), 80);
  EXPECT_EQ(best_arch(cubins, 86), 80);
  EXPECT_EQ(best_arch(cubins, 89), 89);
  EXPECT_EQ(best_arch(cubins, 90), 90);
  EXPECT_EQ(best_arch(cubins, 121), 120);
  EXPECT_EQ(best_arch(cubins, 75), 0);
  EXPECT_EQ(best_arch(cubins, 100), 0);
}

TEST(CudaDevices, DamagedKernelsAreRefused) {
  unsigned char image[] = {0, 0, 0, 0, 0, 0, 0, 0, 0x78, 0x9c, 0x03, 0, 0, 0, 0, 0x01};
  const unsigned char* end = image + sizeof image;
  EXPECT_TRUE(unpacked({89, image, end}).has_value());
  EXPECT_FALSE(unpacked({89, image, image + 7}).has_value());
  EXPECT_FALSE(unpacked({89, image, end - 4}).has_value());
  image[0] = 1;
  EXPECT_FALSE(unpacked({89, image, end}).has_value());
  image[7] = 0x7f;
  EXPECT_FALSE(unpacked({89, image, end}).has_value());
}

/// Where this machine has a GPU that can be used, these say less.
TEST(CudaDevices, AutoTakesTheCpuWhereThereIsNoGpuAndCudaSaysWhyNot) {
  EXPECT_FALSE(make_device("tpu", {}).has_value());
  if (check_gpu()) GTEST_SKIP() << "this machine has a GPU";
  const auto chosen = make_device("auto", CpuOptions{});
  ASSERT_TRUE(chosen.has_value());
  EXPECT_EQ(chosen->backend->info().device, "cpu");
  const auto gpu = make_device("cuda", {});
  ASSERT_FALSE(gpu.has_value());
  EXPECT_EQ(gpu.error().code(), Code::kFailedPrecondition);
  EXPECT_NE(gpu.error().message().find("DEVICE=cpu"), std::string::npos) << gpu.error().message();
  EXPECT_NE(chosen->reason.find(gpu_kernels().empty() ? "without kernels" : "libcuda.so.1"), std::string::npos)
      << chosen->reason;
}

TEST(CudaDriver, SaysWhatWasLookedForWhenThereIsNone) {
  const auto driver = load_driver({"libcommissure_no_such_driver.so.1"});
  ASSERT_FALSE(driver.has_value());
  EXPECT_EQ(driver.error().code(), Code::kNotFound);
  EXPECT_NE(driver.error().message().find("libcommissure_no_such_driver.so.1"), std::string::npos);
  const auto two = load_driver({"libcommissure_no_such_driver.so.1", "/proc/self/status"});
  ASSERT_FALSE(two.has_value());
  for (const char* name : {"libcommissure_no_such_driver.so.1", "/proc/self/status"}) {
    EXPECT_NE(two.error().message().find(name), std::string::npos) << two.error().message();
  }
}

/// A card that loads a kernel at its first launch may have no memory left for it by then.
TEST(CudaDriver, KernelsAreLoadedWhenTheCardIsOpenedUnlessTheUserSaysOtherwise) {
  constexpr const char* kName = "CUDA_MODULE_LOADING";
  unsetenv(kName);
  Driver driver = emulated::fake_driver();
  static std::string seen;
  driver.init = [](unsigned) {
    const char* value = std::getenv(kName);
    seen = value == nullptr ? "" : value;
    return 0;
  };
  ASSERT_TRUE(find_card(driver, emulated::fake_cubins(), 0).has_value());
  EXPECT_EQ(seen, "EAGER");
  setenv(kName, "LAZY", 1);
  ASSERT_TRUE(find_card(driver, emulated::fake_cubins(), 0).has_value());
  EXPECT_EQ(seen, "LAZY");
  unsetenv(kName);
}

TEST(CudaSelfCheck, ACardThatComputesOtherwiseIsRefused) {
  Driver driver = emulated::fake_driver();
  EXPECT_TRUE(Device::open(driver, emulated::fake_cubins(), 0).has_value());
  driver.launch = [](Function, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, Stream, void**,
                     void**) { return 0; };  // zeros stay
  const auto refused = Device::open(driver, emulated::fake_cubins(), 0);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), Code::kFailedPrecondition);
  EXPECT_NE(refused.error().message().find("emulated card: it computes otherwise"), std::string::npos)
      << refused.error().message();
}

TEST(CudaSelfCheck, EveryWrongBitIsSeen) {
  const std::vector<std::uint32_t> expected = expected_check();
  EXPECT_TRUE(judge_check(expected));
  EXPECT_FALSE(judge_check(std::span(expected).first(expected.size() - 1)));
  for (std::size_t i = 0; i < expected.size(); ++i) {
    std::vector<std::uint32_t> wrong = expected;
    wrong[i] ^= 1;
    EXPECT_FALSE(judge_check(wrong)) << i;
  }
}

/// Contracted, squares would be added unrounded; and sums in another order round otherwise.
TEST(CudaSelfCheck, ItsValuesTellRoundingsApart) {
  const std::vector<std::uint32_t> words = check_words(), expected = expected_check();
  int n_contracted = 0, n_reordered = 0;
  for (std::size_t lane = 0; lane < 32; ++lane) {
    const auto value = static_cast<float>(static_cast<std::int32_t>(words[lane * 4]));
    const std::uint32_t* out = &expected[lane * kCheckWords];
    n_contracted += std::bit_cast<float>(out[9]) != std::fmaf(value, value, -value);
    n_contracted += std::bit_cast<float>(out[10]) != 0.0f;
    float sum = 0.0f;
    for (std::size_t i = lane / 16 * 16; i < lane / 16 * 16 + 16; ++i) {
      sum += static_cast<float>(static_cast<std::int32_t>(words[i * 4]));
    }
    n_reordered += std::bit_cast<float>(out[8]) != sum;
  }
  EXPECT_GT(n_contracted, 16);
  EXPECT_GT(n_reordered, 0);
}

}  // namespace
}  // namespace commissure::cuda
