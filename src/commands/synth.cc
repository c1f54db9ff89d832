#include <fmt/format.h>
#include <sys/statvfs.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <system_error>

#include "commands/command.h"
#include "core/json.h"
#include "hub/model_store.h"
#include "hub/open_model.h"
#include "model/decoder_spec.h"
#include "synth/synth_model.h"
#include "synth/synth_request.h"
#include "terminal/progress.h"
#include "terminal/stop_signal.h"
#include "weights/model_writer.h"

namespace commissure {

namespace {

namespace fs = std::filesystem;

struct SynthOptions {
  std::string shape, layers, seed = "1", format = "safetensors", dtype = "bf16", scale_down, tokenizer, out;
  bool has_vision = false;
  bool lists = false;
  bool as_json = false;
};

Result<int> list_shapes(bool as_json) {
  if (as_json) {
    Json list = Json::array();
    for (const Shape& shape : known_shapes()) {
      list.push_back({{"shape", shape.name},
                      {"family", shape.family},
                      {"layers", shape.n_layers},
                      {"d_model", shape.d_model},
                      {"parameters", shape.n_parameters},
                      {"active", shape.n_active == 0 ? shape.n_parameters : shape.n_active}});
    }
    fmt::print("{}\n", dump_json(list));
    return 0;
  }
  fmt::print("{:<22}{:<13}{:>7}{:>8}{:>13}{:>12}\n", "SHAPE", "FAMILY", "LAYERS", "WIDTH", "PARAMETERS", "BYTES");
  for (const Shape& shape : known_shapes()) {
    SynthRequest request;
    request.shape = &shape;
    fmt::print("{:<22}{:<13}{:>7}{:>8}{:>11.2f} B{:>12}\n", shape.name, shape.family, shape.n_layers, shape.d_model,
               static_cast<double>(shape.n_parameters) / 1e9, human_bytes(TRY(synth_bytes(request))));
  }
  return 0;
}

Result<SynthRequest> read_request(const SynthOptions& options) {
  SynthRequest request = TRY(request_for(options.shape));
  if (!options.layers.empty()) request.layers = TRY(parse_layer_span(options.layers));
  request.seed = TRY(parse_seed(options.seed));
  request.format = TRY(parse_synth_format(options.format));
  request.dtype = TRY(parse_synth_dtype(options.dtype));
  if (!options.scale_down.empty()) request.scale_down = TRY(parse_scale_down(options.scale_down));
  request.has_vision = options.has_vision;
  request.tokenizer = options.tokenizer;
  TRY(check_request(request));
  return request;
}

/// Errors: kResourceExhausted, the disk that `folder` is to be on has less room than `n_bytes`.
Status check_room(const std::string& folder, std::uint64_t n_bytes) {
  std::error_code ignored;
  fs::path place = fs::absolute(folder, ignored);
  while (!fs::exists(place, ignored) && place.has_relative_path()) place = place.parent_path();
  struct statvfs disk{};
  if (statvfs(place.c_str(), &disk) != 0) return {};  // writing will tell
  const std::uint64_t room = std::uint64_t{disk.f_bavail} * disk.f_frsize;
  if (n_bytes <= room) return {};
  return Error(Code::kResourceExhausted, folder, ": takes ", human_bytes(n_bytes), ", and ", place.string(), " has ",
               human_bytes(room),
               " left; say fewer layers (--layers) or --scale-down, or name the model synth:SHAPE, "
               "which needs no disk");
}

Result<int> write(const SynthOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  const SynthRequest request = TRY(read_request(options));
  const LocalModel model = TRY(resolve_model(synth_name(request), false));
  const auto checkpoint = TRY(open_model(model.location));
  const DecoderSpec spec = TRY(read_decoder_spec(*checkpoint));  // what was made up can be read
  std::uint64_t total = checkpoint->header_bytes();
  for (const TensorInfo& tensor : checkpoint->tensors()) total += tensor.n_bytes;
  TRY(check_room(options.out, total));
  ProgressLine progress("writing " + options.out, total);
  WriteOptions writing;
  writing.progress = [&](std::uint64_t done, std::uint64_t) {
    progress.update(done);
    return stop_signal() == 0;
  };
  catch_stop_signals();  // so that what is half written goes away
  const std::uint64_t n_bytes = TRY(write_model(*checkpoint, options.out, writing));
  progress.finish();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  fmt::print("{}: {}, {} layers, {} in {:.1f} s\n", options.out, model.location, spec.n_layers(), human_bytes(n_bytes),
             seconds);
  return 0;
}

/// Whether something else can be said instead: all but accidents.
bool is_wrong_wish(Code code) {
  return code == Code::kInvalidArgument || code == Code::kNotFound || code == Code::kAlreadyExists ||
         code == Code::kUnimplemented || code == Code::kResourceExhausted;
}

/// A wish that cannot be had is a wrong flag.
Result<int> synth(const SynthOptions& options) {
  if (options.lists) return list_shapes(options.as_json);
  if (options.shape.empty() || options.out.empty()) {
    std::fputs("commissure synth: say --shape SHAPE and the folder to write; --list names the shapes\n", stderr);
    return 2;
  }
  const auto status = write(options);
  if (status || !is_wrong_wish(status.error().code())) return status;
  std::fprintf(stderr, "commissure synth: %s\n", status.error().message().c_str());
  return 2;
}

}  // namespace

CommandRun add_synth(CLI::App& app) {
  auto options = std::make_shared<SynthOptions>();
  app.add_option("folder", options->out, "the folder to write, new or empty");
  app.add_option(
      "--shape", options->shape,
      "a published model's shape, e.g. gemma-3-27b; gemma-3-27b-tiny: a few small layers; --list names them");
  app.add_option("--layers", options->layers,
                 "these layers alone, e.g. 20-43, with embedding and head; their bytes are those of the whole model");
  app.add_option("--seed", options->seed, "other weights; default: 1");
  app.add_option("--format", options->format, "safetensors or gguf; default: safetensors");
  app.add_option("--dtype", options->dtype, "of the matrices: bf16, f16, f32, in a GGUF also q8_0; default: bf16");
  app.add_option("--scale-down", options->scale_down,
                 "divide widths, heads, experts, vocabulary and windows by 1 to 64; default: 1");
  app.add_option(
      "--tokenizer", options->tokenizer,
      "a model of the same format whose tokenizer and chat templates to take; default: one token a byte, and "
      "made-up words");
  app.add_flag("--vision", options->has_vision, "with an image encoder; safetensors of gemma-3");
  app.add_flag("--list", options->lists, "name all shapes");
  app.add_flag("--json", options->as_json, "with --list: JSON");
  return [options] { return synth(*options); };
}

}  // namespace commissure
