#include "commands/conversation.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <utility>

#include "terminal/progress.h"

namespace commissure {

void add_answer_flags(CLI::App& app, AnswerOptions& options) {
  add_api_flags(app, options.api);
  app.add_option("--system", options.system, "system message");
  app.add_option("--max-tokens", options.max_tokens, "at most this many tokens")->check(CLI::PositiveNumber);
  app.add_option("--temperature", options.temperature, "0 is greedy")->check(CLI::Range(0.0, 2.0));
  app.add_option("--seed", options.seed, "same seed, same answer");
}

Result<bool> can_chat(const ApiAddress& endpoint) {
  const auto props = exchange_json(endpoint, "/props");
  if (!props) {
    // Other servers have no /props: assume a chat model, the request itself will tell.
    if (props.error().code() == Code::kInvalidArgument) return true;
    return Error(props.error());
  }
  const Json* chat = find_member(*props, "has_chat_template");
  return chat == nullptr || !chat->is_boolean() || chat->get<bool>();
}

Json base_request(const AnswerOptions& options) {
  Json request = Json::object();
  if (options.max_tokens) request["max_tokens"] = *options.max_tokens;
  if (options.temperature) request["temperature"] = *options.temperature;
  if (options.seed) request["seed"] = *options.seed;
  return request;
}

std::string served_model(const ApiAddress& endpoint) {
  const auto answer = exchange_json(endpoint, "/v1/models");
  if (!answer) return "";
  const Json* data = find_member(*answer, "data");
  if (data == nullptr || !data->is_array() || data->empty()) return "";
  const Json* id = find_member(data->front(), "id");
  return id != nullptr && id->is_string() ? id->get<std::string>() : "";
}

void ThoughtsShown::push(const std::string& piece) {
  if (isatty(STDERR_FILENO) == 0) return;
  if (!std::exchange(begun_, true)) std::fputs("\033[2m", stderr);
  std::fputs(piece.c_str(), stderr);
  std::fflush(stderr);
}

void ThoughtsShown::end() {
  if (!std::exchange(begun_, false)) return;
  std::fputs("\033[0m\n\n", stderr);
  std::fflush(stderr);
}

std::string cut_note(const AnswerSummary& summary) {
  if (summary.finish_reason != "length") return "";
  return "The answer was cut at its length limit (--max-tokens, or the context).";
}

std::string speed_line(const AnswerSummary& summary) {
  int n_tokens = 0;
  if (const Json* count = find_member(summary.usage, "completion_tokens");
      count != nullptr && count->is_number_integer()) {
    n_tokens = count->get<int>();
  }
  const double decode = summary.seconds - summary.first_token_seconds;
  std::string line = fmt::format("{} tokens in {}", n_tokens, human_seconds(summary.seconds));
  if (n_tokens > 1 && decode > 0) line += fmt::format(" ({:.1f} tok/s)", (n_tokens - 1) / decode);
  return line + fmt::format(", first after {}", human_seconds(summary.first_token_seconds));
}

}  // namespace commissure
