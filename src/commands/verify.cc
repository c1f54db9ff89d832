#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <memory>

#include "client/chain_watch.h"
#include "client/wait_notice.h"
#include "commands/choice.h"
#include "commands/command.h"
#include "core/guarded.h"
#include "core/log.h"
#include "terminal/progress.h"
#include "verify/verify_report.h"

namespace commissure {

namespace {

constexpr int kWholeRows = 512;  ///< of a step, as a stage takes by default
constexpr int kOddRows = 37;     ///< divides neither a block nor a tile: every chunk begins somewhere else
constexpr int kReplayTries = 3;
constexpr int kMaxAtOnce = 64;
constexpr std::chrono::minutes kWakeLimit{30};

struct VerifyOptions {
  ApiChoice api;
  std::string reference;
  std::string prompts;
  std::string device = "cpu";
  int max_tokens = 24;
  bool no_replay = false;
  bool as_json = false;
};

/// All that one run of the command needs, connected.
struct Verification {
  VerifyOptions options;
  std::vector<VerifyCase> cases;
  std::optional<LocalState> local;  ///< the chain is one of this machine, with stages to break
  std::unique_ptr<VerifiedChain> chain;
  std::vector<VerifiedStage> stages;
  std::unique_ptr<ReferenceModel> reference;
  VerifyTolerance tolerance;
  std::string why_tolerance;
};

/// The chain's kernels or the best others here that give their bits; "": there are none. Not AMX for others: slower.
std::string reference_isa(const Verification& run) {
  const std::string& wanted = run.stages.front().isa;
  std::string best;
  for (const std::string& isa : available_isas()) {
    if (isa == wanted) return isa;
    if (isa != "amx" && isas_agree(isa, wanted)) best = isa;
  }
  return best;
}

/// Whether bits can be equal: one kind of kernels on all stages and here.
void choose_tolerance(Verification& run) {
  const VerifiedStage& first = run.stages.front();
  for (const VerifiedStage& stage : run.stages) {
    if (stage.device == first.device && isas_agree(stage.isa, first.isa)) continue;
    run.tolerance.exact = false;
    run.why_tolerance =
        fmt::format("stages {} and {} have {} and {} kernels", first.name, stage.name, first.isa, stage.isa);
    return;
  }
  if (first.device != "cpu" || !reference_isa(run).empty()) return;
  run.tolerance.exact = false;
  run.why_tolerance = fmt::format("this machine has no {} kernels", first.isa);
}

/// What is known once the reference is loaded: bits can be equal on one kind of device only.
void compare_devices(Verification& run) {
  const VerifiedStage& first = run.stages.front();
  const StageInfo here = run.reference->info();
  if (!run.tolerance.exact || (here.device == first.device && isas_agree(here.isa, first.isa))) return;
  run.tolerance.exact = false;
  run.why_tolerance = fmt::format("the stages run on {} ({}), the reference on {} ({})", first.device, first.isa,
                                  here.device, here.isa);
}

/// What the person names, else what the deployment's file or the chain itself says that it serves.
std::string reference_name(const Verification& run) {
  if (!run.options.reference.empty()) return run.options.reference;
  if (run.local) return run.local->chain.model;
  const std::string& deployed = run.chain->endpoint().model;
  if (deployed.starts_with("hf:")) return deployed.substr(3);  // as the cache calls it
  return deployed.empty() ? run.stages.front().model : deployed;
}

/// The model the chain serves, or the one named, as one stage here.
Status load_reference(Verification& run) {
  choose_tolerance(run);
  const auto model = resolve_model(reference_name(run), true);
  if (!model) return model.error().within("the reference (name another one with --reference)");
  std::size_t longest = 0;
  for (const VerifyCase& one : run.cases) longest = std::max(longest, one.text.size());
  std::vector<int> cuts;
  std::string quants;
  for (const VerifiedStage& stage : run.stages) {
    if (stage.first_layer > 0) cuts.push_back(stage.first_layer);
    const std::size_t plus = stage.fingerprint.find('+');
    quants += (quants.empty() ? "" : ",") + (plus == std::string::npos ? "none" : stage.fingerprint.substr(plus + 1));
  }
  // A token has at least one byte; a few more for what the tokenizer puts before the text.
  const bool is_on_cpu = run.stages.front().device == "cpu";
  const ReferenceOptions options = {.device = run.options.device,
                                    .isa = run.tolerance.exact && is_on_cpu ? reference_isa(run) : "",
                                    .precision = run.stages.front().precision,
                                    .kv_dtype = run.stages.front().kv_dtype,
                                    .cuts = std::move(cuts),
                                    .quants = std::move(quants),
                                    .context = static_cast<int>(longest) + 16 + run.options.max_tokens};
  run.reference = TRY(ReferenceModel::load(*model, options));
  compare_devices(run);
  for (const VerifiedStage& stage : run.stages) {
    if (model_fingerprint(stage.fingerprint) == model_fingerprint(run.reference->info().fingerprint)) continue;
    return Error(Code::kFailedPrecondition, model->location, " is not the model that stage ", stage.name,
                 " serves (its tensors differ in name, shape or type); name the right file with --reference");
  }
  for (VerifyCase& one : run.cases) one.prompt = run.reference->tokenizer().encode(one.text, {});
  return {};
}

Result<Verification> prepare(const VerifyOptions& options) {
  Verification run;
  run.options = options;
  run.cases = options.prompts.empty() ? built_in_cases() : TRY(read_cases(options.prompts));
  const ApiAddress endpoint = TRY(find_api(options.api));
  run.local = find_local_chain_at(endpoint.url);
  run.chain = std::make_unique<VerifiedChain>(endpoint);
  TRY(warm_chain(endpoint, processes_of(run.local), kWakeLimit));
  run.stages = TRY(run.chain->stages());
  TRY(load_reference(run));
  return run;
}

/// Why no stream can be broken; empty when one can.
std::string no_replay_reason(const Verification& run) {
  if (run.options.no_replay) return "--no-replay";
  if (!run.local) return "the chain is not one of this machine, so its streams cannot be broken from here";
  if (run.stages.size() < 2) return "a chain of one stage has no streams";
  return "";
}

/// Runs all cases on the chain and breaks it once, a third into the first answer that gets there.
Result<VerifyColumn> run_replayed(Verification& run, const std::vector<VerifyAnswer>& expected,
                                  const std::function<void()>& on_done) {
  const auto skipped = [](std::string why) { return VerifyColumn{"replayed", std::move(why)}; };
  if (std::string why = no_replay_reason(run); !why.empty()) return skipped(std::move(why));
  const int broken = static_cast<int>(run.stages.size()) / 2;
  for (int i = 0; i < kReplayTries; ++i) {
    std::atomic<bool> done = false;
    Status problem;
    const auto on_token = [&](int n_tokens) {
      if (n_tokens < std::max(1, run.options.max_tokens / 3) || done.exchange(true)) return;
      problem = break_stream(*run.local, broken);
    };
    const auto found = TRY(
        run.chain->ask_all(run.cases, run.options.max_tokens, "times", kMaxAtOnce, on_token, i == 0 ? on_done : [] {}));
    if (!problem) return problem.error().within("breaking the stream");
    if (std::any_of(found.begin(), found.end(), was_replayed))
      return compare_all("replayed", run.cases, expected, found, run.tolerance);
  }
  return skipped("all answers were over before the stream broke; raise --max-tokens");
}

/// The answer of case `i`, with checksums, computed the way that `column` was.
Result<VerifyAnswer> repeat_with_sums(const Verification& run, const VerifyColumn& column, std::size_t i) {
  if (std::string_view(column.name) != "batched")
    return run.chain->ask(run.cases[i], run.options.max_tokens, "layers", [](int) {});
  auto all = TRY(run.chain->ask_all(run.cases, run.options.max_tokens, "layers", kMaxAtOnce, [](int) {}, [] {}));
  return std::move(all[i]);
}

std::string diagnose(Verification& run, const std::vector<VerifyAnswer>& expected,
                     const std::vector<VerifyColumn>& columns) {
  for (const VerifyColumn& column : columns) {
    const int i = column.first_difference();
    if (i < 0) continue;
    const auto at = static_cast<std::size_t>(i);
    std::string text = fmt::format("{}, {}: {}\n", column.name, run.cases[at].label(40), *column.differences[at]);
    if (std::string_view(column.name) == "chunked")
      return text + "The reference differs from itself: the fault is in the kernels, not in the split.\n";
    if (!run.tolerance.exact) return text + "Checksums tell nothing across different kernels.\n";
    const auto again = repeat_with_sums(run, column, at);
    if (!again) return text + "It could not be looked at more closely: " + again.error().message() + "\n";
    if (!difference(run.cases[at], expected[at], *again, run.tolerance))
      return text + "Asked once more, the answer was right: the fault comes and goes.\n";
    const auto place = locate_difference(*run.reference, run.stages, run.cases[at], *again);
    return text + (place ? *place : "The layer could not be found: " + place.error().message()) + "\n";
  }
  return "";
}

void print_report(const Verification& run, const std::vector<VerifyAnswer>& expected,
                  const std::vector<VerifyColumn>& columns, bool same, const std::string& diagnosis) {
  if (run.options.as_json) {
    const Json json = {{"same", same},
                       {"exact", run.tolerance.exact},
                       {"n_stages", run.stages.size()},
                       {"cases", verify_json(run.cases, expected, columns)},
                       {"diagnosis", diagnosis}};
    std::printf("%s\n", pretty_json(json).c_str());
    return;
  }
  std::fputs(verify_table(run.cases, expected, columns).c_str(), stdout);
  for (const VerifyColumn& column : columns) {
    if (!column.skipped.empty()) fmt::print("Not {}: {}\n", column.name, column.skipped);
  }
  if (!run.tolerance.exact) {
    float gap = 0;
    for (const VerifyColumn& column : columns) gap = std::max(gap, column.largest_gap);
    fmt::print("Compared within {} per log-probability, not bit for bit: {}. Largest distance: {:.3f}.\n",
               run.tolerance.logprob, run.why_tolerance, gap);
  }
  fmt::print("{}", diagnosis);
  fmt::print("{}\n",
             !same ? "DIFFERENT: the chain does not compute what one stage computes."
             : run.tolerance.exact
                 ? fmt::format("Same: {} stages give the same tokens and log-probabilities as one, bit for bit.",
                               run.stages.size())
                 : fmt::format("Same within the tolerance: {} stages and one.", run.stages.size()));
}

Result<int> verify(const VerifyOptions& options) {
  configure_log(LogFormat::kText, Severity::kWarning, "");  // the reference's engine would tell of every request
  Verification run = TRY(prepare(options));
  const std::size_t n_runs = no_replay_reason(run).empty() ? 5 : 4;
  ProgressLine progress("answers", n_runs * run.cases.size(), ProgressUnit::kCount);
  std::atomic<std::uint64_t> n_done = 0;
  Guarded<ProgressLine*> shown(&progress);
  WaitNotice notice(run.chain->endpoint(), WaitNotice::Tell::kTrouble);
  const auto on_done = [&] {
    const std::uint64_t n = ++n_done;
    notice.progress();
    shown.with([&](ProgressLine* line) { line->update(n); });
  };
  const auto no_token = [](int) {};
  const auto expected = TRY(run.reference->answer(run.cases, options.max_tokens, kWholeRows, on_done));
  const auto chunked = TRY(run.reference->answer(run.cases, options.max_tokens, kOddRows, on_done));
  const auto alone = TRY(run.chain->ask_all(run.cases, options.max_tokens, "", 1, no_token, on_done));
  const auto batched = TRY(run.chain->ask_all(run.cases, options.max_tokens, "", kMaxAtOnce, no_token, on_done));
  std::vector<VerifyColumn> columns = {compare_all("alone", run.cases, expected, alone, run.tolerance),
                                       compare_all("batched", run.cases, expected, batched, run.tolerance),
                                       compare_all("chunked", run.cases, expected, chunked, {}),
                                       TRY(run_replayed(run, expected, on_done))};
  progress.finish();

  const bool same = std::all_of(columns.begin(), columns.end(), [](auto& c) { return c.first_difference() < 0; });
  const std::string diagnosis = diagnose(run, expected, columns);
  print_report(run, expected, columns, same, diagnosis);
  return same ? 0 : 1;
}

}  // namespace

CommandRun add_verify(CLI::App& app) {
  auto options = std::make_shared<VerifyOptions>();
  add_api_flags(app, options->api);
  app.add_option("--reference", options->reference, "model to compare with; default: the one the chain serves");
  app.add_option("--prompts", options->prompts, "file with one prompt a line; default: a set of our own");
  app.add_option(
         "--device", options->device,
         "where the reference computes: cpu, cuda (a GPU), or auto: a GPU where one can be used; bits are equal "
         "on one kind of device only")
      ->check(CLI::IsMember({"cpu", "cuda", "auto"}))
      ->capture_default_str();
  app.add_option("--max-tokens", options->max_tokens, "tokens out per prompt")
      ->check(CLI::Range(1, 4096))
      ->default_val(24);
  app.add_flag("--no-replay", options->no_replay, "do not break a stream of the local chain on purpose");
  app.add_flag("--json", options->as_json, "print JSON");
  return [options] { return verify(*options); };
}

}  // namespace commissure
