#include "kernels/low_rank.h"

namespace commissure {

Result<std::unique_ptr<LowRank>> Backend::load_low_rank(const LowRankSource&) {
  return Error(Code::kUnimplemented, "the device \"", info().device, "\" takes no adapters; stages on CPUs do");
}

void Backend::add_low_rank(Rows, std::span<const LowRankJob> jobs) { CHECK(jobs.empty()); }

}  // namespace commissure
