#include "cloud/console.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "cloud/estimate.h"
#include "terminal/progress.h"

namespace commissure {

namespace {

constexpr std::chrono::seconds kRedraw{1};
constexpr std::chrono::seconds kPlainLine{30};

}  // namespace

CloudConsole::CloudConsole(bool as_json) : as_json_(as_json), on_terminal_(!as_json && isatty(STDERR_FILENO) != 0) {}

CloudReport CloudConsole::report() {
  return {.planned = {},
          .begin = [this](const CloudStep& step) { begin(step); },
          .call = [this](const CloudStep& step, std::size_t index) { call(step, index); },
          .end = [this](const CloudStep& step, bool changed, double seconds) { end(step, changed, seconds); },
          .note = [this](const std::string& text) { note(text); }};
}

void CloudConsole::say(const Json& event, const std::string& text) {
  clear_line();
  if (as_json_) {
    std::printf("%s\n", dump_json(event).c_str());
    std::fflush(stdout);
  } else {
    std::fprintf(stderr, "%s\n", text.c_str());
  }
}

void CloudConsole::clear_line() {
  if (on_terminal_) std::fprintf(stderr, "\r\033[K");
}

void CloudConsole::note(const std::string& text) { say({{"event", "note"}, {"text", text}}, "  " + text); }

void CloudConsole::begin(const CloudStep& step) {
  step_ = &step;
  std::erase_if(expected_, [&](const auto& entry) { return entry.first == step.name; });
  start_ = call_start_ = shown_ = Clock::now();
  last_line_.clear();
  say({{"event", "begin"}, {"step", step.name}, {"why", step.why}, {"differences", step.differences}},
      fmt::format("{}: {}", step.name, step.why));
  if (as_json_) return;
  for (const std::string& difference : step.differences) std::fprintf(stderr, "  %s\n", difference.c_str());
}

void CloudConsole::call(const CloudStep& step, std::size_t index) {
  call_ = index;
  call_start_ = Clock::now();
  if (as_json_) say({{"event", "call"}, {"step", step.name}, {"command", command_line(step.calls[index])}}, "");
}

void CloudConsole::end(const CloudStep& step, bool changed, double seconds) {
  step_ = nullptr;
  const std::string text = changed ? fmt::format("{}: done in {}", step.name, human_seconds(seconds))
                                   : fmt::format("{}: unchanged", step.name);
  say({{"event", "end"}, {"step", step.name}, {"changed", changed}, {"seconds", seconds}}, text);
}

double CloudConsole::later_seconds() const {
  double seconds = more_;
  for (const auto& [name, expected] : expected_) seconds += expected;
  return seconds;
}

/// "image: about 5 min 00 s, weights (91.7 MB): about 10 s, ...; about 8 min 20 s in all".
void CloudConsole::plan(const std::vector<CloudStep>& steps, double more) {
  expected_.clear();
  more_ = more;
  Json list = Json::array();
  std::string text;
  for (const CloudStep& step : steps) {
    if (step.calls.empty()) continue;
    expected_.emplace_back(step.name, usual_seconds(step));
    const std::uint64_t n_bytes = step_progress(step, 0, 0, 0).bytes_all;
    list.push_back({{"step", step.name}, {"seconds", expected_.back().second}, {"bytes", n_bytes}});
    text += (text.empty() ? "" : ", ") + step.name + (n_bytes > 0 ? " (" + human_bytes(n_bytes) + ")" : "");
  }
  if (expected_.empty()) return;
  say({{"event", "plan"}, {"seconds", later_seconds()}, {"steps", list}},
      fmt::format("  to do: {}; about {} in all", text, human_seconds(later_seconds())));
}

/// "weights: call 2 of 5, 1 min 05 s, 1.2 of 6.1 GB at 18.5 MB/s, about 4 min 25 s left, 7 min 40 s in all: gcloud's
/// words".
std::string CloudConsole::progress() const {
  const auto seconds = [](auto duration) { return std::chrono::duration<double>(duration).count(); };
  const auto now = Clock::now();
  const StepProgress done = step_progress(*step_, call_, seconds(call_start_ - start_), seconds(now - call_start_));
  std::string text = step_->name;
  if (step_->calls.size() > 1) text += fmt::format(": call {} of {}", call_ + 1, step_->calls.size());
  text += fmt::format(", {}", human_seconds(seconds(now - start_)));
  if (done.bytes_done > 0) text += fmt::format(", {} of {}", human_bytes(done.bytes_done), human_bytes(done.bytes_all));
  if (done.bytes_done == 0 && done.bytes_all > 0) text += fmt::format(", {}", human_bytes(done.bytes_all));
  if (done.bytes_per_second > 0)
    text += fmt::format(" at {}/s", human_bytes(static_cast<std::uint64_t>(done.bytes_per_second)));
  text += fmt::format(", about {} left, {} in all", human_seconds(done.seconds_left),
                      human_seconds(done.seconds_left + later_seconds()));
  return last_line_.empty() ? text : text + ": " + last_line_;
}

void CloudConsole::tick(std::string_view line) {
  if (step_ == nullptr || as_json_) return;
  if (line.find_first_not_of(" \r\t.-") != std::string_view::npos) last_line_ = line.substr(0, 90);
  const auto now = Clock::now();
  if (now - shown_ < (on_terminal_ ? kRedraw : kPlainLine)) return;
  shown_ = now;
  std::fprintf(stderr, on_terminal_ ? "\r\033[K%s" : "  %s\n", progress().c_str());
  std::fflush(stderr);
}

}  // namespace commissure
