#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <iostream>
#include <memory>

#include "commands/choice.h"
#include "commands/command.h"
#include "commands/conversation.h"

namespace commissure {

namespace {

// Set by Ctrl-C; the stream in progress ends at its next piece.
std::atomic<bool> interrupted{false};

void on_interrupt(int) { interrupted = true; }

constexpr const char* kHelp =
    "/clear  forget the conversation     /system TEXT  set the system message\n"
    "/bye    leave (also Ctrl-D)         Ctrl-C        stop the answer\n";

class Chat {
 public:
  Chat(ApiAddress endpoint, AnswerOptions options) : endpoint_(std::move(endpoint)), options_(std::move(options)) {
    clear();
  }

  Result<int> run() {
    std::fprintf(stderr, "Chatting with %s. /help lists commands, Ctrl-D leaves.\n", endpoint_.url.c_str());
    std::string line;
    while (prompt(line)) {
      if (line.empty()) continue;
      if (line == "/bye" || line == "/exit" || line == "/quit") break;
      if (line[0] == '/') {
        command(line);
      } else {
        answer(line);
      }
    }
    return 0;
  }

 private:
  bool prompt(std::string& line) {
    if (isatty(STDIN_FILENO) != 0) {
      std::fputs("\n> ", stdout);
      std::fflush(stdout);
    }
    return static_cast<bool>(std::getline(std::cin, line));
  }

  void clear() {
    messages_ = Json::array();
    if (!options_.system.empty()) messages_.push_back({{"role", "system"}, {"content", options_.system}});
  }

  void command(const std::string& line) {
    if (line == "/clear") {
      clear();
    } else if (line.starts_with("/system ")) {
      options_.system = line.substr(8);
      clear();
    } else {
      std::fputs(kHelp, stderr);
    }
  }

  void answer(const std::string& question) {
    messages_.push_back({{"role", "user"}, {"content", question}});
    Json request = base_request(options_);
    request["messages"] = messages_;
    interrupted = false;
    const auto summary = stream_answer(endpoint_, std::move(request), [](const std::string& text) {
      std::fputs(text.c_str(), stdout);
      std::fflush(stdout);
      return !interrupted.load();
    });
    std::fputc('\n', stdout);
    if (!summary) {
      std::fprintf(stderr, "%s\n", summary.error().message().c_str());
      messages_.erase(messages_.size() - 1);
      return;
    }
    messages_.push_back({{"role", "assistant"}, {"content", summary->text}});
    if (isatty(STDERR_FILENO) != 0) std::fprintf(stderr, "\033[2m%s\033[0m\n", speed_line(*summary).c_str());
  }

  const ApiAddress endpoint_;
  AnswerOptions options_;
  Json messages_;
};

Result<int> chat(const AnswerOptions& options) {
  ApiAddress endpoint = TRY(find_api(options.api));
  if (!TRY(can_chat(endpoint))) {
    return Error(Code::kFailedPrecondition,
                 "this model has no chat template; it completes text: commissure ask \"Once upon a time\"");
  }
  struct sigaction action{};
  action.sa_handler = on_interrupt;  // no SA_RESTART: a waiting getline returns
  sigaction(SIGINT, &action, nullptr);
  return Chat(std::move(endpoint), options).run();
}

}  // namespace

CommandRun add_chat(CLI::App& app) {
  auto options = std::make_shared<AnswerOptions>();
  add_answer_flags(app, *options);
  return [options] { return chat(*options); };
}

}  // namespace commissure
