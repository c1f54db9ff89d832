#include "kernels/check_source.h"

#include "support/backend_testing.h"

namespace commissure {
namespace {

Code code_of(const Status& status) { return status ? Code::kOk : status.error().code(); }

TEST(CheckSource, TakesATensorOfItsTypeAndNoOther) {
  const auto source = [](DType dtype, std::int64_t n_rows, std::int64_t n_cols, std::size_t n_bytes) {
    return testing::source_of(dtype, n_rows, std::vector<std::byte>(n_bytes), n_cols);
  };
  EXPECT_TRUE(check_stored(source(DType::kF32, 3, 4, 48), true));
  EXPECT_TRUE(check_stored(source(DType::kQ8_0, 2, 64, 4 * 34), true));
  EXPECT_EQ(code_of(check_stored(source(DType::kF32, 3, 4, 48), false)), Code::kUnimplemented);
  EXPECT_EQ(code_of(check_stored(source(DType::kF32, 3, 4, 47), true)), Code::kInvalidArgument);
  EXPECT_TRUE(check_shape(source(DType::kF32, 3, 4, 47), true)) << "its bytes are not asked for";
  EXPECT_EQ(code_of(check_shape(source(DType::kQ8_0, 2, 48, 0), true)), Code::kInvalidArgument) << "half a block";
  for (const std::int64_t n : {std::int64_t{0}, std::int64_t{-1}, (std::int64_t{1} << 30) + 1}) {
    EXPECT_EQ(code_of(check_shape(source(DType::kF32, n, 4, 0), true)), Code::kInvalidArgument) << n;
    EXPECT_EQ(code_of(check_shape(source(DType::kF32, 4, n, 0), true)), Code::kInvalidArgument) << n;
  }
}

}  // namespace
}  // namespace commissure
