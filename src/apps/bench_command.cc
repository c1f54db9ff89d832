#include <fmt/format.h>

#include <cstdio>
#include <fstream>
#include <memory>

#include "apps/command.h"
#include "apps/load_plot.h"
#include "apps/progress.h"

namespace commissure {

namespace {

struct BenchOptions {
  LoadOptions load;
  std::string url;
  std::string goodput;
  std::string plot;
  int prompt_tokens = 128;
  double shared_prefix = 0;
  int warmup = 1;
  bool as_json = false;
};

/// The first model the server names; "" where it has no such list.
std::string first_model(const ApiAddress& endpoint) {
  const auto answer = exchange_json(endpoint, "/v1/models");
  if (!answer) return "";
  const Json* data = find_member(*answer, "data");
  if (data == nullptr || !data->is_array() || data->empty()) return "";
  const Json* id = find_member(data->front(), "id");
  return id != nullptr && id->is_string() ? id->get<std::string>() : "";
}

std::string caption_of(const BenchOptions& options, const LoadReport& report) {
  const LoadOptions& load = options.load;
  const std::string arrivals =
      load.rate > 0 ? fmt::format("{:g} requests/s", load.rate) : fmt::format("{} at once", load.concurrency);
  return fmt::format("{}: {} requests, {}, {} tokens in, {} out; {:.1f} output tokens/s, {} failed",
                     load.model.empty() ? load.endpoint.url : load.model, load.n_requests, arrivals,
                     options.prompt_tokens, load.max_tokens,
                     report.per_second(static_cast<double>(report.output_tokens)), report.failed);
}

Status write_plot(const BenchOptions& options, const LoadReport& report) {
  std::ofstream file(options.plot, std::ios::binary);
  file << plot_svg(report, caption_of(options, report));
  file.close();
  if (!file) return Error(Code::kPermissionDenied, "cannot write ", options.plot, "; name another file with --plot");
  return {};
}

/// Requests that nobody counts: they load cold stages and open the connections. The first one must succeed.
Status warm_up(const BenchOptions& options, const LoadPrompts& prompts) {
  if (options.warmup == 0) return {};
  LoadOptions warm = options.load;
  warm.n_requests = options.warmup;
  warm.rate = 0;
  const LoadResult result = run_load(warm, prompts, [](int) {});
  if (result.records.front().ok()) return {};
  return Error(Code::kUnavailable, "the first request failed: ", result.records.front().problem);
}

Result<int> bench(BenchOptions options) {
  const GoodputLimits limits = TRY(parse_goodput(options.goodput));
  options.load.endpoint = TRY(find_api(options.url));
  if (options.load.model.empty()) options.load.model = first_model(options.load.endpoint);
  const LoadPrompts prompts = fit_prompts(options.load.endpoint, options.load.model, options.load.seed,
                                          options.prompt_tokens, options.shared_prefix);
  // Other words than the measured prompts', or a prefix cache would know those already.
  TRY(warm_up(options, LoadPrompts(~options.load.seed, prompts.n_words(), options.shared_prefix)));

  ProgressLine progress("requests", static_cast<std::uint64_t>(options.load.n_requests), ProgressUnit::kCount);
  const LoadResult result =
      run_load(options.load, prompts, [&](int n_done) { progress.update(static_cast<std::uint64_t>(n_done)); });
  progress.finish();
  const LoadReport report = make_report(result, limits);
  if (!options.plot.empty()) TRY(write_plot(options, report));
  if (options.as_json) {
    Json json = report_json(report);
    json["url"] = options.load.endpoint.url;
    json["model"] = options.load.model;
    std::printf("%s\n", pretty_json(json).c_str());
  } else {
    std::fputs(report_text(report).c_str(), stdout);
  }
  return report.failed == 0 ? 0 : 1;
}

}  // namespace

CommandRun add_bench(CLI::App& app) {
  auto options = std::make_shared<BenchOptions>();
  LoadOptions& load = options->load;
  app.add_option("--url", options->url, "OpenAI-compatible endpoint; default: the local chain, or COMMISSURE_URL");
  app.add_option("--model", load.model, "model to ask for; default: the first one the server names");
  app.add_option("--requests,--num-prompts", load.n_requests, "how many requests")->check(CLI::Range(1, 1'000'000));
  app.add_option("--concurrency,--max-concurrency", load.concurrency, "requests at once, at most")
      ->check(CLI::Range(1, 64))
      ->default_val(8);
  app.add_option("--rate,--request-rate", load.rate, "requests per second, Poisson arrivals; default: no waiting")
      ->check(CLI::PositiveNumber);
  app.add_option("--prompt-tokens", options->prompt_tokens, "length of each prompt")
      ->check(CLI::Range(1, 1'000'000))
      ->default_val(128);
  app.add_option("--max-tokens", load.max_tokens, "tokens out per request")
      ->check(CLI::PositiveNumber)
      ->default_val(64);
  app.add_option("--shared-prefix", options->shared_prefix, "share of every prompt, 0 to 1, that is the same for all")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--goodput", options->goodput,
                 "limits a good request keeps, e.g. ttft:200,tpot:50 (also e2el), in ms");
  app.add_option("--seed", load.seed, "of arrivals, prompts and sampling");
  app.add_option("--temperature", load.temperature, "0 is greedy")->check(CLI::Range(0.0, 2.0));
  app.add_option("--warmup", options->warmup, "requests before that are not counted")
      ->check(CLI::NonNegativeNumber)
      ->default_val(1);
  app.add_flag("--chat", load.chat, "ask /v1/chat/completions instead of /v1/completions");
  app.add_flag("--stop-at-eos", load.stop_at_eos, "let answers end early (default: ignore_eos, all are --max-tokens)");
  app.add_flag("--json", options->as_json, "print JSON, keys as in vLLM's result files");
  app.add_option("--plot", options->plot, "draw the latencies' distributions into this SVG file");
  return [options] { return bench(*options); };
}

}  // namespace commissure
