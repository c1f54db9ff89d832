#include "doctor/nvidia_driver.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cstdlib>

namespace commissure {
namespace {

bool holds(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

/// The stub's behaviour, set for one test.
class NvidiaDriverTest : public ::testing::Test {
 protected:
  ~NvidiaDriverTest() override {
    unsetenv("STUB_DRIVER_CARDS");
    unsetenv("STUB_DRIVER_FAILS");
  }

  static Result<NvidiaDriver> find() { return find_nvidia_driver({"no-such-library.so", COMMISSURE_STUB_DRIVER}); }

  static int n_contexts() {
    void* library = dlopen(COMMISSURE_STUB_DRIVER, RTLD_NOW);
    return reinterpret_cast<int (*)()>(dlsym(library, "stub_driver_contexts"))();
  }
};

TEST_F(NvidiaDriverTest, DescribesEveryCardAndHoldsNoContext) {
  setenv("STUB_DRIVER_CARDS", "2", 1);
  const auto driver = find();
  ASSERT_TRUE(driver) << driver.error().message();
  EXPECT_EQ(driver->library, COMMISSURE_STUB_DRIVER);
  EXPECT_EQ(driver->cuda_version, 12020);
  ASSERT_EQ(driver->cards.size(), 2u);
  EXPECT_EQ(driver->cards[1].name, "Stub L4 number 1");
  EXPECT_EQ(driver->cards[1].major, 8);
  EXPECT_EQ(driver->cards[1].minor, 9);
  EXPECT_EQ(driver->cards[1].memory_bytes, std::uint64_t{24} << 30);
  EXPECT_EQ(driver->cards[1].free_bytes, std::uint64_t{20} << 30);
  EXPECT_EQ(n_contexts(), 0);
}

TEST_F(NvidiaDriverTest, ADriverWithoutCardsIsADriver) {
  setenv("STUB_DRIVER_CARDS", "0", 1);
  const auto driver = find();
  ASSERT_TRUE(driver) << driver.error().message();
  EXPECT_TRUE(driver->cards.empty());
}

TEST_F(NvidiaDriverTest, ACardWithoutAContextIsDescribedWithoutItsFreeMemory) {
  for (const char* function : {"cuDevicePrimaryCtxRetain", "cuCtxPushCurrent", "cuMemGetInfo"}) {
    setenv("STUB_DRIVER_FAILS", function, 1);
    const auto driver = find();
    ASSERT_TRUE(driver) << function << ": " << driver.error().message();
    ASSERT_EQ(driver->cards.size(), 1u);
    EXPECT_FALSE(driver->cards[0].free_bytes) << function;
    EXPECT_EQ(n_contexts(), 0) << function;
  }
}

TEST_F(NvidiaDriverTest, NamesTheCallThatFailedAndTheDriversWord) {
  for (const char* function : {"cuInit", "cuDriverGetVersion", "cuDeviceGetCount", "cuDeviceGet", "cuDeviceGetName",
                               "cuDeviceGetAttribute", "cuDeviceTotalMem"}) {
    setenv("STUB_DRIVER_FAILS", function, 1);
    const auto driver = find();
    ASSERT_FALSE(driver) << function;
    EXPECT_EQ(driver.error().code(), Code::kUnavailable) << function;
    EXPECT_EQ(driver.error().message(), std::string(function) + ": CUDA_ERROR_UNKNOWN (999)");
  }
}

TEST_F(NvidiaDriverTest, ALibraryThatIsNoDriverIsSaidToBeNone) {
  const auto driver = find_nvidia_driver({"libm.so.6"});
  ASSERT_FALSE(driver);
  EXPECT_EQ(driver.error().code(), Code::kFailedPrecondition);
  EXPECT_EQ(driver.error().message(), "libm.so.6 has no cuInit");
}

TEST_F(NvidiaDriverTest, NoLibraryIsNoDriver) {
  const auto driver = find_nvidia_driver({"no-such-library.so"});
  ASSERT_FALSE(driver);
  EXPECT_EQ(driver.error().code(), Code::kNotFound);
  EXPECT_TRUE(holds(driver.error().message(), "no-such-library.so"));
}

}  // namespace
}  // namespace commissure
