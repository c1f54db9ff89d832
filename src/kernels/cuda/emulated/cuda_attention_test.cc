#include <algorithm>
#include <cmath>

#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/emulated/fake_driver.h"
#include "support/backend_testing.h"

/// Attention on the emulated card beside the reference, and beside itself cut otherwise.
namespace commissure {
namespace {

using testing::random_values;

/// A key's or value's number that is none.
struct Odd {
  int row, dim;
  float value;
};

struct Case {
  HeadLayout heads;
  int n_rows = 0;
  int window = 0;
  KvType kv = KvType::kBF16;
  bool keeps_f32 = true;
  float softcap = 0.0f;
  std::vector<float> sinks = {};
  std::vector<Odd> odd_values = {};
  int image = 0, image_end = 0;  ///< rows that see one another; one chunk has all of them
};

/// Outputs of all rows; every step takes `chunk` of them. The cache is full of NaN before, and its blocks lie
/// scattered.
std::vector<float> outputs(Backend& backend, const Case& c, int chunk) {
  const int q_width = c.heads.n_heads * c.heads.head_dim, kv_width = c.heads.n_kv_heads * c.heads.head_dim;
  const auto values_of = [&](int width, unsigned seed) {
    return random_values(static_cast<std::size_t>(c.n_rows * width), seed);
  };
  const auto q = values_of(q_width, 1), k = values_of(kv_width, 2);
  auto v = values_of(kv_width, 3);
  for (const Odd& odd : c.odd_values) v[to_size(odd.row * kv_width + odd.dim)] = odd.value;
  const int n_blocks = c.n_rows / 64 + 2;
  const std::size_t kv_bytes = static_cast<std::size_t>(n_blocks) * backend.kv_block_bytes(c.heads, c.kv);
  const DeviceBuffer cache = backend.allocate(kv_bytes).value();
  backend.upload(cache.ptr(), std::vector<std::byte>(kv_bytes, std::byte{0xff}));
  const KvLayer layer = {cache.ptr(), c.heads, c.kv};
  const DeviceBuffer sinks = backend.allocate(c.sinks.size() * sizeof(float)).value();
  backend.upload(sinks.ptr(), std::as_bytes(std::span(c.sinks)));
  std::vector<float> out;
  for (int done = 0; done < c.n_rows; done += chunk) {
    const int n = std::min(chunk, c.n_rows - done);
    StepShape shape = testing::one_sequence(n, done);
    for (std::int32_t& block : shape.sequences[0].blocks) block = n_blocks - 1 - block;
    if (c.image_end > done && c.image < done + n) {
      const SequenceSpan whole = shape.sequences[0];
      shape.sequences.clear();
      int position = done;
      for (const auto& [end, seen_to] :
           {std::pair(c.image, 0), std::pair(c.image_end, c.image_end), std::pair(done + n, 0)}) {
        if (end <= position) continue;
        SequenceSpan& span = shape.sequences.emplace_back(whole);
        span.first_row = position - done;
        span.n_rows = end - position;
        span.first_position = position;
        span.seen_to = seen_to;
        position = end;
      }
    }
    const auto part = [&](const std::vector<float>& from, int width) {
      return testing::upload(
          backend, std::span(from).subspan(static_cast<std::size_t>(done * width), static_cast<std::size_t>(n * width)),
          n);
    };
    const auto dq = part(q, q_width), dk = part(k, kv_width), dv = part(v, kv_width);
    const auto result = testing::upload(backend, std::vector<float>(static_cast<std::size_t>(n * q_width), NAN), n);
    const auto index = backend.make_step_index(shape);
    backend.append_kv(dk.rows, dv.rows, *index, layer);
    backend.attend(dq.rows, *index, layer, {0.125f, c.window, c.softcap, c.keeps_f32, sinks.ptr()}, result.rows);
    const auto rows = testing::download(backend, result.rows);
    out.insert(out.end(), rows.begin(), rows.end());
  }
  return out;
}

std::unique_ptr<Backend> card() { return std::move(cuda::emulated::make_emulated_backend()).value(); }

/// A score is a sum of head_dim products, an output one of n_rows; each value is at most some 5 (normal values). bf16
/// queries and weights add their own 2^-8 of it.
float tolerance_of(const Case& c) {
  const float sums = static_cast<float>(c.heads.head_dim + c.n_rows) * testing::kEpsilon * 5.0f;
  return c.keeps_f32 ? sums * 8.0f : 5.0f * 0x1p-7f + sums;
}

TEST(CudaAttention, IsAsCloseToTheReferenceAsItsLengthsAllow) {
  const auto gpu = card(), reference = testing::backend_for("reference");
  for (const HeadLayout heads :
       {HeadLayout{6, 2, 64}, HeadLayout{4, 1, 80}, HeadLayout{2, 2, 128}, HeadLayout{8, 1, 256}}) {
    for (const KvType kv : {KvType::kBF16, KvType::kInt8}) {
      for (const bool keeps_f32 : {false, true}) {
        for (const int window : {0, 50}) {
          const Case c = {heads, 150, window, kv, keeps_f32};
          const auto got = outputs(*gpu, c, 150), want = outputs(*reference, c, 150);
          ASSERT_LE(testing::max_difference(got, want), tolerance_of(c))
              << heads.head_dim << " " << kv_type_name(kv) << " " << keeps_f32 << " window " << window;
        }
      }
    }
  }
}

TEST(CudaAttention, FoldsSeveralSpansAndHeadsOf512) {
  const auto gpu = card(), reference = testing::backend_for("reference");
  for (const Case& c : {Case{{2, 1, 64}, 600, 0}, Case{{2, 1, 64}, 600, 300}, Case{{2, 1, 512}, 70, 0, KvType::kInt8},
                        Case{{2, 1, 64}, 70, 0, KvType::kBF16, true, 2.0f},
                        Case{{2, 1, 64}, 600, 300, KvType::kBF16, true, 0.0f, {-2.0f, 3.0f}}}) {
    const auto got = outputs(*gpu, c, c.n_rows), want = outputs(*reference, c, c.n_rows);
    ASSERT_LE(testing::max_difference(got, want), tolerance_of(c)) << c.n_rows << " window " << c.window;
  }
}

TEST(CudaAttention, DecodeAndPrefillInAnyChunksHaveTheSameBits) {
  const auto gpu = card();
  for (const KvType kv : {KvType::kBF16, KvType::kInt8}) {
    for (const int window : {0, 70}) {
      const Case c = {{3, 1, 64}, 290, window, kv, false, 0.0f, {-2.0f, 0.5f, 3.0f}};
      const auto whole = outputs(*gpu, c, 290);
      for (const int chunk : {1, 7, 64, 65}) {
        ASSERT_TRUE(testing::same_bits(outputs(*gpu, c, chunk), whole)) << chunk << " window " << window;
      }
    }
  }
}

TEST(CudaAttention, RowsOfAnImageSeeOneAnother) {
  const auto gpu = card(), reference = testing::backend_for("reference");
  for (const KvType kv : {KvType::kBF16, KvType::kInt8}) {
    for (const int window : {0, 50}) {
      for (const auto& [image, image_end] : {std::pair(20, 150), std::pair(0, 70)}) {
        Case c = {{3, 1, 64}, 170, window, kv, true};
        c.image = image;
        c.image_end = image_end;
        // A NaN behind the image reaches none of its rows.
        c.odd_values = {{165, 3, NAN}};
        const auto got = outputs(*gpu, c, 170), want = outputs(*reference, c, 170);
        const std::size_t n = to_size(165 * 3 * 64);
        ASSERT_LE(testing::max_difference(std::span(got).first(n), std::span(want).first(n)), tolerance_of(c))
            << kv_type_name(kv) << " window " << window << " image " << image;
        c.odd_values.clear();
        const auto whole = outputs(*gpu, c, 170);
        EXPECT_TRUE(testing::same_bits(outputs(*gpu, c, 160), whole)) << "in two steps";
        EXPECT_TRUE(testing::same_bits(std::span(whole).first(n), std::span(got).first(n)));
      }
    }
  }
}

/// A tile of queries shares its values, and a weight of 0 makes NaN of an infinity or NaN: only those that see it may
/// meet it. Which NaN it is is nobody's concern.
TEST(CudaAttention, AnInfinityOrNaNReachesNoRowThatDoesNotSeeIt) {
  const auto gpu = card();
  const auto outputs_of = [&](const Case& c, int chunk) {
    auto out = outputs(*gpu, c, chunk);
    for (float& v : out) v = std::isnan(v) ? NAN : v;
    return out;
  };
  for (const HeadLayout heads : {HeadLayout{3, 1, 64}, HeadLayout{1, 1, 16}}) {
    for (const KvType kv : {KvType::kBF16, KvType::kInt8}) {
      for (const bool keeps_f32 : {false, true}) {
        for (const int window : {0, 5}) {
          Case c = {heads, 70, window, kv, keeps_f32};
          c.odd_values = {{20, 3, NAN}, {41, 4, INFINITY}, {41, 9, -INFINITY}, {66, 4, NAN}};
          const auto alone = outputs_of(c, 1), together = outputs_of(c, 70);
          EXPECT_TRUE(testing::same_bits(alone, together))
              << heads.n_heads << " heads, " << kv_type_name(kv) << " " << keeps_f32 << " window " << window;
          const auto width = to_size(heads.n_heads * heads.head_dim);
          const auto is_finite = [&](std::size_t row) {
            return std::ranges::all_of(std::span(together).subspan(row * width, width),
                                       [](float v) { return std::isfinite(v); });
          };
          for (std::size_t row = 0; row < 20; ++row) EXPECT_TRUE(is_finite(row)) << row;
          for (const std::size_t row : {20, 24, 41, 45, 66}) EXPECT_FALSE(is_finite(row)) << row;
          EXPECT_EQ(is_finite(30), window > 0);
        }
      }
    }
  }
}

TEST(CudaAttention, NeighboursInAStepChangeNoBit) {
  const auto gpu = card();
  const HeadLayout heads = {2, 1, 64};
  const auto run = [&](bool with_neighbour) {
    const DeviceBuffer cache = gpu->allocate(8 * gpu->kv_block_bytes(heads, KvType::kBF16)).value();
    const KvLayer layer = {cache.ptr(), heads, KvType::kBF16};
    const int n = with_neighbour ? 80 : 70;
    StepShape shape = testing::one_sequence(70);
    if (with_neighbour) {
      shape.sequences.push_back({70, 10, 0, {5}});
      shape.tokens.resize(80);
    }
    const auto upload = [&](int width, unsigned seed) {
      auto values = random_values(static_cast<std::size_t>(80 * width), seed);
      values.resize(static_cast<std::size_t>(n * width));
      return testing::upload(*gpu, values, n);
    };
    const auto q = upload(128, 1), k = upload(64, 2), v = upload(64, 3), out = upload(128, 4);
    const auto index = gpu->make_step_index(shape);
    gpu->append_kv(k.rows, v.rows, *index, layer);
    gpu->attend(q.rows, *index, layer, {0.125f, 0, 0.0f, false}, out.rows);
    return testing::download(*gpu, out.rows.slice(0, 70));
  };
  EXPECT_TRUE(testing::same_bits(run(false), run(true)));
}

TEST(CudaAttention, ThePlanSharesSpansOnlyWhereTilesAreFew) {
  const StepShape shape = testing::one_sequence(1, 1000);
  const std::vector<std::int32_t> tables = {0};
  EXPECT_EQ(cuda::plan_attention(shape, tables, 4, 0, 1, 100).items.size(), 1u);
  const cuda::AttendPlan cut = cuda::plan_attention(shape, tables, 4, 0, 8, 100);
  EXPECT_EQ(cut.items.size(), 4u);
  EXPECT_EQ(cut.joins.size(), 1u);
  EXPECT_EQ(cut.n_partials, 4);
  EXPECT_EQ(cuda::plan_attention(shape, tables, 4, 300, 8, 100).items.size(), 2u);
}

TEST(CudaAttention, ThePlanKeepsNoMoreResultsOfSpansThanThereIsRoomFor) {
  StepShape shape = testing::one_sequence(1, 1000);
  for (int i = 1; i < 3; ++i) {
    shape.sequences.push_back(shape.sequences[0]);
    shape.sequences.back().first_row = i;
  }
  const std::vector<std::int32_t> tables = {0, 16, 32};
  for (const int room : {0, 3, 4, 7, 8, 11, 12, 100}) {
    const cuda::AttendPlan plan = cuda::plan_attention(shape, tables, 4, 0, 1000, room);
    const int n_cut = std::min(3, room / 4);
    EXPECT_EQ(plan.n_partials, 4 * n_cut) << room;
    EXPECT_EQ(std::ssize(plan.joins), n_cut) << room;
    EXPECT_EQ(std::ssize(plan.items), 3 + 3 * n_cut) << room;
  }
}

}  // namespace
}  // namespace commissure
