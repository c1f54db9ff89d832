// What the wire costs: the time of one step through stages A, B and C in three processes, with nothing computed.
//
//   wire_bench [rows] [d_model] [steps] [tcp]
//
// Every stage hands the step to a thread of its own and back, as a real one does. Prints microseconds per step, and how
// often the threads of each process slept and were woken for it, which does not depend on what else the machine does.

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "core/log.h"
#include "support/fake_stage.h"

namespace commissure {
namespace {

using Clock = std::chrono::steady_clock;

struct Settings {
  int n_rows = 1;
  int d_model = 576;
  int n_steps = 20'000;
  bool tcp = false;
};

StageInfo info_of(const Settings& settings, int index) {
  StageInfo info = fake_info(index, 3, settings.d_model);
  info.max_rows = settings.n_rows;
  return info;
}

/// Runs a stage in a child process that ends with this one.
pid_t fork_stage(const Settings& settings, int index, const Endpoint& listen, std::optional<Endpoint> next) {
  const pid_t child = fork();
  if (child != 0) return child;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  configure_log(LogFormat::kText, Severity::kError, "stage");
  const FakeProcess process(info_of(settings, index), listen, next);
  pause();
  _exit(0);
}

StageInput step_of(const Settings& settings, std::uint64_t id) {
  SequenceRows rows{SequenceId(id), 0, std::vector<TokenId>(settings.n_rows), 0, {}, true, {}, {}};
  rows.new_blocks.resize(static_cast<std::size_t>((settings.n_rows + kBlockPositions - 1) / kBlockPositions));
  return {{StepId(id), {rows}, {SequenceId(id - 1)}}, {}};
}

int measure(const Settings& settings, const Endpoint& b) {
  FakeLocalLink local(info_of(settings, 0));
  GrpcLink link(fake_link_options(b, [&] { return info_of(settings, 0); }));
  ChainLink chain(local, link);
  BoundedQueue<Result<StageOutput>> answers(4);
  chain.start([&](Result<StageOutput> output) { answers.push(std::move(output)); });
  for (int waits = 0; !chain.health() && waits < 5000; ++waits) answers.pop_for(std::chrono::milliseconds(1));

  std::vector<double> us;
  for (int i = 0; i < settings.n_steps; ++i) {
    const Clock::time_point begin = Clock::now();
    const Status accepted = chain.submit(step_of(settings, static_cast<std::uint64_t>(i) + 1));
    const auto answer = accepted ? answers.pop() : std::nullopt;
    if (!answer || !*answer) {
      fmt::print(stderr, "step {}: {}\n", i, accepted ? answer->error().message() : accepted.error().message());
      return 1;
    }
    us.push_back(std::chrono::duration<double, std::micro>(Clock::now() - begin).count());
  }
  chain.stop();
  us.erase(us.begin(), us.begin() + static_cast<long>(us.size() / 10));  // warm-up
  std::sort(us.begin(), us.end());
  fmt::print("rows {} d_model {} {}: p50 {:.0f} us, p99 {:.0f} us, min {:.0f} us over {} steps\n", settings.n_rows,
             settings.d_model, settings.tcp ? "tcp" : "unix", us[us.size() / 2], us[us.size() * 99 / 100], us.front(),
             us.size());
  return 0;
}

/// What a process used for every step, as it ends.
void print_use(const char* stage, const rusage& use, int n_steps) {
  const double cpu_us = 1e6 * static_cast<double>(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
                        static_cast<double>(use.ru_utime.tv_usec + use.ru_stime.tv_usec);
  fmt::print("stage {}: {:.1f} wake-ups and {:.0f} us of CPU a step\n", stage,
             static_cast<double>(use.ru_nvcsw) / n_steps, cpu_us / n_steps);
}

int run(const Settings& settings) {
  const SocketDir dir;
  const Endpoint b = settings.tcp ? *parse_endpoint("127.0.0.1:47611") : dir.endpoint("b");
  const Endpoint c = settings.tcp ? *parse_endpoint("127.0.0.1:47612") : dir.endpoint("c");
  // Before the first use of gRPC here: it does not survive a fork.
  const std::pair<const char*, pid_t> children[] = {{"c", fork_stage(settings, 2, c, {})},
                                                    {"b", fork_stage(settings, 1, b, c)}};
  configure_log(LogFormat::kText, Severity::kError, "stage a");
  const int status = measure(settings, b);
  rusage use{};
  getrusage(RUSAGE_SELF, &use);
  print_use("a", use, settings.n_steps);
  for (const auto& [stage, child] : children) {
    kill(child, SIGTERM);
    wait4(child, nullptr, 0, &use);
    print_use(stage, use, settings.n_steps);
  }
  return status;
}

}  // namespace
}  // namespace commissure

int main(int argc, char** argv) {
  commissure::Settings settings;
  if (argc > 1) settings.n_rows = std::max(1, std::atoi(argv[1]));
  if (argc > 2) settings.d_model = std::max(1, std::atoi(argv[2]));
  if (argc > 3) settings.n_steps = std::max(10, std::atoi(argv[3]));
  settings.tcp = argc > 4 && std::string_view(argv[4]) == "tcp";
  return commissure::run(settings);
}
