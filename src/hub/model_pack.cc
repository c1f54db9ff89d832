#include "hub/model_pack.h"

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "hub/open_model.h"
#include "kernels/backend.h"
#include "terminal/progress.h"
#include "weights/pack_file.h"

namespace commissure {

namespace {

namespace fs = std::filesystem;

/// About two seconds of packing.
constexpr std::uintmax_t kSmallModel = std::uintmax_t{1} << 30;

bool is_in_cache(const fs::path& file) {
  std::error_code error;
  const fs::path inside = fs::relative(file, models_dir(), error);
  return !error && !inside.empty() && *inside.begin() != "..";
}

}  // namespace

Result<PackedModel> pack_model(const LocalModel& model) {
  const auto checkpoint = TRY(open_model(model.location, ReadMode::kMap, Vocabulary::kSkip));
  if (!checkpoint->has_files()) {
    return Error(Code::kFailedPrecondition, model.location, ": lies nowhere; write it first (commissure synth)");
  }
  const DecoderSpec spec = TRY(read_decoder_spec(*checkpoint));
  const auto backend = TRY(make_cpu_backend({}));
  return pack_weights(*backend, *checkpoint, spec);
}

void pack_small_model(const LocalModel& model) {
  std::error_code error;
  const std::uintmax_t n_bytes = fs::file_size(model.location, error);
  if (error || n_bytes > kSmallModel || !is_in_cache(model.location)) return;
  const auto backend = make_cpu_backend({});
  if (!backend || (*backend)->packed_layout().empty()) return;
  const auto checkpoint = open_model(model.location, ReadMode::kMap, Vocabulary::kSkip);
  if (!checkpoint) return;
  const std::string layout = (*backend)->packed_layout();
  if (PackFile::open(pack_path(**checkpoint, layout), layout, (*checkpoint)->fingerprint())) return;
  const auto start = std::chrono::steady_clock::now();
  const Result<PackedModel> packed = pack_model(model);
  if (!packed && packed.error().code() == Code::kFailedPrecondition) return;  // no matrix that would gain
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (packed) {
    std::fprintf(stderr, "packed the weights for this CPU, once: %s in %.1f s\n", human_bytes(packed->n_bytes).c_str(),
                 seconds);
  } else {
    std::fprintf(stderr, "the weights stay as they are, which is slower: %s\n", packed.error().message().c_str());
  }
}

}  // namespace commissure
