#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "client/wait_notice.h"
#include "commands/choice.h"
#include "commands/command.h"
#include "commands/conversation.h"
#include "commands/image_part.h"
#include "terminal/line_editor.h"
#include "terminal/word_wrap.h"

namespace commissure {

namespace {

// Set by Ctrl-C while an answer comes; at the prompt it is a key.
std::atomic<bool> interrupted{false};

void on_interrupt(int) { interrupted = true; }

constexpr const char* kHelp =
    "/clear  forget the conversation     /system TEXT  set the system message\n"
    "/image FILE  show it with the next question\n"
    "/bye    leave (also Ctrl-D)         Ctrl-C        stop the answer, or drop the line\n"
    "A paste of several lines is one question. A line that begins with a space is never a command.\n";

class Chat {
 public:
  Chat(ApiAddress endpoint, AnswerOptions options)
      : endpoint_(std::move(endpoint)), options_(std::move(options)), editor_("> ") {
    clear();
  }

  Result<int> run() {
    const std::string model = served_model(endpoint_);
    std::fprintf(stderr, "%s at %s. /help lists commands, Ctrl-D leaves.\n", model.empty() ? "Chatting" : model.c_str(),
                 endpoint_.url.c_str());
    bool warned = false;
    for (;;) {
      if (is_interactive_) std::fputc('\n', stdout);
      std::fflush(stdout);
      const LineEditor::Line line = editor_.read();
      if (line.end == LineEditor::End::kClosed) return leave();
      if (line.end == LineEditor::End::kInterrupted) {
        if (warned && line.text.empty()) return leave();
        warned = line.text.empty();
        if (!warned) continue;  // only a line was dropped
        std::fputs("Ctrl-C once more, Ctrl-D or /bye leaves.\n", stderr);
        continue;
      }
      warned = false;
      const std::string& text = line.text;
      if (text.find_first_not_of(" \t\n") == std::string::npos) continue;
      if (text == "/bye" || text == "/exit" || text == "/quit") return 0;
      if (text[0] == '/') {
        command(text);
      } else {
        answer(text);
      }
    }
  }

 private:
  int leave() const {
    if (is_interactive_) std::fputc('\n', stdout);
    return 0;
  }

  void clear() {
    images_ = messages_ = Json::array();
    if (!options_.system.empty()) messages_.push_back({{"role", "system"}, {"content", options_.system}});
  }

  void command(const std::string& line) {
    const std::string word = line.substr(0, line.find_first_of(" \n"));
    if (word == "/clear") {
      clear();
      std::fputs("The conversation is forgotten.\n", stderr);
    } else if (word == "/system" && line.size() > word.size() + 1) {
      options_.system = line.substr(word.size() + 1);
      clear();
    } else if (word == "/image" && line.size() > word.size() + 1) {
      auto part = image_part(line.substr(word.size() + 1));
      if (part) images_.push_back(std::move(*part));
      std::fprintf(stderr, "%s\n", part ? "The next question shows it." : part.error().message().c_str());
    } else if (word == "/image") {
      std::fputs("/image FILE shows a JPEG, PNG, WebP, GIF or BMP file with the next question\n", stderr);
    } else if (word == "/help" || word == "/?") {
      std::fputs(kHelp, stderr);
    } else if (word == "/system") {
      std::fputs("/system TEXT sets the system message\n", stderr);
    } else {
      std::fprintf(stderr, "There is no command %s; /help lists them.\n", word.c_str());
    }
  }

  void answer(const std::string& question) {
    const Json images = std::exchange(images_, Json::array());
    messages_.push_back(user_message(question, images));
    const auto take_back = [&] {  // as if it had not been asked
      messages_.erase(messages_.size() - 1);
      images_ = images;
    };
    Json request = base_request(options_);
    request["messages"] = messages_;
    interrupted = false;
    const auto is_stopped = [] { return interrupted.load(); };
    WordWrap wrap(terminal_width());
    std::optional<WaitNotice> notice(std::in_place, endpoint_, WaitNotice::Tell::kAlways);
    const auto show = [](const std::string& text) {
      std::fputs(text.c_str(), stdout);
      std::fflush(stdout);
    };
    ThoughtsShown thoughts;
    const auto summary = stream_answer(
        endpoint_, std::move(request),
        [&](const std::string& text) {
          notice->progress();
          thoughts.end();
          show(is_interactive_ ? wrap.push(text) : text);
          return !is_stopped();
        },
        is_stopped,
        [&](const std::string& thought) {
          notice->progress();
          thoughts.push(thought);
        });
    thoughts.end();
    notice.reset();
    show(wrap.finish() + "\n");
    if (!summary) {
      std::fprintf(stderr, "%s\n", summary.error().message().c_str());
      take_back();
      return;
    }
    if (summary->text.empty()) {  // stopped before the first word
      take_back();
    } else {
      messages_.push_back({{"role", "assistant"}, {"content", summary->text}});
    }
    if (const std::string note = cut_note(*summary); !note.empty()) std::fprintf(stderr, "%s\n", note.c_str());
    if (summary->finish_reason == "cancelled") {
      std::fputs("(stopped)\n", stderr);
    } else if (isatty(STDERR_FILENO) != 0) {
      std::fprintf(stderr, "\033[2m%s\033[0m\n", speed_line(*summary).c_str());
    }
  }

  const ApiAddress endpoint_;
  AnswerOptions options_;
  LineEditor editor_;
  Json messages_;
  Json images_;  // of the next question
  const bool is_interactive_ = isatty(STDIN_FILENO) != 0 && isatty(STDOUT_FILENO) != 0;
};

Result<int> chat(const AnswerOptions& options) {
  ApiAddress endpoint = TRY(find_api(options.api));
  bool can = false;
  {
    const WaitNotice notice(endpoint, WaitNotice::Tell::kTrouble);
    can = TRY(can_chat(endpoint));
  }
  if (!can) {
    return Error(Code::kFailedPrecondition,
                 "this model has no chat template; it completes text: commissure ask \"Once upon a time\"");
  }
  struct sigaction action{};
  action.sa_handler = on_interrupt;
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
