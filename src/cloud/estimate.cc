#include "cloud/estimate.h"

#include <algorithm>

namespace commissure {

namespace {

constexpr double kUploadBytesPerSecond = 12.5e6;  // a line of 100 Mbit/s
constexpr double kBuildBytesPerSecond = 100e6;    // from the hub through a build into the bucket
constexpr double kBuildSeconds = 300;             // compiles the program on Google's small build machine
constexpr double kFetchSeconds = 60;              // a build that compiles nothing: queue, images of its steps
constexpr double kDeploySeconds = 60;
constexpr double kEnableSeconds = 20;
constexpr double kCallSeconds = 3;

bool has_words(const ProgramCall& call, const char* first, const char* second) {
  return call.arguments.size() > 2 && call.arguments[1] == first && call.arguments[2] == second;
}

}  // namespace

double usual_seconds(const ProgramCall& call) {
  const auto n_bytes = static_cast<double>(call.n_bytes);
  if (has_words(call, "storage", "cp")) return kCallSeconds + n_bytes / kUploadBytesPerSecond;
  if (has_words(call, "run", "deploy")) return kDeploySeconds;
  if (has_words(call, "services", "enable")) return kEnableSeconds;
  if (call.arguments.size() > 1 && call.arguments[1] == "build") return kBuildSeconds;  // on this machine
  if (!has_words(call, "builds", "submit")) return kCallSeconds;
  const bool compiles = std::ranges::find(call.arguments, "--no-source") == call.arguments.end();
  return (compiles ? kBuildSeconds : kFetchSeconds) + n_bytes / kBuildBytesPerSecond;
}

double usual_seconds(const CloudStep& step) {
  double seconds = 0;
  for (const ProgramCall& call : step.calls) seconds += usual_seconds(call);
  return seconds;
}

StepProgress step_progress(const CloudStep& step, std::size_t call, double before, double running) {
  StepProgress progress;
  double usual_done = 0, usual_left = 0;
  for (std::size_t i = 0; i < step.calls.size(); ++i) {
    progress.bytes_all += step.calls[i].n_bytes;
    if (i < call) progress.bytes_done += step.calls[i].n_bytes;
    (i < call ? usual_done : usual_left) += usual_seconds(step.calls[i]);
  }
  double left = usual_left;
  if (progress.bytes_done > 0 && before > 0) {
    progress.bytes_per_second = static_cast<double>(progress.bytes_done) / before;
    left = static_cast<double>(progress.bytes_all - progress.bytes_done) / progress.bytes_per_second;
  } else if (usual_done > 0) {
    left *= before / usual_done;
  }
  progress.seconds_left = std::max(0.0, left - running);
  return progress;
}

}  // namespace commissure
