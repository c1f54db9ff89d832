// Reads an object (gs://, http(s):// or a file) the way a stage reads its tensors, one range after the other, and
// prints MB/s.
//   source_bench LOCATION [MIB_PER_READ = 64]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "weights/byte_source.h"

namespace commissure {
namespace {

/// Bytes per second over the whole object.
Result<double> measure(const std::string& location, std::uint64_t bytes_per_read) {
  const auto source = TRY(open_byte_source(location, ReadMode::kRead));
  const auto start = std::chrono::steady_clock::now();
  for (std::uint64_t at = 0; at < source->size(); at += bytes_per_read) {
    TRY(source->read(at, std::min(bytes_per_read, source->size() - at)));
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  return static_cast<double>(source->size()) / seconds.count();
}

}  // namespace
}  // namespace commissure

int main(int argc, char** argv) {
  const long mebibytes = argc > 2 ? std::atol(argv[2]) : 64;
  if (argc < 2 || argc > 3 || mebibytes < 1) {
    std::fprintf(stderr, "usage: source_bench LOCATION [MIB_PER_READ]\n");
    return 2;
  }
  const auto rate = commissure::measure(argv[1], static_cast<std::uint64_t>(mebibytes) << 20);
  if (!rate) {
    std::fprintf(stderr, "source_bench: %s\n", rate.error().message().c_str());
    return 1;
  }
  std::printf("%.1f\n", *rate / 1e6);
  return 0;
}
