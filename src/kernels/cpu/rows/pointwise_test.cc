#include "kernels/cpu/rows/pointwise.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "support/backend_testing.h"

namespace commissure {
namespace {

using testing::backend_for;
using testing::kEpsilon;
using testing::random_values;

/// An operation on rows of `a` with help of `b` (the same shape) and `w` (one row); the result stands in `a`.
using Operation = std::function<void(Backend&, Rows a, Rows b, DevicePtr w)>;

struct Case {
  std::string name;
  Operation run;
  float tolerance;  ///< in epsilons of the largest magnitude per value summed, see tolerance()
  bool rounds = false;
};

const RopeSpec& halves() {
  static const RopeSpec spec = [] {
    RopeSpec rope;
    for (int i = 0; i < 24; ++i) rope.frequencies.push_back(std::pow(10000.0f, -static_cast<float>(i) / 24.0f));
    return rope;
  }();
  return spec;
}

/// Rotates rows as heads of 64 values of which 48 turn, at positions 5, 6, ...
void rotate(Backend& backend, Rows a, DevicePtr norm, bool interleaved) {
  RopeSpec rope = halves();
  rope.interleaved = interleaved;
  const auto index = backend.make_step_index(testing::one_sequence(a.n_rows, 5));
  const auto table = testing::upload(backend, std::vector<float>(a.n_rows * 48), a.n_rows);
  backend.rope_table(rope, *index, table.rows);
  backend.norm_rope(a, a.n_cols / 64, norm, 1e-6f, rope, table.rows);
}

std::vector<Case> cases(int n) {
  std::vector<Case> all = {
      {"rms_norm", [](Backend& b, Rows x, Rows, DevicePtr w) { b.rms_norm(x, w, 1e-6f, x); }, 2},
      {"layer_norm", [](Backend& b, Rows x, Rows, DevicePtr w) { b.layer_norm(x, w, w, 1e-6f, x); }, 2},
      {"silu", [](Backend& b, Rows x, Rows y, DevicePtr) { b.gated(Activation::kSilu, x, y, x); }, 16},
      {"gelu", [](Backend& b, Rows x, Rows y, DevicePtr) { b.gated(Activation::kGeluTanh, x, y, x); }, 16},
      {"clamped swiglu", [](Backend& b, Rows x, Rows y, DevicePtr) { b.gated(Activation::kClampedSwiglu, x, y, x); },
       32},
      {"sigmoid", [](Backend& b, Rows x, Rows y, DevicePtr) { b.gated(Activation::kSigmoid, x, y, x); }, 16},
      {"add", [](Backend& b, Rows x, Rows y, DevicePtr) { b.add(x, y, {}, 0.0f, false); }, 1},
      {"add normed", [](Backend& b, Rows x, Rows y, DevicePtr w) { b.add(x, y, w, 1e-6f, false); }, 2},
      {"add normed, rounded", [](Backend& b, Rows x, Rows y, DevicePtr w) { b.add(x, y, w, 1e-6f, true); }, 2, true},
      {"scale", [](Backend& b, Rows x, Rows, DevicePtr w) { b.scale(x, w); }, 1, true},
  };
  if (n % 64 == 0) {
    const auto norm_heads = [](Backend& b, Rows x, Rows, DevicePtr w) {
      b.norm_rope(x, x.n_cols / 64, w, 1e-6f, RopeSpec(), {});
    };
    all.push_back({"norm of heads", norm_heads, 4});
    all.push_back({"rope halves", [](Backend& b, Rows x, Rows, DevicePtr) { rotate(b, x, {}, false); }, 2});
    all.push_back({"rope neighbours", [](Backend& b, Rows x, Rows, DevicePtr) { rotate(b, x, {}, true); }, 2});
    all.push_back({"norm and rope", [](Backend& b, Rows x, Rows, DevicePtr w) { rotate(b, x, w, false); }, 4});
  }
  return all;
}

/// Runs a case on [n_rows, n] values that depend only on (row, n), beginning with row `first`.
std::vector<float> result(const Case& c, const std::string& isa, int first, int n_rows, int n, int n_threads = 2) {
  const auto backend = backend_for(isa, n_threads);
  std::vector<float> x, y;
  for (int row = first; row < first + n_rows; ++row) {
    const auto a = random_values(n, static_cast<unsigned>(row) + 1, 4.0f);
    const auto b = random_values(n, static_cast<unsigned>(row) + 1000);
    x.insert(x.end(), a.begin(), a.end());
    y.insert(y.end(), b.begin(), b.end());
  }
  const auto a = testing::upload(*backend, x, n_rows), b = testing::upload(*backend, y, n_rows);
  const auto w = testing::upload(*backend, random_values(n, 77), 1);
  c.run(*backend, a.rows, b.rows, w.rows.data);
  return testing::download(*backend, a.rows);
}

/// The largest value is below 64 in all cases; a norm sums n squares before it takes a root.
float tolerance(const Case& c, int n) {
  const float exact = 64.0f * kEpsilon * (c.tolerance + static_cast<float>(n) / 16.0f);
  return c.rounds ? exact + 64.0f / 256.0f : exact;
}

TEST(Pointwise, EveryIsaAgreesWithTheReference) {
  for (const int n : {1, 15, 16, 17, 64, 576, 640}) {
    for (const Case& c : cases(n)) {
      const auto expected = result(c, "reference", 0, 3, n);
      for (const std::string& isa : testing::fast_isas()) {
        EXPECT_LE(testing::max_difference(result(c, isa, 0, 3, n), expected), tolerance(c, n))
            << c.name << " on " << isa << ", n = " << n;
      }
    }
  }
}

TEST(Pointwise, APerturbedResultExceedsTheTolerance) {
  const int n = 576;
  for (const Case& c : cases(n)) {
    auto perturbed = result(c, "reference", 0, 1, n);
    const auto expected = perturbed;
    perturbed[100] += 1.1f * tolerance(c, n);
    EXPECT_GT(testing::max_difference(perturbed, expected), tolerance(c, n)) << c.name;
    EXPECT_LT(tolerance(c, n), c.rounds ? 0.3f : 1e-3f) << c.name;
  }
}

TEST(Pointwise, Avx2AndAvx512GiveTheSameBits) {
  const std::vector<std::string> isas = testing::fast_isas();
  if (std::find(isas.begin(), isas.end(), "avx512") == isas.end()) GTEST_SKIP() << "this CPU lacks AVX-512";
  for (const int n : {17, 640}) {
    for (const Case& c : cases(n)) {
      EXPECT_TRUE(testing::same_bits(result(c, "avx2", 0, 3, n), result(c, "avx512", 0, 3, n))) << c.name;
    }
  }
}

TEST(Pointwise, ARowDoesNotDependOnItsNeighbours) {
  const int n = 576, n_rows = 40;  // enough values for the pool to take part
  for (const std::string& isa : available_isas()) {
    for (const Case& c : cases(n)) {
      if (c.name.find("rope") != std::string::npos) continue;  // a row's position is its place in the step
      const auto together = result(c, isa, 0, n_rows, n);
      const auto alone = result(c, isa, 39, 1, n, 1);
      EXPECT_TRUE(testing::same_bits(std::span(together).last(n), alone)) << c.name << " on " << isa;
    }
  }
}

TEST(Pointwise, ActivationsAreRightAtTheEnds) {
  const std::vector<float> x = {-1e30f, -100.0f, -20.0f, -1.0f, -1e-30f, 0.0f, 1e-30f, 1.0f, 20.0f, 100.0f, 1e9f};
  const std::vector<float> ones(x.size(), 1.0f);
  for (const std::string& isa : available_isas()) {
    const auto backend = backend_for(isa);
    for (const Activation activation : {Activation::kSilu, Activation::kGeluTanh}) {
      const auto gate = testing::upload(*backend, x, 1), up = testing::upload(*backend, ones, 1);
      backend->gated(activation, gate.rows, up.rows, gate.rows);
      const auto out = testing::download(*backend, gate.rows);
      for (std::size_t i = 0; i < x.size(); ++i) {
        const double v = x[i];
        const double inner = 0.7978845608 * (v + 0.044715 * v * v * v);
        const double expected =
            activation == Activation::kSilu ? v / (1.0 + std::exp(-v)) : 0.5 * v * (1.0 + std::tanh(inner));
        const double slack = std::abs(v) > 1e20 ? 1e-7 * 1e30 : 1e-6 + 2e-6 * std::abs(v);
        EXPECT_NEAR(out[i], expected, slack) << isa << " at " << x[i];
      }
    }
  }
}

TEST(Pointwise, AClampedSwigluCutsGateAndUpAndKeepsNan) {
  const std::vector<float> gates = {-1e30f, -50.0f, -1.0f, 0.0f, 1.0f, 6.9f, 7.1f,
                                    50.0f,  1e30f,  2.0f,  2.0f, 2.0f, NAN,  1.0f};
  const std::vector<float> ups = {1.0f,  1.0f,   -9.0f, 3.0f, -7.5f, 7.5f, 2.0f,
                                  1e30f, -1e30f, -1.0f, 6.5f, -6.5f, 1.0f, NAN};
  for (const std::string& isa : available_isas()) {
    const auto backend = backend_for(isa);
    const auto gate = testing::upload(*backend, gates, 1), up = testing::upload(*backend, ups, 1);
    backend->gated(Activation::kClampedSwiglu, gate.rows, up.rows, gate.rows);
    const auto out = testing::download(*backend, gate.rows);
    for (std::size_t i = 0; i + 2 < gates.size(); ++i) {
      const double g = std::min(static_cast<double>(gates[i]), 7.0);
      const double u = std::clamp(static_cast<double>(ups[i]), -7.0, 7.0);
      const double expected = g / (1.0 + std::exp(-1.702 * g)) * (u + 1.0);
      EXPECT_NEAR(out[i], expected, 1e-5 + 1e-6 * std::abs(expected)) << isa << " at " << gates[i] << ", " << ups[i];
    }
    EXPECT_TRUE(std::isnan(out[gates.size() - 2]) && std::isnan(out.back())) << isa;
  }
}

TEST(Pointwise, Bf16RoundsToEvenAndKeepsNan) {
  std::vector<float> x = random_values(100, 3);
  x[0] = NAN;
  x[1] = INFINITY;
  x[2] = -0.0f;
  x[3] = std::bit_cast<float>(0x3f808000u);  // a tie, down to even
  x[4] = std::bit_cast<float>(0x3f818000u);  // a tie, up to even
  x[5] = std::bit_cast<float>(0x7f7fffffu);  // rounds to infinity
  for (const std::string& isa : available_isas()) {
    const auto backend = backend_for(isa);
    const auto rows = testing::upload(*backend, x, 4);
    const DeviceBuffer packed = backend->allocate(x.size() * sizeof(bf16)).value();
    backend->pack_bf16(rows.rows, packed.ptr());
    backend->unpack_bf16(packed.ptr(), rows.rows);
    const auto out = testing::download(*backend, rows.rows);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const float expected = to_float(to_bf16(x[i]));
      EXPECT_EQ(std::bit_cast<std::uint32_t>(out[i]), std::bit_cast<std::uint32_t>(expected)) << isa << " " << x[i];
    }
  }
}

TEST(Pointwise, RopeTableIsTheAngleInF32) {
  for (const std::string& isa : available_isas()) {
    const auto backend = backend_for(isa);
    RopeSpec rope = halves();
    rope.magnitude = 1.25f;
    const auto index = backend->make_step_index(testing::one_sequence(300, 5000));
    const auto table = testing::upload(*backend, std::vector<float>(300 * 48), 300);
    backend->rope_table(rope, *index, table.rows);
    const auto out = testing::download(*backend, table.rows);
    for (const int row : {0, 299}) {
      for (std::size_t pair = 0; pair < 24; ++pair) {
        const double angle = static_cast<float>(5000 + row) * rope.frequencies[pair];
        EXPECT_NEAR(out[row * 48 + pair], 1.25 * std::cos(angle), 3 * kEpsilon);
        EXPECT_NEAR(out[row * 48 + 24 + pair], 1.25 * std::sin(angle), 3 * kEpsilon);
      }
    }
  }
}

TEST(Pointwise, ARopeThatGrowsDoesSoByWholeContexts) {
  for (const std::string& isa : available_isas()) {
    const auto backend = backend_for(isa);
    RopeSpec rope = {.frequencies = {0.0f}, .magnitude = 2.0f, .growth = 0.5f, .growth_context = 100.0f};
    const auto index = backend->make_step_index(testing::one_sequence(300, 99));
    const auto table = testing::upload(*backend, std::vector<float>(300 * 2), 300);
    backend->rope_table(rope, *index, table.rows);
    const auto out = testing::download(*backend, table.rows);
    EXPECT_EQ(out[0], 2.0f) << "position 99";
    EXPECT_NEAR(out[2 * 1], 2.0 * (1.0 + 0.5 * std::log(2.0)), 4 * kEpsilon) << "position 100";
    EXPECT_EQ(out[2 * 100], out[2 * 1]) << "position 199";
    EXPECT_NEAR(out[2 * 299], 2.0 * (1.0 + 0.5 * std::log(4.0)), 4 * kEpsilon) << "position 398";
  }
}

}  // namespace
}  // namespace commissure
