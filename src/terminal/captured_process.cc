#include "terminal/captured_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <utility>
#include <vector>

#include "terminal/stop_signal.h"

extern char** environ;  // NOLINT: POSIX gives it no header

namespace commissure {

namespace {

constexpr int kTickMs = 200;

/// A file descriptor that is closed once.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  ~Descriptor() { close(); }
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    close();
    fd_ = std::exchange(other.fd_, -1);
    return *this;
  }

  int get() const { return fd_; }
  bool open() const { return fd_ >= 0; }
  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_;
};

/// The program's input as a file without a name: it can be read by path (/dev/stdin) and lies in memory only.
Result<Descriptor> input_of(const ProgramCall& call) {
  Descriptor file(memfd_create("input", MFD_CLOEXEC));
  std::size_t written = 0;
  while (file.open() && written < call.input.size()) {
    const ssize_t n = write(file.get(), call.input.data() + written, call.input.size() - written);
    if (n <= 0) break;
    written += static_cast<std::size_t>(n);
  }
  if (!file.open() || written < call.input.size() || lseek(file.get(), 0, SEEK_SET) != 0) {
    return Error(Code::kResourceExhausted, "cannot hold the input of ", call.arguments[0], ": ", std::strerror(errno));
  }
  return file;
}

struct Pipe {
  Descriptor read, write;
};

Result<Pipe> make_pipe() {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return Error(Code::kResourceExhausted, "no pipe: ", std::strerror(errno));
  return Pipe{Descriptor(ends[0]), Descriptor(ends[1])};
}

Result<pid_t> spawn(const ProgramCall& call, const Descriptor& input, const Pipe& out, const Pipe& err) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, input.get(), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out.write.get(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err.write.get(), STDERR_FILENO);
  std::vector<std::string> words = call.arguments;
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_t child = -1;
  const int failure = posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failure == 0) return child;
  if (failure == ENOENT && call.arguments[0] == "gcloud") {
    return Error(Code::kNotFound, "gcloud is not installed: see https://cloud.google.com/sdk/docs/install");
  }
  return Error(Code::kNotFound, "cannot start ", call.arguments[0], ": ", std::strerror(failure));
}

/// Appends what the pipe has; closes it at its end.
void drain(Descriptor& pipe, std::string& text) {
  std::array<char, 16384> piece{};
  const ssize_t n = read(pipe.get(), piece.data(), piece.size());
  if (n > 0) text.append(piece.data(), static_cast<std::size_t>(n));
  if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN)) pipe.close();
}

/// Hands every line that came since `shown` on.
void tell_lines(const std::string& text, std::size_t& shown, const CallTick& tick) {
  while (tick) {
    const auto end = text.find('\n', shown);
    if (end == std::string::npos) return;
    tick(std::string_view(text).substr(shown, end - shown));
    shown = end + 1;
  }
}

Status collect(const ProgramCall& call, Pipe& out, Pipe& err, ProgramAnswer& answer, const CallTick& tick) {
  const auto deadline = std::chrono::steady_clock::now() + call.limit;
  std::size_t shown = 0;
  while (out.read.open() || err.read.open()) {
    TRY(check_stopped());
    if (std::chrono::steady_clock::now() > deadline) {
      return Error(Code::kDeadlineExceeded, "no end after ", call.limit.count(), " s: ", command_line(call));
    }
    std::array<pollfd, 2> wait = {{{out.read.get(), POLLIN, 0}, {err.read.get(), POLLIN, 0}}};
    if (poll(wait.data(), wait.size(), kTickMs) == 0 && tick) tick("");
    if (wait[0].revents != 0) drain(out.read, answer.output);
    if (wait[1].revents != 0) drain(err.read, answer.errors);
    tell_lines(answer.errors, shown, tick);
  }
  return check_stopped();  // the program may have ended by the same signal
}

/// The parent of a process; 0 where it is gone.
pid_t parent_of(const std::string& process) {
  std::ifstream file("/proc/" + process + "/stat");
  std::string text;
  std::getline(file, text, '\0');
  const auto name_end = text.rfind(')');  // the name before it may hold anything
  return name_end == std::string::npos ? 0 : std::atoi(text.c_str() + std::min(name_end + 4, text.size()));
}

/// Ends a program and all that it started: gcloud's uploads and docker's builds run in processes of their own, which
/// would wait for ever for one that is gone.
void end_tree(pid_t root) {
  std::multimap<pid_t, pid_t> children;
  std::error_code problem;
  const std::filesystem::directory_iterator end;
  for (std::filesystem::directory_iterator it("/proc", problem); !problem && it != end; it.increment(problem)) {
    const std::string name = it->path().filename();
    if (std::isdigit(static_cast<unsigned char>(name[0])) != 0)
      children.emplace(parent_of(name), std::atoi(name.c_str()));
  }
  std::vector<pid_t> tree = {root};
  for (std::size_t i = 0; i < tree.size(); ++i) {
    const auto [first, last] = children.equal_range(tree[i]);
    for (auto child = first; child != last; ++child) tree.push_back(child->second);
  }
  for (const pid_t process : tree) kill(process, SIGTERM);
}

int wait_for(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

Result<ProgramAnswer> run_captured(const ProgramCall& call, const CallTick& tick) {
  const Descriptor input = TRY(input_of(call));
  Pipe out = TRY(make_pipe());
  Pipe err = TRY(make_pipe());
  const pid_t child = TRY(spawn(call, input, out, err));
  out.write.close();
  err.write.close();
  ProgramAnswer answer;
  const Status collected = collect(call, out, err, answer, tick);
  if (!collected) end_tree(child);
  answer.status = wait_for(child);
  if (!collected) return Error(collected.error());
  return answer;
}

}  // namespace commissure
