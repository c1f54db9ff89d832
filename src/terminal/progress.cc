#include "terminal/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <utility>

namespace commissure {

std::string human_bytes(std::uint64_t n_bytes) {
  static constexpr std::array<const char*, 5> kUnits = {"B", "KB", "MB", "GB", "TB"};
  double value = static_cast<double>(n_bytes);
  std::size_t unit = 0;
  while (value >= 999.95 && unit + 1 < kUnits.size()) {
    value /= 1000;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", n_bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string human_seconds(double seconds) {
  if (seconds < 0.95) return fmt::format("{:.2f} s", seconds);
  if (seconds < 60) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<long>(seconds);
  if (whole >= 3600) return fmt::format("{} h {:02} min", whole / 3600, whole / 60 % 60);
  return fmt::format("{} min {:02} s", whole / 60, whole % 60);
}

std::string time_left(std::uint64_t done, std::uint64_t total, double elapsed) {
  constexpr double kFirstGuess = 2;            // seconds
  constexpr double kLongestGuess = 24 * 3600;  // beyond, the rate is a hiccup and no rate
  if (done >= total || done == 0 || elapsed < kFirstGuess ||
      static_cast<double>(done) < 0.005 * static_cast<double>(total))
    return "";
  const double left = static_cast<double>(total - done) * elapsed / static_cast<double>(done);
  return left < kLongestGuess ? human_seconds(left) : "";
}

ProgressLine::ProgressLine(std::string what, std::uint64_t total, ProgressUnit unit)
    : what_(std::move(what)), total_(total), unit_(unit), on_terminal_(isatty(STDERR_FILENO) != 0) {}

ProgressLine::~ProgressLine() {
  if (!finished_ && on_terminal_ && last_shown_ != Clock::time_point{}) std::fputc('\n', stderr);
}

std::string ProgressLine::amount(std::uint64_t n) const {
  return unit_ == ProgressUnit::kBytes ? human_bytes(n) : std::to_string(n);
}

std::string ProgressLine::line(std::uint64_t done, double elapsed) const {
  const double rate = elapsed > 0 ? static_cast<double>(done) / elapsed : 0;
  std::string text = fmt::format("{}: {}", what_, amount(done));
  if (total_ > 0) {
    text += fmt::format(" of {} ({}%)", amount(total_), done * 100 / total_);
  }
  text += unit_ == ProgressUnit::kBytes ? fmt::format(", {}/s", human_bytes(static_cast<std::uint64_t>(rate)))
                                        : fmt::format(", {:.1f}/s", rate);
  if (const std::string left = time_left(done, total_, elapsed); !left.empty()) text += ", " + left + " left";
  return text;
}

void ProgressLine::update(std::uint64_t done) {
  done_ = done;
  const auto now = Clock::now();
  const auto interval = on_terminal_ ? std::chrono::milliseconds(150) : std::chrono::milliseconds(2000);
  const auto since = last_shown_ == Clock::time_point{} ? now - start_ : now - last_shown_;
  if (since < interval) return;
  last_shown_ = now;
  const std::string text = line(done, std::chrono::duration<double>(now - start_).count());
  if (on_terminal_) {
    std::fprintf(stderr, "\r\033[K%s", text.c_str());
    std::fflush(stderr);
  } else {
    std::fprintf(stderr, "%s\n", text.c_str());
  }
}

void ProgressLine::hide() {
  if (!on_terminal_ || last_shown_ == Clock::time_point{}) return;
  std::fputs("\r\033[K", stderr);
  last_shown_ = {};
}

void ProgressLine::finish() {
  finished_ = true;
  const double elapsed = std::chrono::duration<double>(Clock::now() - start_).count();
  const std::string text = fmt::format("{}: {} in {}", what_, amount(done_), human_seconds(elapsed));
  std::fprintf(stderr, on_terminal_ ? "\r\033[K%s\n" : "%s\n", text.c_str());
}

}  // namespace commissure
