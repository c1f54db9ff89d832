#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include "core/index.h"
#include "kernels/low_rank.h"

/// Rates at which the CPU adds adapters to a product of 2,048 inputs and outputs, ranks 8 and 64, bf16:
///   decode   GB/s of adapters read by 64 rows of 64 adapters, by 64 rows of 4, and by one; bound by memory
///   prefill  Gop/s of 512 rows of one adapter; bound by arithmetic
/// COMMISSURE_BENCH_ISA and COMMISSURE_BENCH_THREADS choose the kernels.
namespace commissure {
namespace {

constexpr int kWidth = 2048;
/// More than any last-level cache share, so that every pass reads memory.
constexpr std::size_t kColdBytes = std::size_t{256} << 20;

/// One for all cases: it pins the calling thread.
Backend& bench_backend() {
  const char* isa = std::getenv("COMMISSURE_BENCH_ISA");
  const char* n_threads = std::getenv("COMMISSURE_BENCH_THREADS");
  static const std::unique_ptr<Backend> backend =
      make_cpu_backend({.n_threads = n_threads != nullptr ? std::atoi(n_threads) : 0, .isa = isa != nullptr ? isa : ""})
          .value();
  return *backend;
}

MatrixSource random_matrix(std::int64_t n_rows, std::int64_t n_cols) {
  std::mt19937 random(1);
  auto values = std::make_shared<std::vector<bf16>>(n_elements(n_rows, n_cols));
  for (bf16& value : *values) value = to_bf16(static_cast<float>(random() % 2001) / 1000.0f - 1.0f);
  return {"bench", DType::kBF16, n_rows, n_cols, {std::as_bytes(std::span(*values)), values}};
}

/// Rows of a step, dealt to adapters in turns.
struct Case {
  int rank = 8;
  int n_rows = 1;
  int n_adapters = 1;
};

void add(benchmark::State& state, const Case& c) {
  Backend& backend = bench_backend();
  const LowRankSource source = {.down = random_matrix(c.rank, kWidth), .up = random_matrix(kWidth, c.rank)};
  const std::size_t step_bytes = n_elements(c.n_adapters, 4 * kWidth, c.rank);
  const bool is_decode = c.n_rows <= 64;
  const std::size_t n_steps = is_decode ? kColdBytes / step_bytes + 1 : 1;
  std::vector<std::unique_ptr<LowRank>> adapters;
  for (std::size_t i = 0; i < n_steps * to_size(c.n_adapters); ++i) {
    adapters.push_back(backend.load_low_rank(source).value());
  }
  const std::size_t n_values = n_elements(c.n_rows, kWidth);
  const DeviceBuffer x = backend.allocate(n_values * sizeof(float)).value();
  const DeviceBuffer out = backend.allocate(n_values * sizeof(float)).value();
  const MatmulJob product = {nullptr, Rows::dense(out.ptr(), c.n_rows, kWidth)};
  std::size_t step = 0;
  std::vector<LowRankJob> jobs;
  for (auto _ : state) {
    jobs.clear();
    const int per_adapter = c.n_rows / c.n_adapters;
    for (int adapter = 0; adapter < c.n_adapters; ++adapter) {
      const LowRank* weight = adapters[step * to_size(c.n_adapters) + to_size(adapter)].get();
      if (!is_decode) jobs.push_back({weight, product, 0, c.n_rows, 1.0f});
      for (int i = 0; is_decode && i < per_adapter; ++i) {
        jobs.push_back({weight, product, i * c.n_adapters + adapter, 1, 1.0f});
      }
    }
    backend.add_low_rank(Rows::dense(x.ptr(), c.n_rows, kWidth), jobs);
    step = (step + 1) % n_steps;
  }
  const auto rate = benchmark::Counter::kIsIterationInvariantRate;
  if (is_decode) {
    state.counters["GB/s"] = benchmark::Counter(static_cast<double>(step_bytes) / 1e9, rate);
  } else {
    state.counters["Gop/s"] =
        benchmark::Counter(static_cast<double>(n_elements(c.n_rows, 4 * kWidth, c.rank)) / 1e9, rate);
  }
}

void add_all() {
  for (const int rank : {8, 64}) {
    for (const auto& [n_rows, n_adapters] : {std::pair(1, 1), std::pair(64, 4), std::pair(64, 64), std::pair(512, 1)}) {
      const std::string title =
          fmt::format("{}/rank{}/{}rows/{}adapters", n_rows > 64 ? "prefill" : "decode", rank, n_rows, n_adapters);
      benchmark::RegisterBenchmark(title.c_str(), add, Case{rank, n_rows, n_adapters})->UseRealTime();
    }
  }
}

}  // namespace
}  // namespace commissure

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  commissure::add_all();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
