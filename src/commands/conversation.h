#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "commands/choice.h"

namespace commissure {

/// Values of the flags that `ask` and `chat` share. What is not given is left to the server.
struct AnswerOptions {
  ApiChoice api;
  std::string system;  ///< system message; "": none
  std::optional<int> max_tokens;
  std::optional<double> temperature;
  std::optional<std::int64_t> seed;
};

/// Adds these flags.
void add_answer_flags(CLI::App& app, AnswerOptions& options);

/// Whether the served model takes chat messages; true for servers that do not tell. Errors: as exchange_json.
Result<bool> can_chat(const ApiAddress& endpoint);

/// The body of a request with max_tokens, temperature and seed where they were given, and no messages yet.
Json base_request(const AnswerOptions& options);

/// The name of the served model, from /v1/models; "" where the endpoint does not tell.
std::string served_model(const ApiAddress& endpoint);

/// Shows what a model thinks before it answers, dim, on stderr, where that is a terminal; elsewhere it shows nothing.
class ThoughtsShown {
 public:
  void push(const std::string& piece);
  /// The answer begins, or nothing more comes.
  void end();

 private:
  bool begun_ = false;
};

/// A line that says why an answer was cut and what to do; "" for an answer that is whole.
std::string cut_note(const AnswerSummary& summary);

/// How fast an answer came: "14 tokens in 0.21 s (66.7 tok/s), first after 0.05 s".
std::string speed_line(const AnswerSummary& summary);

}  // namespace commissure
