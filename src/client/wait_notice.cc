#include "client/wait_notice.h"

#include <unistd.h>

#include <cstdio>
#include <utility>

#include "client/stage_table.h"
#include "core/json_fields.h"
#include "core/queue.h"

namespace commissure {

namespace {

constexpr std::chrono::milliseconds kPatience{1000};
constexpr std::chrono::milliseconds kInterval{500};

Result<Json> ask_health(const ApiAddress& endpoint, const std::stop_token& stop) {
  HttpFetch request = page_request(endpoint, "/health");
  request.timeout = std::chrono::milliseconds(1500);
  request.is_cancelled = [&stop] { return stop.stop_requested(); };  // the destructor waits for it
  return parse_json(TRY(http_fetch(request)).body);
}

}  // namespace

std::string awaited_text(const Result<Json>& health) {
  if (!health) return health.error().message();
  const Json* stages = find_member(*health, "stages");
  if (stages == nullptr || !stages->is_array()) return "";
  for (const Json& stage : *stages) {
    if (text_of(stage, "state") == "ready") continue;
    const std::string problem = text_of(stage, "problem");
    return "stage " + text_of(stage, "stage") + ": " + stage_state(stage) + (problem.empty() ? "" : ", " + problem);
  }
  const Json* error = find_member(*health, "error");
  return error == nullptr ? "" : text_of(*error, "message");
}

WaitNotice::WaitNotice(ApiAddress endpoint, Tell tell)
    : endpoint_(std::move(endpoint)),
      tell_(tell),
      on_terminal_(isatty(STDERR_FILENO) != 0),
      thread_([this](const std::stop_token& stop) { watch(stop); }) {}

WaitNotice::~WaitNotice() {
  thread_.request_stop();
  thread_.join();
  shown_.with([&](Shown& shown) { clear(shown); });
}

void WaitNotice::progress() {
  shown_.with([&](Shown& shown) {
    shown.last = Clock::now();
    clear(shown);
  });
}

void WaitNotice::clear(Shown& shown) const {
  if (on_terminal_ && !shown.text.empty()) std::fputs("\r\033[K", stderr);
  shown.text.clear();
}

void WaitNotice::watch(const std::stop_token& stop) {
  BoundedQueue<int> nothing(1);  // waits, and wakes when it is time to stop
  while (!stop.stop_requested()) {
    nothing.pop_for(kInterval, stop);
    const auto waits = [&](const Shown& shown) { return Clock::now() - shown.last >= kPatience; };
    if (stop.stop_requested() || !shown_.with(waits)) continue;
    std::string text = awaited_text(ask_health(endpoint_, stop));
    if (text.empty() && tell_ == Tell::kAlways) text = "all stages are ready and at work";
    shown_.with([&](Shown& shown) {
      if (stop.stop_requested() || !waits(shown) || text == shown.text) return;
      clear(shown);
      if (text.empty()) return;
      std::fprintf(stderr, on_terminal_ ? "\r\033[Kwaiting: %.70s" : "waiting: %s\n", text.c_str());
      std::fflush(stderr);
      shown.text = text;
    });
  }
}

}  // namespace commissure
