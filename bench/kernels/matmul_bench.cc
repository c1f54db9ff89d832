#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include "kernels/backend.h"
#include "kernels/cpu/matmul/matmul.h"

/// Rates of the CPU matmul per weight type and number of columns:
///   GB/s    weight bytes read per second; one column is bound by memory, compare with Read
///   _packed the weights in the kernels' own layout instead of the checkpoint's
///   Gop/s   multiplications and additions per second; many columns are bound by arithmetic
/// COMMISSURE_BENCH_ISA and COMMISSURE_BENCH_THREADS choose the kernels. Machines change speed from minute to minute:
/// compare numbers of one run only, best with --benchmark_enable_random_interleaving.
namespace commissure {
namespace {

/// More than any last-level cache share, so that every pass reads memory.
constexpr std::size_t kColdBytes = std::size_t{192} << 20;

cpu::Isa bench_isa() {
  const char* name = std::getenv("COMMISSURE_BENCH_ISA");
  for (cpu::Isa isa : cpu::kAllIsas) {
    if (name != nullptr && cpu::isa_name(isa) == name && cpu::can_run(isa)) return isa;
  }
  return cpu::best_isa();
}

int bench_threads() {
  const char* n = std::getenv("COMMISSURE_BENCH_THREADS");
  return n != nullptr ? std::max(1, std::atoi(n)) : static_cast<int>(std::thread::hardware_concurrency());
}

/// Random bytes with harmless scales, shared by all benchmarks of a type.
std::vector<std::byte>& weight_bytes() {
  static std::vector<std::byte> bytes = [] {
    std::vector<std::byte> out(kColdBytes);
    std::mt19937_64 random(1);
    for (std::size_t i = 0; i + 8 <= out.size(); i += 8) {
      // The top bit pair of every 16-bit word stays clear: as f16 or bf16 it is finite.
      const std::uint64_t word = random() & 0x3f3f3f3f3f3f3f3full;
      std::memcpy(&out[i], &word, 8);
    }
    return out;
  }();
  return bytes;
}

/// Reads the same bytes with a plain sum: the memory's own rate, for comparison.
void read_memory(benchmark::State& state) {
  ThreadPool pool(bench_threads());
  const std::vector<std::byte>& bytes = weight_bytes();
  for (auto _ : state) {
    pool.run([&](int part, int n_parts) {
      const std::size_t n = bytes.size() / 8 / static_cast<std::size_t>(n_parts);
      const auto* p = reinterpret_cast<const std::uint64_t*>(bytes.data()) + n * static_cast<std::size_t>(part);
      std::uint64_t sums[8] = {};
      for (std::size_t i = 0; i + 8 <= n; i += 8) {
        for (std::size_t k = 0; k < 8; ++k) sums[k] += p[i + k];
      }
      for (std::uint64_t sum : sums) benchmark::DoNotOptimize(sum);
    });
  }
  state.counters["GB/s"] =
      benchmark::Counter(static_cast<double>(bytes.size()) / 1e9, benchmark::Counter::kIsIterationInvariantRate);
}

void matmul(benchmark::State& state, DType dtype, int n_cols, int n_columns, std::size_t n_bytes, bool is_packed) {
  const auto n_rows = static_cast<std::int64_t>(std::min(n_bytes, kColdBytes) / row_bytes(dtype, n_cols));
  std::vector<float> x(static_cast<std::size_t>(n_columns) * static_cast<std::size_t>(n_cols));
  std::mt19937 random(2);
  for (float& v : x) v = std::normal_distribution<float>()(random);
  std::vector<float> out(static_cast<std::size_t>(n_rows) * static_cast<std::size_t>(n_columns));
  cpu::Matmul product(bench_isa());
  ThreadPool pool(bench_threads());
  std::vector<std::byte> packed(is_packed ? product.packed_bytes(dtype, n_rows, n_cols) : 0);
  if (is_packed) product.pack_weights(dtype, weight_bytes().data(), n_rows, n_cols, packed.data(), pool);
  const cpu::MatmulTask task = {
      dtype, weight_bytes().data(), n_rows, out.data(), n_rows, is_packed ? packed.data() : nullptr};
  for (auto _ : state) product.run({x.data(), n_cols, n_columns, n_cols}, {&task, 1}, pool);

  const double bytes = static_cast<double>(n_rows) * static_cast<double>(row_bytes(dtype, n_cols));
  const double operations = 2.0 * static_cast<double>(n_rows) * n_cols * n_columns;
  const auto rate = benchmark::Counter::kIsIterationInvariantRate;
  state.counters["GB/s"] = benchmark::Counter(bytes / 1e9, rate);
  state.counters["Gop/s"] = benchmark::Counter(operations / 1e9, rate);
}

void add_all() {
  benchmark::RegisterBenchmark("Read", read_memory)->UseRealTime();
  constexpr DType kTypes[] = {DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1, DType::kQ8_0, DType::kQ4_K,
                              DType::kQ5_K, DType::kQ6_K, DType::kBF16, DType::kF16,  DType::kF32};
  for (DType dtype : kTypes) {
    const int n_cols = block_size(dtype).n_elements == 256 ? 2048 : 640;
    for (int n_columns : {1, 2, 4, 6, 8, 16, 64, 512}) {
      // One column reads cold memory; many columns take a matrix the size of a small model's.
      const std::size_t n_bytes = n_columns <= 8 ? kColdBytes : std::size_t{1} << 20;
      for (bool is_packed : {false, true}) {
        if (is_packed && cpu::Matmul(bench_isa()).packed_bytes(dtype, 16, n_cols) == 0) continue;
        const std::string name =
            fmt::format("{}{}/{}x{}", dtype_name(dtype), is_packed ? "_packed" : "", n_cols, n_columns);
        benchmark::RegisterBenchmark(name.c_str(), matmul, dtype, n_cols, n_columns, n_bytes, is_packed)->UseRealTime();
      }
    }
  }
}

}  // namespace
}  // namespace commissure

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  benchmark::AddCustomContext("isa", std::string(commissure::cpu::isa_name(commissure::bench_isa())));
  benchmark::AddCustomContext("threads", std::to_string(commissure::bench_threads()));
  commissure::add_all();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
