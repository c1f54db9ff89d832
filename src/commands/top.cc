#include <fmt/format.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <cstdio>
#include <memory>

#include "commands/choice.h"
#include "commands/command.h"
#include "measure/chain_top.h"
#include "terminal/stop_signal.h"

namespace commissure {

namespace {

constexpr std::chrono::milliseconds kInterval{1000};
constexpr std::size_t kWindow = 11;  ///< samples kept: latencies are those of the last ten seconds

/// The terminal while we draw on it: another screen, no cursor, keys without echo. The destructor puts it back.
class Screen {
 public:
  Screen() {
    if (tcgetattr(STDIN_FILENO, &saved_) == 0) {
      termios raw = saved_;
      raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
      raw.c_cc[VSUSP] = _POSIX_VDISABLE;  // a stopped program would leave the terminal like this
      changed_ = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
    }
    std::fputs("\033[?1049h\033[?25l", stdout);
  }
  ~Screen() {
    std::fputs("\033[?25h\033[?1049l", stdout);
    std::fflush(stdout);
    if (changed_) tcsetattr(STDIN_FILENO, TCSANOW, &saved_);
  }
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  /// Draws over the picture before, line by line, so that nothing flickers. What does not fit is left out.
  void draw(std::string_view text) const {
    winsize size{};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) size = {24, 80, 0, 0};
    std::string out = "\033[H";
    int n_lines = 0;
    while (!text.empty() && ++n_lines < size.ws_row) {
      const std::string_view line = text.substr(0, text.find('\n'));
      text.remove_prefix(std::min(text.size(), line.size() + 1));
      out.append(line.substr(0, size.ws_col)).append("\033[K\r\n");
    }
    out += "\033[J";
    std::fputs(out.c_str(), stdout);
    std::fflush(stdout);
  }

 private:
  termios saved_{};
  bool changed_ = false;
};

/// Waits until `until`, a signal, or the key q; true when it is time to leave.
bool wait_for_key(std::chrono::steady_clock::time_point until, bool read_keys) {
  while (stop_signal() == 0) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now()).count();
    if (left <= 0) return false;
    pollfd input{read_keys ? STDIN_FILENO : -1, POLLIN, 0};
    if (poll(&input, 1, static_cast<int>(left)) <= 0) continue;
    char key = 0;
    const ssize_t n = read(STDIN_FILENO, &key, 1);
    if (n <= 0) read_keys = false;  // nobody is there any more
    if (n > 0 && (key == 'q' || key == 'Q')) return true;
  }
  return true;
}

struct TopOptions {
  ApiChoice api;
  bool once = false;
};

Result<int> show_top(const TopOptions& options) {
  const ApiAddress endpoint = TRY(find_api(options.api));
  catch_stop_signals();
  const bool on_terminal = isatty(STDOUT_FILENO) != 0 && !options.once;
  const std::unique_ptr<Screen> screen = on_terminal ? std::make_unique<Screen>() : nullptr;
  const bool read_keys = on_terminal && isatty(STDIN_FILENO) != 0;
  std::deque<ChainSample> samples;
  for (bool first = true;; first = false) {
    samples.push_back(sample_chain(endpoint));
    if (samples.size() > kWindow) samples.pop_front();
    const ChainSample& now = samples.back();
    if (options.once && now.health.is_null()) return Error(Code::kUnavailable, now.problem);
    if (screen) {
      screen->draw(top_text(endpoint.url, samples) + "\nq leaves");
    } else if (!first) {  // rates need two samples
      fmt::print("{}\n", top_text(endpoint.url, samples));
      std::fflush(stdout);
    }
    if (options.once && !first) return now.problem.empty() ? 0 : 1;
    if (wait_for_key(now.at + kInterval, read_keys)) return 0;
  }
}

}  // namespace

CommandRun add_top(CLI::App& app) {
  auto options = std::make_shared<TopOptions>();
  add_api_flags(app, options->api);
  app.add_flag("--once", options->once, "watch for one second, print that, and end");
  return [options] { return show_top(*options); };
}

}  // namespace commissure
