#include "measure/layer_bench.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <functional>
#include <memory>
#include <numeric>
#include <optional>

#include "core/index.h"
#include "core/version.h"
#include "hub/model_store.h"
#include "hub/open_model.h"
#include "kernels/devices.h"
#include "model/decoder.h"
#include "plan/model_footprint.h"
#include "stage/kv_pool.h"
#include "step/step_batch.h"
#include "terminal/progress.h"

namespace commissure {

namespace {

using Clock = std::chrono::steady_clock;

constexpr int kPromptRows = 512;   // a prompt's chunk, as the planner has it
constexpr int kMaxStreams = 32;    // decoded at once
constexpr int kShortContext = 64;  // behind them
constexpr int kShortBlocks = kShortContext / kBlockPositions + 1;
constexpr double kEnoughSeconds = 0.2;  // of passes for one point
constexpr int kFewestPasses = 3;
constexpr int kMostPasses = 50;

double seconds_from(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const auto colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "a CPU";
}

std::string today() {
  const std::chrono::year_month_day day(std::chrono::floor<std::chrono::days>(std::chrono::system_clock::now()));
  return fmt::format("{:04}-{:02}-{:02}", static_cast<int>(day.year()), static_cast<unsigned>(day.month()),
                     static_cast<unsigned>(day.day()));
}

/// Layers of equal bytes, windows and states, in the order in which they first come.
std::vector<LayerKind> kinds_of(const ModelFootprint& model) {
  std::vector<LayerKind> kinds;
  for (std::size_t i = 0; i < model.layers.size(); ++i) {
    const LayerFootprint& layer = model.layers[i];
    auto kind = std::ranges::find_if(kinds, [&](const LayerKind& known) {
      const LayerFootprint& first = model.layers[to_size(known.layers.front())];
      return known.window == layer.window && known.weight_bytes == layer.weight_bytes &&
             first.state_bytes == layer.state_bytes;
    });
    if (kind == kinds.end()) {
      kinds.emplace_back();
      kind = kinds.end() - 1;
      kind->window = layer.window;
      kind->weight_bytes = layer.weight_bytes;
    }
    kind->layers.push_back(static_cast<int>(i));
  }
  return kinds;
}

/// The state of recurrent layers: any will do, since it takes no longer to advance one than another.
void place_state(int stream, SequenceSpan& span) {
  span.state_from = span.first_position == 0 ? -1 : kStatePlaces * stream;
  span.state_to = span.first_position == 0 ? kStatePlaces * stream : kStatePlaces * stream + 1;
}

/// The first layers that fit half of the machine's memory beside embedding and head.
int layers_that_fit(const ModelFootprint& model) {
  double left = 0.5 * static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  left -= model.embedding_bytes + (model.tied ? 0 : model.head_bytes);
  int n_layers = 0;
  for (const LayerFootprint& layer : model.layers) {
    left -= layer.weight_bytes + layer.table_bytes;
    if (left < 0) break;
    ++n_layers;
  }
  return n_layers;
}

/// One model on this machine, a pass at a time.
class Bench {
 public:
  struct Pass {
    double embedding = 0, head = 0;
    std::vector<double> kinds;  ///< one layer of each
  };

  Bench(LayerTimes& times, int n_layers, int context) : times_(times), n_layers_(n_layers), context_(context) {}

  Status load(const LayerBenchOptions& options, const std::string& location);
  /// All points; `on_point` after each.
  Status measure(const std::function<void()>& on_point);

 private:
  int n_long_blocks() const { return blocks_for(context_); }
  StepShape prompt(int first, int n_rows) const;
  StepShape streams(int first_stream, int n_streams, int first, int n_rows) const;
  Result<Pass> run(const StepShape& shape, int n_head_rows);
  Result<Pass> typical(const StepShape& shape, int n_head_rows);
  Status fill();
  Status add_decode(const std::function<void()>& on_point);
  Status add_prefill(const std::function<void()>& on_point);

  LayerTimes& times_;
  const int n_layers_;  ///< that are loaded
  const int context_;
  std::unique_ptr<Checkpoint> checkpoint_;
  std::unique_ptr<Backend> backend_;
  DecoderSpec spec_;
  std::unique_ptr<Decoder> decoder_;
  std::optional<KvPool> kv_;
  DeviceBuffer logits_;
};

Status Bench::load(const LayerBenchOptions& options, const std::string& location) {
  checkpoint_ = TRY(open_model(location, ReadMode::kRead, Vocabulary::kSkip));
  spec_ = TRY(read_decoder_spec(*checkpoint_));
  spec_.kv_type = TRY(parse_kv_type(times_.kv_dtype));
  spec_.precision = TRY(parse_precision(times_.precision));
  ChosenDevice chosen = TRY(make_device(options.device, {.n_threads = options.n_threads, .isa = options.isa}));
  if (!chosen.gpu.empty()) times_.device = chosen.gpu;
  backend_ = std::move(chosen.backend);
  times_.isa = backend_->info().isa;
  times_.n_threads = backend_->info().n_threads;
  const ModelPart part{0, n_layers_, true, true};
  decoder_ = TRY(Decoder::create(*backend_, spec_, part, TRY(load_weights(*backend_, *checkpoint_, spec_, part, {})),
                                 kPromptRows));
  const std::int32_t n_blocks = n_long_blocks() + kMaxStreams * kShortBlocks;
  const StagePlan plan{.index = 0, .n_stages = 1, .n_model_layers = n_layers_, .layers = {0, n_layers_}};
  kv_ = TRY(KvPool::create(*backend_, spec_, plan, {n_blocks, n_blocks, widest_window(spec_), kMaxStreams + 1}));
  logits_ = TRY(backend_->allocate(n_elements(kMaxStreams, spec_.n_vocab) * sizeof(float)));
  return {};
}

/// Rows [first, first + n_rows) of the one long text.
StepShape Bench::prompt(int first, int n_rows) const {
  StepShape shape;
  for (int i = 0; i < n_rows; ++i) shape.tokens.push_back((first + i) * 7919 % spec_.n_vocab);
  SequenceSpan span{.first_row = 0, .n_rows = n_rows, .first_position = first, .blocks = {}};
  span.blocks.resize(n_long_blocks());
  std::iota(span.blocks.begin(), span.blocks.end(), 0);
  place_state(kMaxStreams, span);
  shape.sequences.push_back(std::move(span));
  return shape;
}

/// Rows [first, first + n_rows) of each of the short texts.
StepShape Bench::streams(int first_stream, int n_streams, int first, int n_rows) const {
  StepShape shape;
  for (int stream = first_stream; stream < first_stream + n_streams; ++stream) {
    SequenceSpan span{.first_row = shape.n_rows(), .n_rows = n_rows, .first_position = first, .blocks = {}};
    for (int i = 0; i < n_rows; ++i) shape.tokens.push_back((stream * 31 + i) * 7919 % spec_.n_vocab);
    span.blocks.resize(kShortBlocks);
    std::iota(span.blocks.begin(), span.blocks.end(), n_long_blocks() + stream * kShortBlocks);
    place_state(stream, span);
    shape.sequences.push_back(std::move(span));
  }
  return shape;
}

/// The head computes the last `n_head_rows` rows.
Result<Bench::Pass> Bench::run(const StepShape& shape, int n_head_rows) {
  const int n_rows = shape.n_rows();
  Pass pass{.kinds = std::vector<double>(times_.kinds.size())};
  std::vector<int> counts(times_.kinds.size());
  const auto index = backend_->make_step_index(shape);
  auto start = Clock::now();
  const auto lap = [&]() -> Result<double> {
    TRY(backend_->fetch(logits_.ptr(), 0));
    const double seconds = seconds_from(start);
    start = Clock::now();
    return seconds;
  };
  decoder_->begin_step(*index, n_rows);
  decoder_->embed(*index, n_rows);
  decoder_->begin_layers(
      shape.tokens, [&](int) -> const StepIndex& { return *index; },
      [&](int layer) -> const KvLayer& { return kv_->layer(layer); });
  pass.embedding = TRY(lap());
  for (int layer = 0; layer < n_layers_; ++layer) {
    TRY(decoder_->run_layer(layer, *index, kv_->memory(layer), n_rows));
    const int kind = times_.kind_index[layer];
    pass.kinds[kind] += TRY(lap());
    ++counts[kind];
  }
  for (std::size_t kind = 0; kind < counts.size(); ++kind) pass.kinds[kind] /= std::max(1, counts[kind]);
  std::vector<std::int32_t> rows(n_head_rows);
  std::iota(rows.begin(), rows.end(), n_rows - n_head_rows);
  const std::vector<LogitsUse> uses(rows.size());
  decoder_->logits(rows, uses, Rows::dense(logits_.ptr(), n_head_rows, spec_.n_vocab));
  pass.head = TRY(lap());
  return pass;
}

/// The medians of several passes; the first one is not counted.
Result<Bench::Pass> Bench::typical(const StepShape& shape, int n_head_rows) {
  TRY(run(shape, n_head_rows));
  std::vector<Pass> passes;
  const auto start = Clock::now();
  while (count_of(passes) < kFewestPasses || (count_of(passes) < kMostPasses && seconds_from(start) < kEnoughSeconds)) {
    passes.push_back(TRY(run(shape, n_head_rows)));
  }
  const auto middle = [&](const auto& value_of) {
    std::vector<double> values;
    for (const Pass& pass : passes) values.push_back(value_of(pass));
    return median(std::move(values));
  };
  Pass pass;
  pass.embedding = middle([](const Pass& one) { return one.embedding; });
  pass.head = middle([](const Pass& one) { return one.head; });
  for (std::size_t kind = 0; kind < times_.kinds.size(); ++kind)
    pass.kinds.push_back(middle([&](const Pass& one) { return one.kinds[kind]; }));
  return pass;
}

/// Keys and values for every position that is looked back on.
Status Bench::fill() {
  constexpr int kAtOnce = kPromptRows / kShortContext;
  for (int stream = 0; stream < kMaxStreams; stream += kAtOnce) TRY(run(streams(stream, kAtOnce, 0, kShortContext), 1));
  for (int first = 0; first < context_; first += kPromptRows)
    TRY(run(prompt(first, std::min(kPromptRows, context_ - first)), 1));
  return {};
}

Status Bench::add_decode(const std::function<void()>& on_point) {
  Pass alone;
  for (int n_streams = 1; n_streams <= kMaxStreams; n_streams *= 2) {
    const Pass pass = TRY(typical(streams(0, n_streams, kShortContext, 1), n_streams));
    if (n_streams == 1) alone = pass;
    for (std::size_t i = 0; i < times_.kinds.size(); ++i)
      times_.kinds[i].decode.push_back({static_cast<double>(n_streams), pass.kinds[i]});
    times_.embedding.push_back({static_cast<double>(n_streams), pass.embedding});
    times_.head.push_back({static_cast<double>(n_streams), pass.head});
    on_point();
  }
  const Pass far = TRY(typical(prompt(context_ - 1, 1), 1));
  for (std::size_t i = 0; i < times_.kinds.size(); ++i) {
    LayerKind& kind = times_.kinds[i];
    const int seen = kind.window > 0 ? std::min(kind.window, context_) : context_;
    const int more = seen - (kShortContext + 1);
    if (more > 0) kind.position_seconds = std::max(0.0, far.kinds[i] - alone.kinds[i]) / more;
  }
  on_point();
  return {};
}

Status Bench::add_prefill(const std::function<void()>& on_point) {
  for (const int n_rows : {kShortContext, std::max(kShortContext + 1, std::min(kPromptRows, context_))}) {
    if (n_rows > context_) break;
    const Pass pass = TRY(typical(prompt(0, n_rows), 1));
    for (std::size_t i = 0; i < times_.kinds.size(); ++i)
      times_.kinds[i].prefill.push_back({static_cast<double>(n_rows), pass.kinds[i]});
    times_.embedding.push_back({static_cast<double>(n_rows), pass.embedding});
    on_point();
  }
  return {};
}

Status Bench::measure(const std::function<void()>& on_point) {
  TRY(fill());
  on_point();
  TRY(add_decode(on_point));
  return add_prefill(on_point);
}

}  // namespace

Result<LayerTimes> bench_layers(const LayerBenchOptions& options) {
  const LocalModel local = TRY(resolve_model(options.model, true));
  const KvType kv_type = TRY(parse_kv_type(options.kv_dtype));
  const MeasuredModel measured = TRY(measure_model(options.model, "", kv_type));
  LayerTimes times{.machine = options.machine,
                   .model = local.name,
                   .weights = measured.footprint.weights,
                   .kv_dtype = std::string(kv_type_name(kv_type)),
                   .device = cpu_name(),
                   .version = kVersion,
                   .date = today(),
                   .n_layers = count_of(measured.footprint.layers),
                   .context = std::min(options.context, measured.context),
                   .kinds = kinds_of(measured.footprint)};
  times.precision = !options.precision.empty() ? options.precision : local.precision.empty() ? "fast" : local.precision;
  TRY(index_kinds(times));
  const int n_layers = layers_that_fit(measured.footprint);
  for (const LayerKind& kind : times.kinds) {
    if (kind.layers.front() < n_layers) continue;
    return Error(Code::kResourceExhausted, "half of this machine's memory holds ", n_layers, " of ", times.n_layers,
                 " layers, and no layer like ", kind.layers.front(), ": measure where there is more memory");
  }
  ProgressLine progress("measuring", 10, ProgressUnit::kCount);
  std::uint64_t n_done = 0;
  Bench bench(times, n_layers, times.context);
  TRY(bench.load(options, local.location));
  TRY(bench.measure([&] { progress.update(++n_done); }));
  progress.finish();
  return times;
}

}  // namespace commissure
