#include <zlib.h>

#include <cstring>

#include "core/index.h"
#include "kernels/cuda/cubins.h"

namespace commissure::cuda {

Result<std::vector<unsigned char>> unpacked(const Cubin& cubin) {
  std::uint64_t size = 0;
  const auto n_bytes = to_size(cubin.end - cubin.begin);
  if (n_bytes < sizeof size) return Error(Code::kInternal, "GPU kernels for sm_", cubin.arch, " are cut short");
  std::memcpy(&size, cubin.begin, sizeof size);
  constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 28;
  if (size > kMaxBytes) return Error(Code::kInternal, "GPU kernels for sm_", cubin.arch, " have an impossible length");
  std::vector<unsigned char> code(size);
  uLongf made = size;
  const int error = uncompress(code.data(), &made, cubin.begin + sizeof size, n_bytes - sizeof size);
  if (error != Z_OK || made != size) return Error(Code::kInternal, "GPU kernels for sm_", cubin.arch, " are damaged");
  return code;
}

}  // namespace commissure::cuda
