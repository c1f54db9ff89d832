#include "apps/cloud_console.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "apps/progress.h"

namespace commissure {

namespace {

constexpr std::chrono::seconds kRedraw{1};
constexpr std::chrono::seconds kPlainLine{30};

}  // namespace

CloudConsole::CloudConsole(bool as_json) : as_json_(as_json), on_terminal_(!as_json && isatty(STDERR_FILENO) != 0) {}

CloudReport CloudConsole::report() {
  return {.begin = [this](const CloudStep& step) { begin(step); },
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
  step_ = step.name;
  n_calls_ = step.calls.size();
  start_ = shown_ = Clock::now();
  last_line_.clear();
  say({{"event", "begin"}, {"step", step.name}, {"why", step.why}, {"differences", step.differences}},
      fmt::format("{}: {}", step.name, step.why));
  if (as_json_) return;
  for (const std::string& difference : step.differences) std::fprintf(stderr, "  %s\n", difference.c_str());
}

void CloudConsole::call(const CloudStep& step, std::size_t index) {
  call_ = index;
  if (as_json_) say({{"event", "call"}, {"step", step.name}, {"command", command_line(step.calls[index])}}, "");
}

void CloudConsole::end(const CloudStep& step, bool changed, double seconds) {
  step_.clear();
  const std::string text = changed ? fmt::format("{}: done in {}", step.name, human_seconds(seconds))
                                   : fmt::format("{}: unchanged", step.name);
  say({{"event", "end"}, {"step", step.name}, {"changed", changed}, {"seconds", seconds}}, text);
}

/// "weights: call 2 of 5, 1 min 05 s, about 1 min 40 s left: gcloud's words".
std::string CloudConsole::progress() const {
  const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
  std::string text = step_;
  if (n_calls_ > 1) text += fmt::format(": call {} of {}", call_ + 1, n_calls_);
  text += fmt::format(", {}", human_seconds(seconds));
  if (call_ > 0) {
    const double left = seconds / static_cast<double>(call_) * static_cast<double>(n_calls_ - call_);
    text += fmt::format(", about {} left", human_seconds(left));
  }
  return last_line_.empty() ? text : text + ": " + last_line_;
}

void CloudConsole::tick(std::string_view line) {
  if (step_.empty() || as_json_) return;
  if (line.find_first_not_of(" \r\t.-") != std::string_view::npos) last_line_ = line.substr(0, 90);
  const auto now = Clock::now();
  if (now - shown_ < (on_terminal_ ? kRedraw : kPlainLine)) return;
  shown_ = now;
  std::fprintf(stderr, on_terminal_ ? "\r\033[K%s" : "  %s\n", progress().c_str());
  std::fflush(stderr);
}

}  // namespace commissure
