// Speed of one process that holds the whole model: tokens per second of prefill and of greedy decoding.
// usage: decode_bench --model FILE [--prompt-tokens N] [--decode N] [--batch N] [--threads N] [--isa NAME]
// [--kv-dtype bf16|int8] [--ids 1,2,3]
#include <sys/resource.h>

#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <map>
#include <string>
#include <string_view>

#include "model/layer_weights.h"
#include "stage/executor.h"
#include "stage/stage_memory.h"

namespace commissure {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

struct Options {
  std::string model;
  std::string isa;
  KvType kv_type = KvType::kBF16;
  int n_prompt = 512;
  int n_decode = 64;
  int n_batch = 1;
  int n_threads = 0;
  std::vector<int> ids;  ///< a real prompt; greedy tokens are printed
};

int number(const char* text) {
  int value = 0;
  std::from_chars(text, text + std::char_traits<char>::length(text), value);
  return value;
}

Result<Options> parse(int argc, char** argv) {
  Options options;
  const std::map<std::string_view, int*> numbers = {{"--prompt-tokens", &options.n_prompt},
                                                    {"--decode", &options.n_decode},
                                                    {"--batch", &options.n_batch},
                                                    {"--threads", &options.n_threads}};
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view flag = argv[i];
    if (const auto found = numbers.find(flag); found != numbers.end()) {
      *found->second = number(argv[i + 1]);
    } else if (flag == "--model") {
      options.model = argv[i + 1];
    } else if (flag == "--isa") {
      options.isa = argv[i + 1];
    } else if (flag == "--kv-dtype") {
      options.kv_type = TRY(parse_kv_type(argv[i + 1]));
    } else if (flag == "--ids") {
      std::string text = argv[i + 1];
      for (char* part = std::strtok(text.data(), ","); part != nullptr; part = std::strtok(nullptr, ",")) {
        options.ids.push_back(number(part));
      }
    } else {
      return Error(Code::kInvalidArgument, "unknown flag ", flag);
    }
  }
  if (options.model.empty()) return Error(Code::kInvalidArgument, "--model FILE is missing");
  if (options.ids.empty()) {
    for (int i = 0; i < options.n_prompt; ++i) options.ids.push_back(100 + (i * 7919) % 30000);
  }
  return options;
}

std::vector<BlockId> blocks_of(int sequence, int first, int last, int per_sequence) {
  std::vector<BlockId> blocks;
  for (int i = first; i < last; ++i) blocks.push_back(BlockId(sequence * per_sequence + i));
  return blocks;
}

struct Run {
  Executor& executor;
  const Options& options;
  int per_sequence;  ///< KV blocks
  std::uint64_t step = 0;
  std::vector<TokenId> last;  ///< one per sequence

  /// Feeds the prompt to one sequence in chunks of max_rows.
  Status prefill(int sequence) {
    const int n = static_cast<int>(options.ids.size());
    for (int first = 0; first < n; first += executor.max_rows()) {
      const int end = std::min(n, first + executor.max_rows());
      SequenceRows rows;
      rows.sequence = SequenceId(static_cast<std::uint64_t>(sequence));
      rows.first_position = first;
      for (int i = first; i < end; ++i) rows.tokens.push_back(TokenId(options.ids[static_cast<std::size_t>(i)]));
      rows.table_start = first == 0 ? 0 : per_sequence;
      if (first == 0) rows.new_blocks = blocks_of(sequence, 0, per_sequence, per_sequence);
      if (executor.kv().shape().window > 0) rows.new_window_blocks = rows.new_blocks;  // room for all of it
      rows.sample = end == n;
      rows.params = SamplingParams{.temperature = 0.0f, .banned = {}};
      StageInput input;
      input.batch.step = StepId(step++);
      input.batch.slices.push_back(std::move(rows));
      const StageOutput output = TRY(executor.step(std::move(input)));
      if (end == n) last[static_cast<std::size_t>(sequence)] = sampled(output, 0);
    }
    return {};
  }

  Status decode(int position) {
    StageInput input;
    input.batch.step = StepId(step++);
    for (int sequence = 0; sequence < options.n_batch; ++sequence) {
      SequenceRows rows;
      rows.sequence = SequenceId(static_cast<std::uint64_t>(sequence));
      rows.first_position = position;
      rows.tokens = {last[static_cast<std::size_t>(sequence)]};
      rows.table_start = per_sequence;
      rows.sample = true;
      input.batch.slices.push_back(std::move(rows));
    }
    const StageOutput output = TRY(executor.step(std::move(input)));
    for (std::size_t i = 0; i < last.size(); ++i) last[i] = sampled(output, i);
    return {};
  }

  static TokenId sampled(const StageOutput& output, std::size_t slice) {
    return std::get<SampledTokens>(output.value).results[slice].sampled->chosen.token;
  }
};

void print_memory() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS") || line.starts_with("RssAnon") || line.starts_with("RssFile"))
      std::puts(line.c_str());
  }
}

Status run(const Options& options) {
  const auto start = Clock::now();
  const auto checkpoint = TRY(Checkpoint::open(options.model));
  DecoderSpec spec = TRY(read_decoder_spec(*checkpoint));
  spec.kv_type = options.kv_type;
  const auto backend = TRY(make_cpu_backend({.n_threads = options.n_threads, .isa = options.isa}));
  const StagePlan plan{.index = 0, .n_stages = 1, .n_model_layers = spec.n_layers(), .layers = {0, spec.n_layers()}};
  PartWeights weights = TRY(load_weights(*backend, *checkpoint, spec, model_part(plan), {}));
  const int n_prompt = static_cast<int>(options.ids.size());
  const int per_sequence = (n_prompt + options.n_decode) / kBlockPositions + 1;
  const std::int32_t n_blocks = per_sequence * options.n_batch;
  const auto executor =
      TRY(Executor::create(*backend, spec, plan, std::move(weights), std::min(512, std::max(n_prompt, options.n_batch)),
                           KvShape{n_blocks, n_blocks, widest_window(spec)}));
  std::printf("isa %s, %d threads, load %.0f ms, scratch %.1f MiB, kv %.1f MiB\n", backend->info().isa.c_str(),
              backend->info().n_threads, 1e3 * seconds_since(start),
              static_cast<double>(scratch_bytes(spec, plan, executor->max_rows())) / (1 << 20),
              static_cast<double>(executor->kv().n_bytes()) / (1 << 20));

  Run run{*executor, options, per_sequence, 0, {}};
  run.last.resize(static_cast<std::size_t>(options.n_batch));
  const auto prefill_start = Clock::now();
  for (int sequence = 0; sequence < options.n_batch; ++sequence) TRY(run.prefill(sequence));
  const double prefill_s = seconds_since(prefill_start);
  std::string greedy = fmt::format("{}", run.last[0].value);
  const auto decode_start = Clock::now();
  for (int i = 0; i < options.n_decode; ++i) {
    TRY(run.decode(n_prompt + i));
    greedy += fmt::format(" {}", run.last[0].value);
  }
  const double decode_s = seconds_since(decode_start);
  std::printf("prefill %d x %d: %.1f tok/s\ndecode  %d x %d: %.1f tok/s\n", options.n_batch, n_prompt,
              options.n_batch * n_prompt / prefill_s, options.n_batch, options.n_decode,
              options.n_batch * options.n_decode / decode_s);
  std::printf("greedy: %s\n", greedy.c_str());
  print_memory();
  return {};
}

}  // namespace
}  // namespace commissure

int main(int argc, char** argv) {
  const auto options = commissure::parse(argc, argv);
  const auto status = options ? commissure::run(*options) : commissure::Status(commissure::Error(options.error()));
  if (!status) std::fprintf(stderr, "decode_bench: %s\n", status.error().to_string().c_str());
  return status ? 0 : 1;
}
