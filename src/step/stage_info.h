#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "step/stage_plan.h"

namespace commissure {

enum class LoadState { kCold, kLoading, kReady, kFailed, kUnreachable };
std::string_view load_state_name(LoadState state);

/// What a stage says of itself in the handshake, in `status` and in /health.
struct StageInfo {
  std::string model;  ///< model name, for people
  /// Hash over config and tensor table, equal on all stages of a chain; behind a "+" how this stage quantises.
  std::string fingerprint;
  StagePlan plan;
  std::string precision;  ///< numeric mode of the whole chain: "fast" or "exact"
  std::string kv_dtype;   ///< how the whole chain stores keys and values: "bf16" or "int8"
  std::string device;     ///< "cpu"
  std::string isa;        ///< kernels in use: "amx", "avx512", "avx2", "generic", "reference"
  int d_model = 0;
  int row_width = 0;                 ///< values in a row that it takes from the stage before; 0: d_model
  std::int32_t n_kv_blocks = 0;      ///< capacity in blocks of kBlockPositions; no stage has less than the first
  std::int32_t n_window_blocks = 0;  ///< capacity for layers with a sliding window; 0: the model has no such layers
  std::int32_t n_states = 0;         ///< sequences at once whose recurrent states it keeps; 0: the model has none
  std::int32_t max_rows = 0;         ///< rows a step may have at most

  LoadState state = LoadState::kCold;
  std::string problem;                  ///< why it failed or is not reachable; empty when well
  std::uint64_t weight_bytes = 0;       ///< bytes of this stage's own tensors
  std::uint64_t loaded_bytes = 0;       ///< bytes of weight_bytes that are loaded so far
  std::uint64_t source_bytes_read = 0;  ///< bytes asked from the byte sources, header included
  std::uint64_t resident_bytes = 0;     ///< resident memory of the process
  std::uint64_t private_bytes = 0;      ///< bytes of resident_bytes that are private to the process
  std::int64_t load_ms = 0;
  std::int64_t pid = 0;

  bool operator==(const StageInfo&) const = default;
};

/// A fingerprint without what stands behind its "+".
std::string_view model_fingerprint(std::string_view fingerprint);

/// Checks that `after` continues `before`: same model, precision, KV type and width, adjoining layers and indices, and
/// room for the blocks and rows that `before` counts on. Errors: kFailedPrecondition, naming both sides.
Status validate_neighbours(const StageInfo& before, const StageInfo& after);

/// Checks that `stages` form one chain: same fingerprint, precision and KV type, layer ranges without gap or overlap,
/// first to last. Errors: kFailedPrecondition, naming both sides.
Status validate_chain(const std::vector<StageInfo>& stages);

}  // namespace commissure
