#include "support/trap_backend.h"

#include <cmath>

#include "support/backend_testing.h"

namespace commissure {
namespace {

using testing::random_values;

constexpr HeadLayout kHeads = {4, 2, 16};
constexpr int kWidth = 64;  // n_heads * head_dim, also the model's

/// One small layer that uses every operation; returns its packed result.
std::vector<std::byte> layer(Backend& backend) {
  StepShape shape = testing::one_sequence(3, 62);
  shape.tokens = {1, 0, 2};
  const auto index = backend.make_step_index(shape);
  const auto matrix = backend.load_matrix(testing::source_of(DType::kF32, 64, random_values(64 * 64, 1), 64)).value();
  const auto norm = backend.load_vector(testing::source_of(DType::kF32, 1, random_values(64, 2), 64), 1.0f).value();
  const auto head_norm =
      backend.load_vector(testing::source_of(DType::kF32, 1, random_values(16, 3), 16), 0.0f).value();
  const auto rows = [&] { return testing::upload(backend, std::vector<float>(3 * kWidth), 3); };
  const auto x = rows(), q = rows(), k = rows(), v = rows(), out = rows(), table = rows();
  const DeviceBuffer cache = backend.allocate(2 * backend.kv_block_bytes(kHeads, KvType::kBF16)).value();
  const RopeSpec rope = {.frequencies = std::vector<float>(8, 0.1f)};
  const KvLayer kv = {cache.ptr(), kHeads, KvType::kBF16};

  backend.embed(*matrix, *index, 2.0f, x.rows);
  backend.rms_norm(x.rows, norm.ptr(), 1e-6f, q.rows);
  const MatmulJob jobs[] = {{matrix.get(), k.rows}, {matrix.get(), v.rows}};
  backend.matmul(q.rows, jobs);
  const Rows angles = Rows::dense(table.rows.data, 3, 16);
  backend.rope_table(rope, *index, angles);
  backend.norm_rope(q.rows, 4, head_norm.ptr(), 1e-6f, rope, angles);
  backend.append_kv(k.rows.columns(0, 32), v.rows.columns(0, 32), *index, kv);
  backend.attend(q.rows, *index, kv, {0.25f, 2}, out.rows);
  backend.gated(Activation::kSilu, out.rows, x.rows, out.rows);
  backend.add(x.rows, out.rows, norm.ptr(), 1e-6f, true);
  backend.gather(x.rows, std::vector<std::int32_t>{2, 1, 0}, q.rows);
  backend.pack_bf16(q.rows, k.rows.data);
  backend.unpack_bf16(k.rows.data, v.rows);
  const auto bytes = backend.fetch(v.rows.data, 3 * kWidth * sizeof(float));
  return {bytes->begin(), bytes->end()};
}

TEST(TrapBackend, ComputesWhatItsInnerBackendComputes) {
  for (const std::string& isa : available_isas()) {
    TrapBackend trapped(testing::backend_for(isa));
    EXPECT_EQ(trapped.info().isa, isa);
    EXPECT_EQ(layer(trapped), layer(*testing::backend_for(isa))) << isa;
  }
}

TEST(TrapBackend, FollowingADevicePtrOutsideItDies) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  TrapBackend backend(testing::backend_for("reference", 1));
  const auto rows = testing::upload(backend, std::vector<float>{1, 2}, 1);
  EXPECT_EQ(testing::download(backend, rows.rows), (std::vector<float>{1, 2}));
  EXPECT_DEATH(*reinterpret_cast<volatile float*>(rows.rows.data.value) = 3.0f, "");
  EXPECT_DEATH((void)*reinterpret_cast<volatile float*>(rows.rows.data.value), "");
}

TEST(TrapBackend, ReleasesItsMemory) {
  TrapBackend backend(testing::backend_for("reference", 1));
  // A quarter of the address space each: the last fits only where another went.
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(backend.allocate(std::size_t{1} << 45).has_value());
}

}  // namespace
}  // namespace commissure
