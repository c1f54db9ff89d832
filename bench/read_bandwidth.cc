// Prints how fast all cores together read memory, in GB/s: the limit of single-stream decoding.
// Each thread streams its own part of 1 GiB linearly, asking for lines ahead as the packed kernels do. The best of 25
// passes counts: what else ran on the machine only takes away from a pass.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <span>
#include <vector>

#include "core/thread_pool.h"

namespace {

constexpr std::size_t kBytes = std::size_t{1} << 30;
constexpr int kPasses = 25;

constexpr std::size_t kWordsPerLine = 8;
/// As far as the packed kernels look ahead (matmul_packed.h).
constexpr std::size_t kWordsAhead = 4096 / sizeof(std::uint64_t);

/// Two lines at a time in sums of their own, so that none waits for another.
std::uint64_t sum(std::span<const std::uint64_t> words) {
  std::uint64_t lanes[2 * kWordsPerLine] = {};
  for (std::size_t i = 0; i + 2 * kWordsPerLine <= words.size(); i += 2 * kWordsPerLine) {
    const std::uint64_t* at = words.data() + i;
    __builtin_prefetch(at + kWordsAhead);
    __builtin_prefetch(at + kWordsAhead + kWordsPerLine);
    for (std::size_t lane = 0; lane < 2 * kWordsPerLine; ++lane) lanes[lane] += at[lane];
  }
  return std::accumulate(std::begin(lanes), std::end(lanes), std::uint64_t{0});
}

}  // namespace

int main() {
  void* memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    std::perror("read_bandwidth: 1 GiB");
    return 1;
  }
  madvise(memory, kBytes, MADV_HUGEPAGE);
  std::memset(memory, 1, kBytes);
  const std::span<const std::uint64_t> words(static_cast<const std::uint64_t*>(memory), kBytes / sizeof(std::uint64_t));

  const long n_cores = sysconf(_SC_NPROCESSORS_ONLN);
  commissure::ThreadPool pool(static_cast<int>(n_cores), /*pin=*/true);
  std::vector<std::uint64_t> sums(static_cast<std::size_t>(n_cores) * 16);
  double best = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    const auto start = std::chrono::steady_clock::now();
    pool.run([&](int part, int n_parts) {
      const std::size_t share = words.size() / static_cast<std::size_t>(n_parts);
      sums[static_cast<std::size_t>(part) * 16] += sum(words.subspan(static_cast<std::size_t>(part) * share, share));
    });
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    best = std::max(best, static_cast<double>(kBytes) / seconds / 1e9);
  }
  std::printf("%.2f\n", best);
  return sums[0] == 0 ? 1 : 0;
}
