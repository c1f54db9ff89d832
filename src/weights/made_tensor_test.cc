#include "weights/made_tensor.h"

#include <gtest/gtest.h>

#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <memory>
#include <vector>

#include "core/index.h"
#include "kernels/quantise.h"
#include "support/failing_new.h"

// Without memory or threads. The values themselves: quantise_test.cc, bnb_state_test.cc.

namespace commissure {
namespace {

constexpr int kRows = 4096, kCols = 256;  // large enough for several threads

/// A matrix of floats and how it is read.
struct Stored {
  std::vector<float> values = waves();
  MadeTensor made{.stored = {.name = "w", .dtype = DType::kF32, .shape = {kRows, kCols}}, .dtype = DType::kNF4};

  static std::vector<float> waves() {
    std::vector<float> values(to_size(kRows * kCols));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = 0.05f * std::sin(static_cast<float>(i));
    return values;
  }
  Result<ByteRange> make() const {
    return make_tensor(made, [this](const TensorInfo&) -> Result<ByteRange> {
      return ByteRange{std::as_bytes(std::span(values)), nullptr};
    });
  }
  bool is_right(const ByteRange& range) const {
    std::vector<std::byte> expected(to_size(kRows) * row_bytes(DType::kNF4, kCols));
    const std::size_t stride = row_bytes(DType::kNF4, kCols);
    for (int row = 0; row < kRows; ++row) {
      const auto from = std::span(values).subspan(to_size(row * kCols), kCols);
      EXPECT_TRUE(quantise(DType::kNF4, from, &expected[to_size(row) * stride]));
    }
    return std::ranges::equal(range.bytes, expected);
  }
};

#if defined(COMMISSURE_FAILING_NEW)

TEST(MadeTensor, WithoutMemoryIsAnError) {
  const Stored stored;
  const FailingNew none(std::size_t{256} << 10, FailingNew::Where::kHere);
  const auto range = stored.make();
  ASSERT_FALSE(range.has_value());
  EXPECT_GE(none.n_failed(), 1);
  EXPECT_EQ(range.error().code(), Code::kResourceExhausted);
  EXPECT_NE(range.error().message().find("tensor \"w\": no memory"), std::string::npos) << range.error().message();
}

TEST(MadeTensor, ThreadsOfItsOwnAllocateNothing) {
  const Stored stored;
  Result<ByteRange> range = ByteRange{};
  {
    const FailingNew none(1);
    range = stored.make();
    EXPECT_EQ(none.n_failed(), 0) << "nobody could catch that";
  }
  ASSERT_TRUE(range.has_value()) << range.error().message();
  EXPECT_TRUE(stored.is_right(*range));
}

/// While it lives, the system has room for some MiB more, but for no thread, which would have a stack of 64 MiB.
class NoThreads {
 public:
  NoThreads() {
    getrlimit(RLIMIT_AS, &before_);
    pthread_getattr_default_np(&attributes_);
    pthread_attr_t large;
    pthread_getattr_default_np(&large);
    pthread_attr_setstacksize(&large, std::size_t{64} << 20);
    pthread_setattr_default_np(&large);
    pthread_attr_destroy(&large);
    std::uint64_t n_pages = 0;
    std::ifstream("/proc/self/statm") >> n_pages;
    const rlimit tight{n_pages * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE)) + (32u << 20), before_.rlim_max};
    setrlimit(RLIMIT_AS, &tight);
  }
  ~NoThreads() {
    setrlimit(RLIMIT_AS, &before_);
    pthread_setattr_default_np(&attributes_);
    pthread_attr_destroy(&attributes_);
  }
  NoThreads(const NoThreads&) = delete;
  NoThreads& operator=(const NoThreads&) = delete;

 private:
  rlimit before_{};
  pthread_attr_t attributes_{};
};

TEST(MadeTensor, WithoutThreadsThisOneDoesAll) {
  const Stored stored;
  Result<ByteRange> range = ByteRange{};
  {
    const NoThreads none;
    range = stored.make();
  }
  ASSERT_TRUE(range.has_value()) << range.error().message();
  EXPECT_TRUE(stored.is_right(*range));
}

#endif

}  // namespace
}  // namespace commissure
