// Runs hot kernels on one thread a chosen number of times, for tools that count instructions (instruction_counts.py).
// usage: kernel_once --list | kernel_once NAME TIMES
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "kernels/backend.h"
#include "kernels/cpu/matmul/matmul.h"

namespace commissure {
namespace {

/// Prepares a kernel's inputs; what it returns runs the kernel once.
using Prepare = std::function<std::function<void()>()>;

std::vector<float> random_values(std::size_t n) {
  std::mt19937 random(1);
  std::vector<float> values(n);
  for (float& v : values) v = static_cast<float>(random() % 2001) / 1000.0f - 1.0f;
  return values;
}

/// 64 rows of random weights with finite scales, as stored or packed.
struct Product {
  static constexpr int kRows = 64;

  Product(DType dtype_, int n_cols_, int n_columns_, bool is_packed)
      : dtype(dtype_), n_cols(n_cols_), n_columns(n_columns_), matmul(cpu::best_isa()), pool(1) {
    std::mt19937 random(2);
    weights.resize(row_bytes(dtype, n_cols) * kRows);
    for (std::byte& b : weights) b = static_cast<std::byte>(random() & 0x3f);
    x = random_values(static_cast<std::size_t>(n_columns) * static_cast<std::size_t>(n_cols));
    out.resize(static_cast<std::size_t>(n_columns) * kRows);
    packed.resize(is_packed ? matmul.packed_bytes(dtype, kRows, n_cols) : 0);
    if (!packed.empty()) matmul.pack_weights(dtype, weights.data(), kRows, n_cols, packed.data(), pool);
  }

  void run() {
    const cpu::MatmulTask task = {dtype,      weights.data(), kRows,
                                  out.data(), kRows,          packed.empty() ? nullptr : packed.data()};
    matmul.run({x.data(), n_cols, n_columns, n_cols}, {&task, 1}, pool);
  }

  DType dtype;
  int n_cols, n_columns;
  cpu::Matmul matmul;
  ThreadPool pool;
  std::vector<std::byte> weights, packed;
  std::vector<float> x, out;
};

/// The bounds that a head's screen gives for 64 outputs.
struct Screen : Product {
  Screen(DType dtype_, int n_cols_, int n_columns_) : Product(dtype_, n_cols_, n_columns_, false) {
    packed.resize(matmul.screen_bytes(dtype, kRows, n_cols));
    matmul.pack_screen(dtype, weights.data(), kRows, n_cols, packed.data(), pool);
  }

  void run() {
    matmul.bounds({x.data(), n_cols, n_columns, n_cols},
                  {dtype, weights.data(), kRows, out.data(), kRows, packed.data()}, pool);
  }
};

/// The last n_rows of a text of n_positions, 4 query heads of 256 on one kv head.
struct Attention {
  static constexpr HeadLayout kHeads = {4, 1, 256};

  Attention(KvType type, int n_positions, int n_rows)
      : kv(type), backend(make_cpu_backend({.n_threads = 1, .isa = ""}).value()) {
    const int n_blocks = (n_positions + 63) / 64;
    std::vector<std::int32_t> blocks;
    for (int i = 0; i < n_blocks; ++i) blocks.push_back(i);
    cache = backend->allocate(backend->kv_block_bytes(kHeads, kv) * static_cast<std::size_t>(n_blocks)).value();
    const auto rows_from = [&](int first) {
      StepShape shape;
      shape.sequences.push_back({0, n_positions - first, first, blocks});
      shape.tokens.resize(static_cast<std::size_t>(n_positions - first));
      return shape;
    };
    const auto values = random_values(static_cast<std::size_t>(n_positions) * 1024);
    q = backend->allocate(values.size() * sizeof(float)).value();
    out = backend->allocate(values.size() * sizeof(float)).value();
    backend->upload(q.ptr(), std::as_bytes(std::span(values)));
    const Rows keys = Rows::dense(q.ptr(), n_positions, 256);
    backend->append_kv(keys, keys, *backend->make_step_index(rows_from(0)), {cache.ptr(), kHeads, kv});
    index = backend->make_step_index(rows_from(n_positions - n_rows));
    rows = n_rows;
  }

  void run() {
    backend->attend(Rows::dense(q.ptr(), rows, 1024), *index, {cache.ptr(), kHeads, kv}, {0.0625f, 0},
                    Rows::dense(out.ptr(), rows, 1024));
  }

  KvType kv;
  int rows = 0;
  std::unique_ptr<Backend> backend;
  DeviceBuffer cache, q, out;
  std::unique_ptr<StepIndex> index;
};

template <typename Kernel, typename... Arguments>
Prepare prepare(Arguments... arguments) {
  return
      [=]() -> std::function<void()> { return [kernel = std::make_shared<Kernel>(arguments...)] { kernel->run(); }; };
}

std::map<std::string, Prepare> all_kernels() {
  std::map<std::string, Prepare> kernels;
  for (DType dtype : {DType::kQ4_1, DType::kQ5_0, DType::kQ8_0, DType::kQ4_K, DType::kQ6_K, DType::kBF16}) {
    const int n_cols = block_size(dtype).n_elements == 256 ? 2048 : 640;
    for (int n_columns : {1, 4, 16, 64}) {
      for (bool is_packed : {false, true}) {
        if (is_packed && !is_quantised(dtype)) continue;
        const std::string name =
            fmt::format("matmul/{}{}/{}", dtype_name(dtype), is_packed ? "_packed" : "", n_columns);
        kernels[name] = prepare<Product>(dtype, n_cols, n_columns, is_packed);
      }
    }
  }
  for (int n_columns : {1, 4}) {
    kernels[fmt::format("screen/Q8_0/{}", n_columns)] = prepare<Screen>(DType::kQ8_0, 640, n_columns);
  }
  for (KvType kv : {KvType::kBF16, KvType::kInt8}) {
    const char* name = kv == KvType::kBF16 ? "bf16" : "int8";
    kernels[fmt::format("attention/{}/decode", name)] = prepare<Attention>(kv, 1000, 1);
    kernels[fmt::format("attention/{}/prefill", name)] = prepare<Attention>(kv, 256, 64);
  }
  return kernels;
}

int run(const std::string& name, const char* times) {
  const auto kernels = all_kernels();
  if (name == "--list") {
    for (const auto& [key, _] : kernels) std::puts(key.c_str());
    return 0;
  }
  int n = 0;
  std::from_chars(times, times + std::strlen(times), n);
  const auto found = kernels.find(name);
  if (found == kernels.end() || n < 1) {
    std::fprintf(stderr, "usage: kernel_once --list | kernel_once NAME TIMES\n");
    return 1;
  }
  const auto kernel = found->second();
  for (int i = 0; i < n; ++i) kernel();
  return 0;
}

}  // namespace
}  // namespace commissure

int main(int argc, char** argv) { return commissure::run(argc > 1 ? argv[1] : "", argc > 2 ? argv[2] : "1"); }
