#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>

#include "client/wait_notice.h"
#include "commands/choice.h"
#include "commands/command.h"
#include "commands/conversation.h"
#include "measure/layer_bench.h"
#include "measure/load_plot.h"
#include "terminal/progress.h"

namespace commissure {

namespace {

/// Requests of a sweep's points: so many per stream, but never so few that a percentile means nothing.
constexpr int kSweepPerStream = 2;
constexpr int kSweepMinimum = 8;

struct BenchOptions {
  LoadOptions load;
  ApiChoice api;
  std::string goodput;
  std::string plot;
  int n_requests = 0;  // 0: not given
  int concurrency = 0;
  int prompt_tokens = 128;
  double shared_prefix = 0;
  int warmup = 1;
  bool sweep = false;
  bool as_json = false;
  bool layers = false;
  LayerBenchOptions layer;
  std::string out;
};

std::string caption_of(const BenchOptions& options) {
  const LoadOptions& load = options.load;
  return fmt::format("{}: {} tokens in, {} out", load.model.empty() ? load.endpoint.url : load.model,
                     options.prompt_tokens, load.max_tokens);
}

std::string caption_of(const BenchOptions& options, const LoadReport& report) {
  const LoadOptions& load = options.load;
  const std::string arrivals =
      load.rate > 0 ? fmt::format("{:g} requests/s", load.rate) : fmt::format("{} at once", load.concurrency);
  return fmt::format("{}; {} requests, {}; {:.1f} output tokens/s, {} failed", caption_of(options), load.n_requests,
                     arrivals, report.per_second(static_cast<double>(report.output_tokens)), report.failed);
}

Status write_text(const std::string& path, const std::string& text, const char* flag) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  if (!file) return Error(Code::kPermissionDenied, "cannot write ", path, "; name another file with ", flag);
  return {};
}

Status write_plot(const std::string& path, const std::string& svg) {
  TRY(write_text(path, svg, "--plot"));
  std::error_code ignored;
  std::fprintf(stderr, "plot: %s\n", std::filesystem::absolute(path, ignored).c_str());
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

LoadReport measure(const BenchOptions& options, const LoadPrompts& prompts, const GoodputLimits& limits,
                   const std::string& what) {
  ProgressLine progress(what, static_cast<std::uint64_t>(options.load.n_requests), ProgressUnit::kCount);
  const LoadResult result =
      run_load(options.load, prompts, [&](int n_done) { progress.update(static_cast<std::uint64_t>(n_done)); });
  progress.finish();
  return make_report(result, limits);
}

void print(const BenchOptions& options, Json json, const std::string& text) {
  if (!options.as_json) return (void)std::fputs(text.c_str(), stdout);
  json["url"] = options.load.endpoint.url;
  json["model"] = options.load.model;
  std::printf("%s\n", pretty_json(json).c_str());
}

Result<int> bench_once(const BenchOptions& options, const LoadPrompts& prompts, const GoodputLimits& limits) {
  const LoadReport report = measure(options, prompts, limits, "requests");
  if (!options.plot.empty()) TRY(write_plot(options.plot, plot_svg(report, caption_of(options, report))));
  print(options, report_json(report), report_text(report));
  return report.failed == 0 ? 0 : 1;
}

/// 1, 2, 4 ... streams, each point with prompts of its own.
Result<int> bench_sweep(BenchOptions options, const LoadPrompts& prompts, const GoodputLimits& limits) {
  std::vector<SweepPoint> points;
  bool failed = false;
  for (int streams = 1; streams <= options.concurrency; streams *= 2) {
    options.load.concurrency = streams;
    options.load.n_requests =
        options.n_requests > 0 ? options.n_requests * streams : std::max(kSweepMinimum, kSweepPerStream * streams);
    const LoadPrompts own(options.load.seed + static_cast<std::uint64_t>(streams), prompts.n_words(),
                          options.shared_prefix);
    points.push_back({streams, measure(options, own, limits, fmt::format("{} streams", streams))});
    failed = failed || points.back().report.failed > 0;
  }
  if (!options.plot.empty()) TRY(write_plot(options.plot, sweep_svg(points, caption_of(options))));
  print(options, sweep_json(points), sweep_text(points));
  return failed ? 1 : 0;
}

/// No endpoint is asked: the model is computed here.
Result<int> bench_here(BenchOptions options) {
  if (!options.load.model.empty()) options.layer.model = options.load.model;
  const LayerTimes times = TRY(bench_layers(options.layer));
  const std::string record = pretty_json(layer_times_json(times)) + "\n";
  if (!options.out.empty()) TRY(write_text(options.out, record, "--out"));
  std::fputs(options.as_json ? record.c_str() : layer_times_text(times).c_str(), stdout);
  return 0;
}

Result<int> bench(BenchOptions options) {
  if (options.layers) return bench_here(std::move(options));
  const GoodputLimits limits = TRY(parse_goodput(options.goodput));
  options.load.endpoint = TRY(find_api(options.api));
  WaitNotice notice(options.load.endpoint, WaitNotice::Tell::kTrouble);
  options.load.on_chunk = [&notice] { notice.progress(); };
  if (options.load.model.empty()) options.load.model = served_model(options.load.endpoint);
  if (options.concurrency == 0) options.concurrency = options.sweep ? 64 : 8;
  options.load.concurrency = options.concurrency;
  options.load.n_requests = options.n_requests > 0 ? options.n_requests : 100;
  const LoadPrompts prompts = fit_prompts(options.load.endpoint, options.load.model, options.load.seed,
                                          options.prompt_tokens, options.shared_prefix);
  // Other words than the measured prompts', or a prefix cache would know those already.
  TRY(warm_up(options, LoadPrompts(~options.load.seed, prompts.n_words(), options.shared_prefix)));
  return options.sweep ? bench_sweep(options, prompts, limits) : bench_once(options, prompts, limits);
}

void add_layer_flags(CLI::App& app, BenchOptions& options) {
  LayerBenchOptions& layer = options.layer;
  CLI::Option* layers = app.add_flag("--layers", options.layers,
                                     "instead: load --model here and measure each kind of layer, embedding and head, "
                                     "for `plan --layer-times`");
  const auto with_layers = [&](const char* name, auto& value, const char* what) {
    return app.add_option(name, value, what)->needs(layers);
  };
  with_layers("--machine", layer.machine, "--layers: which of the planner's machines this one stands for, e.g. cpu-4");
  with_layers("--out", options.out, "--layers: write the record into this file");
  with_layers("--context", layer.context, "--layers: positions that a stream looks back on; default: 2048")
      ->check(CLI::Range(128, 1 << 20));
  with_layers("--threads", layer.n_threads, "--layers: default: one for each core")->check(CLI::NonNegativeNumber);
  with_layers("--device", layer.device,
              "--layers: cpu, cuda (a GPU), or auto: a GPU where one can be used; default: cpu")
      ->check(CLI::IsMember({"cpu", "cuda", "auto"}));
  with_layers("--isa", layer.isa, "--layers: reference, generic, avx2, avx512, amx; default: the best but amx");
  with_layers("--precision", layer.precision, "--layers: fast or exact; default: what the model is served with")
      ->check(CLI::IsMember({"fast", "exact"}));
  with_layers("--kv-dtype,--kv-cache-dtype", layer.kv_dtype, "--layers: keys and values as bf16 (auto) or int8")
      ->check(CLI::IsMember({"auto", "bf16", "int8"}));
}

}  // namespace

CommandRun add_bench(CLI::App& app) {
  auto options = std::make_shared<BenchOptions>();
  LoadOptions& load = options->load;
  add_api_flags(app, options->api);
  app.add_option("--model", load.model, "model to ask for; default: the first one the server names");
  app.add_option("--requests,--num-prompts", options->n_requests,
                 "how many requests, 100 if not given; with --sweep: per stream, 2 and at least 8 in all")
      ->check(CLI::Range(1, 1'000'000));
  app.add_option("--concurrency,--max-concurrency", options->concurrency,
                 "requests at once, at most: 8 if not given, 64 with --sweep")
      ->check(CLI::Range(1, 64));
  CLI::Option* sweep =
      app.add_flag("--sweep", options->sweep, "measure at 1, 2, 4 ... --concurrency streams: one table, JSON and plot");
  app.add_option("--rate,--request-rate", load.rate, "requests per second, Poisson arrivals; default: no waiting")
      ->check(CLI::PositiveNumber)
      ->excludes(sweep);
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
  app.add_option("--plot", options->plot, "draw the latencies' distributions, or the sweep, into this SVG file");
  add_layer_flags(app, *options);
  return [options] { return bench(*options); };
}

}  // namespace commissure
