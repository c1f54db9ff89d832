#include <fmt/format.h>

#include <fstream>
#include <iterator>
#include <memory>

#include "commands/command.h"
#include "commands/quant_choice.h"
#include "terminal/progress.h"
#include "verify/evaluation.h"

namespace commissure {

namespace {

struct EvalCommand {
  std::string model, against, text;
  EvaluationOptions options;
  std::int64_t max_tokens = 0;
  bool as_json = false;
};

Result<std::string> read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return Error(Code::kNotFound, "cannot read ", path);
  return std::string{std::istreambuf_iterator<char>(file), {}};
}

void print(const Evaluation& found, const EvalCommand& command) {
  fmt::print("{} tokens in windows of {}\nperplexity      {:.4f}\n", found.n_tokens, command.options.context,
             found.perplexity());
  if (!found.is_compared) return;
  const auto n = static_cast<double>(found.n_tokens);
  fmt::print("  of {}  {:.4f} ({:+.2f} %)\nmean KL         {:.5f} nats\nsame likeliest  {:.2f} %\n", command.against,
             found.perplexity_against(), 100 * (found.perplexity() / found.perplexity_against() - 1),
             found.divergence / n, 100 * static_cast<double>(found.n_same) / n);
}

/// The windows as far as `most` tokens go; 0: all.
void cut_windows(std::vector<std::vector<TokenId>>& windows, std::int64_t most) {
  if (most == 0) return;
  for (std::size_t i = 0; i < windows.size(); ++i) {
    most -= static_cast<std::int64_t>(windows[i].size()) - 1;
    if (most <= 0) return windows.resize(i + 1);
  }
}

Result<int> eval(const EvalCommand& command) {
  const std::string text = TRY(read_text(command.text));
  auto loaded = WindowModel::load(TRY(resolve_model(command.model, false)), command.options.quant, command.options);
  if (!loaded) return refuse(loaded.error(), command.options.quant, "eval");
  const std::unique_ptr<WindowModel> model = *std::move(loaded);
  std::unique_ptr<WindowModel> against;
  if (!command.against.empty()) {
    against = TRY(WindowModel::load(TRY(resolve_model(command.against, false)), "", command.options));
  }
  std::vector<std::vector<TokenId>> windows = TRY(windows_of(model->tokenizer(), text, command.options.context));
  cut_windows(windows, command.max_tokens);
  if (windows.empty()) return Error(Code::kInvalidArgument, command.text, ": holds no two tokens");
  std::uint64_t n_tokens = 0;
  for (const std::vector<TokenId>& window : windows) n_tokens += window.size() - 1;
  ProgressLine progress("scoring tokens", n_tokens, ProgressUnit::kCount);
  const Evaluation found = TRY(evaluate(*model, against.get(), windows,
                                        [&](std::int64_t done) { progress.update(static_cast<std::uint64_t>(done)); }));
  progress.finish();
  if (!command.as_json) {
    print(found, command);
    return 0;
  }
  Json json = found.to_json();
  json["context"] = command.options.context;
  json["fingerprint"] = model->fingerprint();
  fmt::print("{}\n", pretty_json(json));
  return 0;
}

}  // namespace

CommandRun add_eval(CLI::App& app) {
  auto command = std::make_shared<EvalCommand>();
  EvaluationOptions& options = command->options;
  app.add_option("model", command->model, "known name, file, folder or URL")->required();
  app.add_option("--text", command->text, "a text file")->required();
  app.add_option("--against", command->against, "another model of the same vocabulary, as a rule the unquantised one");
  app.add_option("--quant", options.quant,
                 "quantise the model while it is loaded: int8 or nf4, with +head the head too")
      ->check(quant_name_check());
  app.add_option("--context", options.context, "tokens of a window")->check(CLI::Range(2, 8192))->capture_default_str();
  app.add_option("--max-tokens", command->max_tokens,
                 "stop behind the window in which so many are scored; default: all")
      ->check(CLI::PositiveNumber);
  app.add_option("--precision", options.precision, "of the activations: exact, or fast as a chain has it by default")
      ->check(CLI::IsMember({"fast", "exact"}))
      ->capture_default_str();
  app.add_option("--threads", options.n_threads, "default: one for each core")->check(CLI::NonNegativeNumber);
  app.add_option("--isa", options.isa, "kernels: reference, generic, avx2, avx512, amx; default: the best but amx");
  app.add_flag("--json", command->as_json, "print JSON");
  return [command] { return eval(*command); };
}

}  // namespace commissure
