#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <iterator>
#include <memory>
#include <optional>
#include <vector>

#include "client/wait_notice.h"
#include "commands/choice.h"
#include "commands/command.h"
#include "commands/conversation.h"
#include "commands/image_part.h"
#include "terminal/stop_signal.h"

namespace commissure {

namespace {

struct AskOptions {
  AnswerOptions answer;
  std::string prompt;
  std::vector<std::string> images;  ///< files
  bool as_json = false;
};

/// Whether something was piped in: a terminal, /dev/null or a socket that somebody left open is nothing.
bool has_piped_input() {
  struct stat input{};
  if (fstat(STDIN_FILENO, &input) != 0) return false;
  return S_ISREG(input.st_mode) || S_ISFIFO(input.st_mode);
}

/// All of standard input; says that it waits for it, since nobody may ever write or close it.
std::string read_input() {
  pollfd input{STDIN_FILENO, POLLIN, 0};
  if (poll(&input, 1, 1000) == 0) std::fputs("waiting: reading standard input; </dev/null gives none\n", stderr);
  std::string text(std::istreambuf_iterator<char>(std::cin), {});
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

/// The argument and what is piped in; with both the question goes first.
Result<std::string> prompt_of(const AskOptions& options) {
  std::string prompt = options.prompt == "-" ? "" : options.prompt;
  if (prompt.empty()) {
    if (isatty(STDIN_FILENO) != 0)
      return Error(Code::kInvalidArgument, "nothing to ask; give the question as an argument or on standard input");
    prompt = read_input();
  } else if (has_piped_input()) {
    if (const std::string input = read_input(); !input.empty()) prompt += "\n\n" + input;
  }
  if (prompt.empty()) return Error(Code::kInvalidArgument, "the question is empty");
  return prompt;
}

/// As a shell counts a program that a signal ended: 130 after Ctrl-C.
int exit_status(const AnswerSummary& summary) { return summary.finish_reason == "cancelled" ? 128 + stop_signal() : 0; }

Result<int> ask(const AskOptions& options) {
  const std::string prompt = TRY(prompt_of(options));
  Json images = Json::array();
  for (const std::string& path : options.images) images.push_back(TRY(image_part(path)));
  const ApiAddress endpoint = TRY(find_api(options.answer.api));
  Json request = base_request(options.answer);
  std::optional<WaitNotice> notice(std::in_place, endpoint, WaitNotice::Tell::kAlways);
  if (TRY(can_chat(endpoint))) {
    request["messages"] = Json::array();
    if (!options.answer.system.empty())
      request["messages"].push_back({{"role", "system"}, {"content", options.answer.system}});
    request["messages"].push_back(user_message(prompt, images));
  } else if (!images.empty()) {
    return Error(Code::kFailedPrecondition, "this model has no chat template; it takes no images");
  } else {
    request["prompt"] = prompt;
    if (!request.contains("max_tokens")) request["max_tokens"] = 128;
  }
  catch_stop_signals();  // so that the server hears that nobody waits any more, and the terminal is left tidy
  const auto is_stopped = [] { return stop_signal() != 0; };
  ThoughtsShown thoughts;
  const auto show_thought = [&](const std::string& text) {
    notice->progress();
    if (!options.as_json) thoughts.push(text);
  };
  const auto show = [&](const std::string& text) {
    notice->progress();
    thoughts.end();
    if (!options.as_json) {
      std::fputs(text.c_str(), stdout);
      std::fflush(stdout);
    }
    return true;
  };
  const AnswerSummary summary = TRY(stream_answer(endpoint, std::move(request), show, is_stopped, show_thought));
  thoughts.end();
  notice.reset();
  if (options.as_json) {
    const Json result = {{"text", summary.text},
                         {"reasoning", summary.thoughts},
                         {"finish_reason", summary.finish_reason},
                         {"usage", summary.usage},
                         {"first_token_s", summary.first_token_seconds},
                         {"total_s", summary.seconds}};
    std::printf("%s\n", pretty_json(result).c_str());
    return exit_status(summary);
  }
  if (summary.finish_reason != "cancelled" || !summary.text.empty()) std::printf("\n");
  std::fflush(stdout);
  if (summary.finish_reason == "cancelled") {
    std::fputs("(stopped)\n", stderr);
    return exit_status(summary);
  }
  if (const std::string note = cut_note(summary); !note.empty()) std::fprintf(stderr, "%s\n", note.c_str());
  if (isatty(STDERR_FILENO) != 0) std::fprintf(stderr, "%s\n", speed_line(summary).c_str());
  return 0;
}

}  // namespace

CommandRun add_ask(CLI::App& app) {
  auto options = std::make_shared<AskOptions>();
  app.add_option("prompt", options->prompt, "the question, before what is piped in; - or nothing: only that");
  app.add_option("--image", options->images,
                 "a JPEG, PNG, WebP, GIF or BMP file that the question is about; repeatable")
      ->type_name("FILE")
      ->allow_extra_args(false);
  add_answer_flags(app, options->answer);
  app.add_flag("--json", options->as_json, "print text, usage and times as JSON");
  return [options] { return ask(*options); };
}

}  // namespace commissure
