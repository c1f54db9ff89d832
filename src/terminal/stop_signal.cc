#include "terminal/stop_signal.h"

#include <csignal>
#include <initializer_list>

namespace commissure {
namespace {

volatile std::sig_atomic_t last_signal = 0;
void on_stop(int signal) { last_signal = signal; }

}  // namespace

void catch_stop_signals() {
  struct sigaction action{};
  action.sa_handler = on_stop;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaction(signal, &action, nullptr);
}

int stop_signal() { return last_signal; }

void forget_stop_signal() { last_signal = 0; }

Status check_stopped() {
  if (stop_signal() == 0) return {};
  return Error(Code::kCancelled, "interrupted; the same command goes on from here");
}

}  // namespace commissure
