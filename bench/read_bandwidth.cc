// Prints how fast all cores together read memory, in GB/s: the limit of single-stream decoding.
// Each thread streams its own half of 1 GiB linearly; the median of nine passes counts.
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

/// Eight chains, so that the sum never waits for the add.
std::uint64_t sum(std::span<const std::uint64_t> words) {
  std::uint64_t lanes[32] = {};
  for (std::size_t i = 0; i + 32 <= words.size(); i += 32) {
    for (int lane = 0; lane < 32; ++lane) lanes[lane] += words[i + static_cast<std::size_t>(lane)];
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
  commissure::ThreadPool pool(static_cast<int>(n_cores));
  std::vector<std::uint64_t> sums(static_cast<std::size_t>(n_cores) * 16);
  std::vector<double> rates;
  for (int pass = 0; pass < 9; ++pass) {
    const auto start = std::chrono::steady_clock::now();
    pool.run([&](int part, int n_parts) {
      const std::size_t share = words.size() / static_cast<std::size_t>(n_parts);
      sums[static_cast<std::size_t>(part) * 16] += sum(words.subspan(static_cast<std::size_t>(part) * share, share));
    });
    rates.push_back(kBytes / std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / 1e9);
  }
  std::sort(rates.begin(), rates.end());
  std::printf("%.2f\n", rates[rates.size() / 2]);
  return sums[0] == 0 ? 1 : 0;
}
