#include "api/completion_request.h"

#include <algorithm>

#include "api/chat_request.h"
#include "api/grammar_fields.h"
#include "api/sampling_fields.h"
#include "core/index.h"

namespace commissure {

namespace {

constexpr std::size_t kMaxPrompts = 1024;
constexpr std::size_t kMaxEchoBytes = 16 << 20;
constexpr int kDefaultMaxTokens = 16;  // of the OpenAI API

/// Reads prompts one by one into a request.
class PromptReader {
 public:
  PromptReader(Fields& fields, std::string_view name, const ServedModel& model, const ApiOptions& options, bool echo)
      : fields_(fields),
        name_(name),
        model_(model),
        options_(options),
        tokenizer_(*model.tokenizer),
        echo_(echo),
        add_special_(fields.boolean("add_special_tokens").value_or(true)),
        parse_special_(!sanitizes(fields, options)) {}

  void read(const Json& prompt, CompletionRequest& result) {
    const bool is_list = prompt.is_array() && !prompt.empty() && !prompt.front().is_number();
    if (!is_list) return one(prompt, result);
    if (prompt.size() > kMaxPrompts) {
      return fields_.fail(
          name_, fmt::format("'{}' has {} prompts, but may have at most {}", name_, prompt.size(), kMaxPrompts));
    }
    for (const Json& entry : prompt) {
      if (fields_.ok()) one(entry, result);
    }
  }

 private:
  void one(const Json& prompt, CompletionRequest& result) {
    std::vector<TokenId> tokens;
    std::string text;
    if (prompt.is_string()) {
      if (auto error = check_text(model_, options_, prompt.get_ref<const std::string&>(), name_)) {
        return fields_.fail(std::move(*error));
      }
      text = prompt.get<std::string>();
      tokens = tokenizer_.encode(text, {.add_special = add_special_, .parse_special = parse_special_});
    } else if (prompt.is_array()) {
      if (auto error = check_context(model_, prompt.size(), 0, name_)) return fields_.fail(std::move(*error));
      auto ids = read_token_ids(fields_, name_, prompt, tokenizer_);
      if (!ids) return;
      tokens = std::move(*ids);
      if (echo_) text = tokenizer_.decode(tokens);
    } else {
      return fields_.fail(
          name_, fmt::format("'{}' must be a string, an array of strings, token ids or an array of those, not {}",
                             name_, kind_of(prompt)));
    }
    if (tokens.empty()) return fields_.fail(name_, fmt::format("'{}' is empty: give at least one token", name_));
    result.prompts.push_back(std::move(tokens));
    if (echo_) result.echo_texts.push_back(std::move(text));
  }

  Fields& fields_;
  const std::string_view name_;
  const ServedModel& model_;
  const ApiOptions& options_;
  const Tokenizer& tokenizer_;
  const bool echo_;
  const bool add_special_, parse_special_;
};

void read_prompts(Fields& fields, std::string_view name, const ServedModel& model, const ApiOptions& options, bool echo,
                  CompletionRequest& result) {
  const Json* prompt = fields.find(name);
  if (prompt == nullptr) return fields.fail(name, fmt::format("'{}' is missing", name));
  PromptReader(fields, name, model, options, echo).read(*prompt, result);
  for (const auto& tokens : result.prompts) {
    if (auto error = check_context(model, tokens.size(), result.fields.request.max_tokens, name)) fields.fail(*error);
  }
}

/// `n` and `best_of`. Candidates are ranked by log-probability, so each then carries that of its tokens.
void read_completion_choices(Fields& fields, GenerationFields& result) {
  read_choices(fields, result);
  result.best_of = static_cast<int>(fields.integer("best_of", 1, kMaxChoices).value_or(result.n));
  if (result.best_of < result.n) {
    fields.fail("best_of",
                fmt::format("'best_of' is {}, but must be at least 'n', which is {}", result.best_of, result.n));
  }
  if (result.best_of > result.n && result.stream) {
    fields.fail("best_of", "'best_of' above 'n' cannot be streamed: the best is known at the end");
  }
}

void check_total(Fields& fields, const CompletionRequest& result) {
  const std::size_t total = result.prompts.size() * to_size(result.fields.best_of);
  if (total <= kMaxPrompts) return;
  const std::string_view name = result.fields.best_of > result.fields.n ? "best_of" : "n";
  fields.fail(name, fmt::format("'{}' of {} and {} prompts make {} choices, but there may be at most {}", name,
                                result.fields.best_of, result.prompts.size(), total, kMaxPrompts));
}

/// Echoed prompts stand in the answer once for each choice.
void check_echo(Fields& fields, const CompletionRequest& result) {
  std::size_t n_bytes = 0;
  for (const std::string& text : result.echo_texts) n_bytes += text.size();
  n_bytes *= to_size(result.fields.n);
  if (n_bytes <= kMaxEchoBytes) return;
  fields.fail("echo",
              fmt::format("'echo' repeats {} bytes of prompts, but may repeat at most {}", n_bytes, kMaxEchoBytes));
}

/// TGI's body read as ours: the members of `parameters` count where the top has none, under its names too.
void take_generate_names(Fields& fields) {
  if (const Json* parameters = fields.object("parameters")) fields.fall_back_to(*parameters);
  fields.also_called("prompt", "inputs");
  fields.also_called("max_tokens", "max_new_tokens");
  fields.also_called("max_tokens", "n_predict");
  fields.also_called("stop", "stop_sequences");
}

}  // namespace

ApiResult<CompletionRequest> parse_completion_request(const Json& body, const ServedModel& model,
                                                      const ApiOptions& options, const Unwanted& is_unwanted) {
  Fields fields(body);
  check_model(fields, model, options);
  CompletionRequest result{.fields = read_generation_fields(fields, model, options)};
  GenerationRequest& request = result.fields.request;

  request.max_tokens = read_length(fields, "max_tokens", 0).value_or(kDefaultMaxTokens);
  check_min_tokens(fields, request);
  read_completion_choices(fields, result.fields);
  const bool echo = fields.boolean("echo").value_or(false);
  result.fields.tokens_as_ids = fields.boolean("return_tokens_as_token_ids").value_or(false);
  read_prompt_logprobs(fields, request);
  result.prompt_logprobs = request.prompt_logprobs;
  if (const auto logprobs = fields.integer("logprobs", 0, kMaxTopLogprobs)) {
    result.logprobs = true;
    request.sampling.n_logprobs = static_cast<int>(*logprobs);
    if (echo) request.prompt_logprobs = std::max(request.prompt_logprobs, request.sampling.n_logprobs);
  }
  if (result.fields.best_of > result.fields.n) request.sampling.n_logprobs = std::max(request.sampling.n_logprobs, 0);
  if (fields.ok()) read_prompts(fields, "prompt", model, options, echo, result);
  if (fields.ok()) check_total(fields, result);
  if (fields.ok()) hold_completion(fields, model, read_grammar_fields(fields, is_unwanted), result.fields.request);
  if (fields.ok()) check_echo(fields, result);
  if (!fields.ok()) return tl::unexpected(*fields.error());
  return result;
}

ApiResult<CompletionRequest> parse_generate_request(const Json& body, const ServedModel& model,
                                                    const ApiOptions& options, const Unwanted& is_unwanted) {
  Fields fields(body);
  take_generate_names(fields);
  check_model(fields, model, options);
  CompletionRequest result{.fields = read_generation_fields(fields, model, options)};
  // TGI draws only when asked to.
  if (!fields.boolean("do_sample").value_or(true)) result.fields.request.sampling.temperature = 0;
  result.fields.request.max_tokens = read_length(fields, "max_tokens", 1).value_or(-1);
  check_min_tokens(fields, result.fields.request);
  refuse_choices(fields, "n");
  refuse_choices(fields, "best_of");
  if (fields.find("prompt_logprobs") != nullptr)
    refuse_field(fields, "prompt_logprobs", " here; /v1/completions has it");
  const bool echo = fields.boolean("return_full_text").value_or(false);
  if (fields.ok()) read_prompts(fields, "prompt", model, options, echo, result);
  if (fields.ok() && result.prompts.size() != 1)
    fields.fail("prompt", "'prompt' must be one prompt here; lists go to /v1/completions");
  if (fields.ok()) hold_completion(fields, model, read_grammar_fields(fields, is_unwanted), result.fields.request);
  if (!fields.ok()) return tl::unexpected(*fields.error());
  return result;
}

}  // namespace commissure
