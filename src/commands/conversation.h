#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "commands/choice.h"

namespace commissure {

/// Flags that `ask` and `chat` share.
struct AnswerOptions {
  ApiChoice api;
  std::string system;
  std::optional<int> max_tokens;
  std::optional<double> temperature;
  std::optional<std::int64_t> seed;
};

void add_answer_flags(CLI::App& app, AnswerOptions& options);

/// Whether the served model has a chat template. Errors: as exchange_json.
Result<bool> can_chat(const ApiAddress& endpoint);

/// A request with the options' sampling fields and no messages yet.
Json base_request(const AnswerOptions& options);

/// The model the endpoint serves, by /v1/models; "" where it does not say.
std::string served_model(const ApiAddress& endpoint);

/// Why the answer ended before its end, with the cure; "" when it did not.
std::string cut_note(const AnswerSummary& summary);

/// "14 tokens in 0.21 s (66.7 tok/s), first after 0.05 s".
std::string speed_line(const AnswerSummary& summary);

}  // namespace commissure
