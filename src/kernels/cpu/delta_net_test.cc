#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/cpu/delta/delta_net.h"
#include "support/backend_testing.h"

namespace commissure {
namespace {

using testing::backend_for;
using testing::download;
using testing::random_values;
using testing::upload;

struct Case {
  const char* name;
  DeltaShape shape;
};

std::vector<Case> cases() {
  return {
      {"as published", {.n_key_heads = 2, .n_value_heads = 4, .key_dim = 128, .value_dim = 128, .kernel = 4}},
      {"tiled", {.n_key_heads = 2, .n_value_heads = 4, .key_dim = 32, .value_dim = 48, .kernel = 4, .is_tiled = true}},
      {"smallest", {.n_key_heads = 1, .n_value_heads = 1, .key_dim = 16, .value_dim = 16, .kernel = 2}},
      {"widest kernel", {.n_key_heads = 3, .n_value_heads = 3, .key_dim = 16, .value_dim = 32, .kernel = 8}}};
}

/// Rows of one or more sequences of a step, with the places of their states.
struct Slice {
  int first_position;
  int n_rows;
  std::int32_t from, to;
};

/// One layer of a delta net on one backend; the rows of a sequence are the first ones of the same random ones.
class Net {
 public:
  Net(Backend& backend, const DeltaShape& shape, unsigned seed = 1)
      : backend_(backend),
        shape_(shape),
        channels_(random_values(to_size(kRows * shape.n_channels()), seed)),
        gates_(random_values(to_size(2 * kRows * shape.n_value_heads), seed + 1)),
        convolution_(upload(backend, random_values(to_size(shape.kernel * shape.n_channels()), 3, 0.5f), shape.kernel)),
        rate_(upload(backend, rates(shape.n_value_heads), 1)),
        bias_(upload(backend, random_values(to_size(shape.n_value_heads), 4), 1)) {
    memory_ = std::move(backend.allocate(kPlaces * shape.state_floats() * sizeof(float))).value();
  }

  /// Every slice's rows, one after the other.
  std::vector<float> run(const std::vector<Slice>& slices) {
    StepShape step;
    std::vector<float> channels, decay, beta;
    for (const Slice& slice : slices) {
      SequenceSpan span{
          .first_row = step.n_rows(), .n_rows = slice.n_rows, .first_position = slice.first_position, .blocks = {}};
      span.blocks.resize(to_size(slice.first_position + slice.n_rows) / 64 + 1);
      span.state_from = slice.from;
      span.state_to = slice.to;
      step.sequences.push_back(span);
      step.tokens.resize(step.tokens.size() + to_size(slice.n_rows));
      append(channels, channels_, shape_.n_channels(), slice, 0);
      append(decay, gates_, shape_.n_value_heads, slice, 0);
      append(beta, gates_, shape_.n_value_heads, slice, kRows);
    }
    const int n = step.n_rows();
    const auto in = upload(backend_, channels, n), a = upload(backend_, decay, n), b = upload(backend_, beta, n);
    const auto mixed = upload(backend_, std::vector<float>(channels.size()), n);
    const auto out = upload(backend_, std::vector<float>(to_size(n * shape_.value_width())), n);
    const auto index = backend_.make_step_index(step);
    backend_.delta_net({in.rows, a.rows, b.rows}, {convolution_.rows.data, rate_.rows.data, bias_.rows.data}, *index,
                       {memory_.ptr(), shape_}, mixed.rows, out.rows);
    return download(backend_, out.rows);
  }

  static constexpr int kRows = 40;

 private:
  static constexpr std::size_t kPlaces = 4;
  static std::vector<float> rates(int n) {
    std::vector<float> made;
    for (int i = 0; i < n; ++i) made.push_back(-std::exp(-2.0f + static_cast<float>(i)));
    return made;
  }
  static void append(std::vector<float>& to, const std::vector<float>& from, int width, const Slice& slice, int skip) {
    const auto first = from.begin() + static_cast<std::ptrdiff_t>(slice.first_position + skip) * width;
    to.insert(to.end(), first, first + static_cast<std::ptrdiff_t>(slice.n_rows) * width);
  }

  Backend& backend_;
  const DeltaShape shape_;
  const std::vector<float> channels_, gates_;
  const testing::DeviceRows convolution_, rate_, bias_;
  DeviceBuffer memory_;
};

/// The formulas once more, in double and without any of the library's code, for one sequence from position 0.
std::vector<double> by_hand(const DeltaShape& s, unsigned seed = 1) {
  const int n = Net::kRows, width = s.n_channels();
  const auto x = random_values(to_size(n * width), seed),
             gates = random_values(to_size(2 * n * s.n_value_heads), seed + 1);
  const auto w = random_values(to_size(s.kernel * width), 3, 0.5f), bias = random_values(to_size(s.n_value_heads), 4);
  std::vector<double> state(to_size(s.value_width() * s.key_dim), 0.0), all;
  for (int t = 0; t < n; ++t) {
    std::vector<double> y(to_size(width));
    for (int c = 0; c < width; ++c) {
      double sum = 0.0;
      for (int j = 0; j < s.kernel; ++j) {
        const int row = t - s.kernel + 1 + j;
        if (row >= 0) sum += double{w[to_size(j * width + c)]} * double{x[to_size(row * width + c)]};
      }
      y[to_size(c)] = sum / (1.0 + std::exp(-sum));
    }
    for (int head = 0; head < s.n_value_heads; ++head) {
      const int key_head = s.is_tiled ? head % s.n_key_heads : head / (s.n_value_heads / s.n_key_heads);
      const double* const q = &y[to_size(key_head * s.key_dim)];
      const double* const k = q + s.key_width();
      const double* const v = &y[to_size(2 * s.key_width() + head * s.value_dim)];
      double q_square = 1e-6, k_square = 1e-6;
      for (int i = 0; i < s.key_dim; ++i) q_square += q[i] * q[i], k_square += k[i] * k[i];
      const double a = double{gates[to_size(t * s.n_value_heads + head)]} + double{bias[to_size(head)]};
      const double decay = std::exp(-std::exp(-2.0 + head) * std::log1p(std::exp(a)));
      const double beta = 1.0 / (1.0 + std::exp(-double{gates[to_size((n + t) * s.n_value_heads + head)]}));
      double* const own = &state[to_size(head * s.value_dim * s.key_dim)];
      for (int j = 0; j < s.value_dim; ++j) {
        double held = 0.0, seen = 0.0;
        for (int i = 0; i < s.key_dim; ++i) held += decay * own[j * s.key_dim + i] * k[i] / std::sqrt(k_square);
        for (int i = 0; i < s.key_dim; ++i) {
          double& cell = own[j * s.key_dim + i];
          cell = decay * cell + k[i] / std::sqrt(k_square) * beta * (v[j] - held);
          seen += cell * q[i] / std::sqrt(q_square * s.key_dim);
        }
        all.push_back(seen);
      }
    }
  }
  return all;
}

TEST(DeltaNet, EveryIsaComputesTheFormulas) {
  for (const std::string& isa : available_isas()) {
    const auto backend = backend_for(isa);
    for (const Case& c : cases()) {
      Net net(*backend, c.shape);
      const auto found = net.run({{0, Net::kRows, -1, 0}});
      const auto expected = by_hand(c.shape);
      ASSERT_EQ(found.size(), expected.size());
      double largest = 0.0, difference = 0.0;
      for (std::size_t i = 0; i < found.size(); ++i) {
        largest = std::max(largest, std::abs(expected[i]));
        difference = std::max(difference, std::abs(double{found[i]} - expected[i]));
      }
      // A rounding or two for each term of the three sums a row takes part in, and rows hand theirs on.
      const double tolerance = 8.0 * (c.shape.key_dim + c.shape.kernel) * double{testing::kEpsilon} * largest;
      EXPECT_LE(difference, tolerance) << isa << ", " << c.name;
      EXPECT_GT(largest, 100 * tolerance) << "or the test sees nothing";
    }
  }
}

TEST(DeltaNet, ARowHasTheSameBitsInAnyChunksAndCompany) {
  for (const std::string& isa : available_isas()) {
    for (const Case& c : cases()) {
      const auto one = backend_for(isa, 1), three = backend_for(isa, 3);
      Net whole(*one, c.shape), chunked(*three, c.shape);
      const auto expected = whole.run({{0, Net::kRows, -1, 0}});
      std::vector<float> found;
      std::int32_t from = -1, to = 0;
      // Chunks shorter and longer than the convolution reaches; other rows of the same sequence stand beside some.
      for (int first = 0, i = 0; first < Net::kRows; ++i) {
        const int n = std::min(std::array{1, 1, 2, 17, 3, 40}[to_size(i % 6)], Net::kRows - first);
        std::vector<Slice> slices = {{first, n, from, to}};
        if (i % 2 == 1) slices.insert(slices.begin(), {0, 5, -1, 3});
        const auto rows = chunked.run(slices);
        found.insert(found.end(), rows.end() - static_cast<std::ptrdiff_t>(n) * c.shape.value_width(), rows.end());
        from = to;
        to = 1 - to;
        first += n;
      }
      EXPECT_EQ(found, expected) << isa << ", " << c.name;
    }
  }
}

TEST(DeltaNet, WhatItGoesOnFromStaysAsItWas) {
  const DeltaShape shape = cases().front().shape;
  const auto backend = backend_for("");
  Net net(*backend, shape);
  net.run({{0, 20, -1, 0}});
  const auto once = net.run({{20, 10, 0, 1}});
  EXPECT_EQ(net.run({{20, 10, 0, 1}}), once);
  EXPECT_EQ(net.run({{20, 10, 0, 2}}), once);
  EXPECT_NE(net.run({{20, 10, 1, 2}}), once) << "twice the same rows is another state";
}

TEST(DeltaNet, IsasThatAgreeGiveTheSameBits) {
  const std::vector<std::string> isas = available_isas();
  for (const std::string& a : isas) {
    for (const std::string& b : isas) {
      if (!isas_agree(a, b)) continue;
      for (const Case& c : cases()) {
        const auto first = backend_for(a), second = backend_for(b);
        EXPECT_EQ(Net(*first, c.shape).run({{0, 30, -1, 0}}), Net(*second, c.shape).run({{0, 30, -1, 0}})) << a << b;
      }
    }
  }
}

}  // namespace
}  // namespace commissure
