#include <fmt/format.h>

#include <chrono>
#include <memory>

#include "commands/command.h"
#include "commands/quant_choice.h"
#include "hub/model_store.h"
#include "hub/open_model.h"
#include "model/quantise_at_load.h"
#include "terminal/progress.h"
#include "terminal/stop_signal.h"
#include "weights/header_reader.h"
#include "weights/model_writer.h"

namespace commissure {

namespace {

constexpr const char* kExpand = "bf16";

struct QuantiseOptions {
  std::string model, quant, out;
};

/// Makes `checkpoint` hand out what is to be written.
Status prepare(Checkpoint& checkpoint, const QuantiseOptions& options) {
  const DecoderSpec spec = TRY(read_decoder_spec(checkpoint));
  if (options.quant == kExpand) return check_expandable(checkpoint);
  const QuantWish wish = TRY(parse_quant(options.quant));
  return quantise_at_load(checkpoint, spec, {0, spec.n_layers(), true, true}, wish);
}

Result<int> quantise(const QuantiseOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  const LocalModel model = TRY(resolve_model(options.model, false));
  const auto checkpoint = TRY(open_model(model.location));
  if (const Status ready = prepare(*checkpoint, options); !ready)
    return refuse(ready.error(), options.quant, "quantise");
  std::uint64_t total = 0;
  for (const TensorInfo& tensor : checkpoint->tensors()) total += tensor.n_bytes;
  const bool expands = options.quant == kExpand;
  ProgressLine progress("writing " + options.out, expands ? 0 : total);
  WriteOptions writing{.expand = expands, .progress = {}};
  writing.progress = [&](std::uint64_t done, std::uint64_t) {
    progress.update(done);
    return stop_signal() == 0;
  };
  catch_stop_signals();  // so that what is half written goes away
  const std::uint64_t n_bytes = TRY(write_model(*checkpoint, options.out, writing));
  progress.finish();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (const auto& left_out = checkpoint->unsupported_dtypes(); !left_out.empty()) {
    const auto& [name, dtype] = *left_out.begin();
    fmt::print(stderr, "commissure quantise: left out {} tensors of types that are not supported, the first: {} ({})\n",
               left_out.size(), printable(name), dtype);
  }
  fmt::print("{}: {} in {:.1f} s\n", options.out, human_bytes(n_bytes), seconds);
  return 0;
}

}  // namespace

CommandRun add_quantise(CLI::App& app) {
  auto options = std::make_shared<QuantiseOptions>();
  app.add_option("model", options->model, "known name, file, folder or URL, of BF16, F16 or F32 weights")->required();
  app.add_option("--quant", options->quant,
                 "int8 or nf4, with +head the head too; bf16: the other way, of a model that others have quantised")
      ->required()
      ->check(CLI::IsMember({"int8", "nf4", "int8+head", "nf4+head", kExpand}));
  app.add_option("--out", options->out, "the folder to write, new or empty")->required();
  return [options] { return quantise(*options); };
}

}  // namespace commissure
