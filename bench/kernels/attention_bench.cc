#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include "kernels/backend.h"

/// Rates of the CPU attention for the heads of two small models:
///   decode   GB/s of keys and values read by one row per sequence; bound by memory, compare with matmul_bench's Read
///   prefill  Gop/s of the last 512 rows of a prompt; bound by arithmetic
/// both with keys and values in bf16 and, as decode/int8 and prefill/int8, in int8.
/// COMMISSURE_BENCH_ISA and COMMISSURE_BENCH_THREADS choose the kernels. Machines change speed from minute to minute:
/// compare numbers of one run only, best with --benchmark_enable_random_interleaving.
namespace commissure {
namespace {

/// More than any last-level cache share, so that every pass reads memory.
constexpr std::size_t kColdBytes = std::size_t{256} << 20;
/// Texts up to this length are also read from the cache, for what the arithmetic alone takes.
constexpr int kWarmPositions = 300;

/// One for all cases: it pins the calling thread.
Backend& bench_backend() {
  const char* isa = std::getenv("COMMISSURE_BENCH_ISA");
  const char* n_threads = std::getenv("COMMISSURE_BENCH_THREADS");
  static const std::unique_ptr<Backend> backend =
      make_cpu_backend({.n_threads = n_threads != nullptr ? std::atoi(n_threads) : 0, .isa = isa != nullptr ? isa : ""})
          .value();
  return *backend;
}

/// What one attend() call sees: the last n_rows of each of n_sequences texts of n_positions.
struct Case {
  HeadLayout heads;
  int n_sequences = 1;
  int n_positions = 0;
  int n_rows = 1;
  int window = 0;
  bool is_warm = false;
  KvType kv = KvType::kBF16;

  int n_blocks() const { return (n_positions + 63) / 64; }
};

DeviceBuffer random_floats(Backend& backend, std::size_t n) {
  std::mt19937 random(1);
  std::vector<float> values(n);
  for (float& v : values) v = std::normal_distribution<float>()(random);
  DeviceBuffer buffer = backend.allocate(n * sizeof(float)).value();
  backend.upload(buffer.ptr(), std::as_bytes(std::span(values)));
  return buffer;
}

/// The step that attends, or with `all` the one that fills the cache.
StepShape shape_of(const Case& c, bool all) {
  StepShape shape;
  for (int s = 0; s < c.n_sequences; ++s) {
    const int n_rows = all ? c.n_positions : c.n_rows;
    SequenceSpan span = {shape.n_rows(), n_rows, c.n_positions - n_rows, {}};
    for (int i = 0; i < c.n_blocks(); ++i) span.blocks.push_back(s * c.n_blocks() + i);
    shape.sequences.push_back(span);
    shape.tokens.resize(shape.tokens.size() + static_cast<std::size_t>(n_rows));
  }
  return shape;
}

/// A row's keys inside the window, summed over the step's rows.
double keys_seen(const Case& c) {
  double n = 0.0;
  for (int row = 0; row < c.n_rows; ++row) {
    const int seen = c.n_positions - row;
    n += c.window > 0 ? std::min(seen, c.window) : seen;
  }
  return n * c.n_sequences;
}

void attend(benchmark::State& state, const Case& c) {
  Backend& backend = bench_backend();
  const std::size_t block_bytes = backend.kv_block_bytes(c.heads, c.kv);
  const std::size_t layer_bytes = block_bytes * static_cast<std::size_t>(c.n_blocks() * c.n_sequences);
  const std::size_t n_layers = c.n_rows > 1 || c.is_warm ? 1 : kColdBytes / layer_bytes + 1;
  const DeviceBuffer cache = backend.allocate(n_layers * layer_bytes).value();
  const StepShape fill = shape_of(c, true), shape = shape_of(c, false);
  const int kv_width = c.heads.n_kv_heads * c.heads.head_dim, q_width = c.heads.n_heads * c.heads.head_dim;
  {
    const auto index = backend.make_step_index(fill);
    const DeviceBuffer kv =
        random_floats(backend, static_cast<std::size_t>(fill.n_rows()) * static_cast<std::size_t>(kv_width));
    const Rows rows = Rows::dense(kv.ptr(), fill.n_rows(), kv_width);
    for (std::size_t i = 0; i < n_layers; ++i) {
      backend.append_kv(rows, rows, *index, {cache.ptr().offset(i * layer_bytes), c.heads, c.kv});
    }
  }
  const std::size_t n_queries = static_cast<std::size_t>(shape.n_rows()) * static_cast<std::size_t>(q_width);
  const DeviceBuffer q = random_floats(backend, n_queries), out = random_floats(backend, n_queries);
  const auto index = backend.make_step_index(shape);
  const AttendOptions options = {1.0f / std::sqrt(static_cast<float>(c.heads.head_dim)), c.window};
  std::size_t layer = 0;
  for (auto _ : state) {
    backend.attend(Rows::dense(q.ptr(), shape.n_rows(), q_width), *index,
                   {cache.ptr().offset(layer * layer_bytes), c.heads, c.kv}, options,
                   Rows::dense(out.ptr(), shape.n_rows(), q_width));
    layer = (layer + 1) % n_layers;
  }
  const auto rate = benchmark::Counter::kIsIterationInvariantRate;
  if (c.n_rows == 1) {
    const auto position_bytes = static_cast<double>(kv_position_bytes(c.kv, c.heads.n_kv_heads, c.heads.head_dim));
    state.counters["GB/s"] = benchmark::Counter(keys_seen(c) * position_bytes / 1e9, rate);
  } else {
    state.counters["Gop/s"] = benchmark::Counter(keys_seen(c) * 4.0 * q_width / 1e9, rate);
  }
}

void add_all() {
  const std::pair<const char*, HeadLayout> models[] = {{"9q3kv64", {9, 3, 64}}, {"4q1kv256", {4, 1, 256}}};
  for (const auto& [name, heads] : models) {
    for (const auto& [n_sequences, n_positions, n_rows, window] :
         {std::tuple(1, 300, 1, 0), std::tuple(1, 1000, 1, 512), std::tuple(1, 4000, 1, 0), std::tuple(1, 16000, 1, 0),
          std::tuple(16, 200, 1, 0), std::tuple(8, 4000, 1, 0), std::tuple(1, 512, 512, 0), std::tuple(1, 4096, 512, 0),
          std::tuple(1, 4096, 512, 512)}) {
      for (const auto& [is_warm, kv] : {std::pair(false, KvType::kBF16), std::pair(false, KvType::kInt8),
                                        std::pair(true, KvType::kBF16), std::pair(true, KvType::kInt8)}) {
        if (is_warm && n_sequences * n_positions > kWarmPositions) continue;
        const std::string title =
            fmt::format("{}{}/{}/{}x{}{}{}", n_rows == 1 ? "decode" : "prefill", kv == KvType::kInt8 ? "/int8" : "",
                        name, n_sequences, n_positions, window > 0 ? "/window" : "", is_warm ? "/warm" : "");
        const Case c = {heads, n_sequences, n_positions, n_rows, window, is_warm, kv};
        benchmark::RegisterBenchmark(title.c_str(), attend, c)->UseRealTime();
      }
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
