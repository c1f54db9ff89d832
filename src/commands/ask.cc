#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <iterator>
#include <memory>

#include "commands/choice.h"
#include "commands/command.h"
#include "commands/conversation.h"

namespace commissure {

namespace {

struct AskOptions {
  AnswerOptions answer;
  std::string prompt;
  bool as_json = false;
};

/// The argument, then what is piped in; both when both are given.
Result<std::string> prompt_of(const AskOptions& options) {
  std::string prompt = options.prompt == "-" ? "" : options.prompt;
  if (prompt.empty() || (isatty(STDIN_FILENO) == 0 && options.prompt == "-")) {
    if (isatty(STDIN_FILENO) != 0)
      return Error(Code::kInvalidArgument, "nothing to ask; give the question as an argument or on standard input");
    prompt.assign(std::istreambuf_iterator<char>(std::cin), {});
    while (!prompt.empty() && prompt.back() == '\n') prompt.pop_back();
  }
  if (prompt.empty()) return Error(Code::kInvalidArgument, "the question is empty");
  return prompt;
}

Result<int> ask(const AskOptions& options) {
  const std::string prompt = TRY(prompt_of(options));
  const ApiAddress endpoint = TRY(find_api(options.answer.api));
  Json request = base_request(options.answer);
  if (TRY(can_chat(endpoint))) {
    request["messages"] = Json::array();
    if (!options.answer.system.empty())
      request["messages"].push_back({{"role", "system"}, {"content", options.answer.system}});
    request["messages"].push_back({{"role", "user"}, {"content", prompt}});
  } else {
    request["prompt"] = prompt;
    if (!request.contains("max_tokens")) request["max_tokens"] = 128;
  }
  const AnswerSummary summary = TRY(stream_answer(endpoint, std::move(request), [&](const std::string& text) {
    if (!options.as_json) {
      std::fputs(text.c_str(), stdout);
      std::fflush(stdout);
    }
    return true;
  }));
  if (options.as_json) {
    const Json result = {{"text", summary.text},
                         {"finish_reason", summary.finish_reason},
                         {"usage", summary.usage},
                         {"first_token_s", summary.first_token_seconds},
                         {"total_s", summary.seconds}};
    std::printf("%s\n", pretty_json(result).c_str());
    return 0;
  }
  std::printf("\n");
  if (isatty(STDERR_FILENO) != 0) std::fprintf(stderr, "%s\n", speed_line(summary).c_str());
  return 0;
}

}  // namespace

CommandRun add_ask(CLI::App& app) {
  auto options = std::make_shared<AskOptions>();
  app.add_option("prompt", options->prompt, "the question; - or nothing reads standard input");
  add_answer_flags(app, options->answer);
  app.add_flag("--json", options->as_json, "print text, usage and times as JSON");
  return [options] { return ask(*options); };
}

}  // namespace commissure
