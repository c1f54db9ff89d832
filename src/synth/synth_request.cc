#include "synth/synth_request.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <utility>

#include <fmt/format.h>

#include "core/check.h"
#include "synth/synth_vision.h"
#include "weights/header_reader.h"

namespace commissure {
namespace {

constexpr std::string_view kPrefix = "synth:";
constexpr int kMostScaleDown = 64;

constexpr std::array<std::pair<std::string_view, CheckpointFormat>, 2> kFormats = {
    {{"safetensors", CheckpointFormat::kSafetensors}, {"gguf", CheckpointFormat::kGguf}}};
constexpr std::array<std::pair<std::string_view, DType>, 4> kDtypes = {
    {{"bf16", DType::kBF16}, {"f16", DType::kF16}, {"f32", DType::kF32}, {"q8_0", DType::kQ8_0}}};

template <typename T, std::size_t N>
std::string_view name_of(const std::array<std::pair<std::string_view, T>, N>& names, T value) {
  const auto* found = std::ranges::find(names, value, &std::pair<std::string_view, T>::second);
  CHECK(found != names.end());
  return found->first;
}

template <typename T, std::size_t N>
Result<T> find_named(const std::array<std::pair<std::string_view, T>, N>& names, std::string_view text,
                     std::string_view what) {
  const auto* found = std::ranges::find(names, text, &std::pair<std::string_view, T>::first);
  if (found != names.end()) return found->second;
  std::string taken;
  for (const auto& [name, value] : names) taken += fmt::format("{}{}", taken.empty() ? "" : ", ", name);
  return Error(Code::kInvalidArgument, what, " is ", printable(text), ", must be one of ", taken);
}

/// The whole text as a number.
template <typename T>
std::optional<T> number(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Status set_option(std::string_view key, std::string_view value, SynthRequest& request) {
  if (key == "seed") {
    request.seed = TRY(parse_seed(value));
  } else if (key == "format") {
    request.format = TRY(parse_synth_format(value));
  } else if (key == "dtype") {
    request.dtype = TRY(parse_synth_dtype(value));
  } else if (key == "scale-down") {
    request.scale_down = TRY(parse_scale_down(value));
  } else if (key == "vision") {
    request.has_vision = TRY(parse_switch(value, "vision"));
  } else if (key == "tokenizer") {
    request.tokenizer = value;
  } else {
    return Error(Code::kInvalidArgument, printable(key),
                 " is no option behind \"?\"; there are seed, format, dtype, scale-down, vision and tokenizer");
  }
  return {};
}

Result<SynthRequest> parse(std::string_view text) {
  const std::size_t question = std::min(text.find('?'), text.size());
  std::string_view options = text.substr(std::min(question + 1, text.size()));
  text = text.substr(0, question);
  const std::size_t at = std::min(text.find('@'), text.size());
  SynthRequest request = TRY(request_for(text.substr(0, at)));
  if (at < text.size()) request.layers = TRY(parse_layer_span(text.substr(at + 1)));
  while (!options.empty()) {
    const std::string_view option = options.substr(0, options.find('&'));
    options.remove_prefix(std::min(option.size() + 1, options.size()));
    const std::size_t equals = option.find('=');
    const bool is_seed = equals == std::string_view::npos;
    TRY(set_option(is_seed ? "seed" : option.substr(0, equals), is_seed ? option : option.substr(equals + 1), request));
  }
  TRY(check_request(request));
  return request;
}

bool is_letter(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; }

/// What stands before "-tiny", however that is spelled.
std::optional<std::string_view> without_tiny(std::string_view name) {
  const auto skip_signs = [&] {
    while (!name.empty() && !is_letter(name.back())) name.remove_suffix(1);
  };
  for (std::string_view wanted = "tiny"; !wanted.empty(); wanted.remove_suffix(1)) {
    skip_signs();
    if (name.empty() || std::tolower(static_cast<unsigned char>(name.back())) != wanted.back()) return std::nullopt;
    name.remove_suffix(1);
  }
  skip_signs();
  return name;
}

}  // namespace

Result<LayerSpan> parse_layer_span(std::string_view text) {
  const std::size_t dash = text.find('-');
  const auto first = number<int>(text.substr(0, dash));
  const auto last = dash == std::string_view::npos ? first : number<int>(text.substr(dash + 1));
  if (first && last && *first >= 0 && *first <= *last) return LayerSpan{*first, *last};
  return Error(Code::kInvalidArgument, "layers ", printable(text),
               " are none; say the first and the last one, counted from 0, as 20-43");
}

Result<CheckpointFormat> parse_synth_format(std::string_view text) { return find_named(kFormats, text, "format"); }

Result<DType> parse_synth_dtype(std::string_view text) { return find_named(kDtypes, text, "dtype"); }

Result<int> parse_scale_down(std::string_view text) {
  const auto value = number<int>(text);
  if (value && *value >= 1 && *value <= kMostScaleDown) return *value;
  return Error(Code::kInvalidArgument, "scale-down is ", printable(text), ", must be a number of 1 to ",
               kMostScaleDown);
}

Result<bool> parse_switch(std::string_view text, std::string_view what) {
  if (text == "on" || text == "off") return text == "on";
  return Error(Code::kInvalidArgument, what, " is ", printable(text), ", must be on or off");
}

Result<std::uint64_t> parse_seed(std::string_view text) {
  if (const auto value = number<std::uint64_t>(text)) return *value;
  return Error(Code::kInvalidArgument, "seed is ", printable(text), ", must be a number of 0 to 2^64 - 1");
}

Result<SynthRequest> request_for(std::string_view shape_name) {
  constexpr int kTinyLayers = 6;  // the longest period of layers that differ
  SynthRequest request;
  const auto as_named = find_shape(shape_name);
  const auto larger = without_tiny(shape_name);
  if (as_named || !larger) {
    request.shape = TRY(as_named);
    return request;
  }
  request.shape = TRY(find_shape(*larger));
  request.scale_down = kMostScaleDown;
  const Shape& shape = *request.shape;
  const int n_sharing = config_of(shape).value("num_kv_shared_layers", 0);
  const int n_layers = n_sharing == 0 ? kTinyLayers : shape.n_layers - n_sharing + shape.period;
  request.layers = LayerSpan{0, std::min(n_layers, shape.n_layers) - 1};
  return request;
}

bool is_synth_name(std::string_view name) { return name.starts_with(kPrefix); }

Result<SynthRequest> parse_synth_name(std::string_view name) {
  auto request = parse(name.substr(std::min(kPrefix.size(), name.size())));
  if (!request) return request.error().within(printable(name));
  return request;
}

std::string synth_name(const SynthRequest& request) {
  const SynthRequest plain;
  std::string name = fmt::format("{}{}", kPrefix, request.shape->name);
  if (request.layers) name += fmt::format("@{}-{}", request.layers->first, request.layers->last);
  char separator = '?';
  const auto add = [&](std::string_view key, const auto& value) {
    name += fmt::format("{}{}={}", separator, key, value);
    separator = '&';
  };
  if (request.seed != plain.seed) add("seed", request.seed);
  if (request.format != plain.format) add("format", name_of(kFormats, request.format));
  if (request.dtype != plain.dtype) add("dtype", name_of(kDtypes, request.dtype));
  if (request.scale_down != plain.scale_down) add("scale-down", request.scale_down);
  if (request.has_vision) add("vision", "on");
  if (!request.tokenizer.empty()) add("tokenizer", request.tokenizer);
  return name;
}

std::string served_synth_name(const SynthRequest& request) {
  const SynthRequest plain;
  std::string name = fmt::format("synth-{}", request.shape->name);
  if (request.layers) name += fmt::format("-layers-{}-{}", request.layers->first, request.layers->last);
  if (request.scale_down != plain.scale_down) name += fmt::format("-scale-down-{}", request.scale_down);
  if (request.has_vision) name += "-vision";
  if (request.seed != plain.seed) name += fmt::format("-seed-{}", request.seed);
  if (request.dtype != plain.dtype) name += fmt::format("-{}", name_of(kDtypes, request.dtype));
  if (request.format != plain.format) name += fmt::format("-{}", name_of(kFormats, request.format));
  return name;
}

Status check_request(const SynthRequest& request) {
  const Shape& shape = *request.shape;
  if (request.layers && request.layers->last >= shape.n_layers) {
    return Error(Code::kInvalidArgument, "layers ", request.layers->first, "-", request.layers->last, ": ", shape.name,
                 " has ", shape.n_layers, ", 0-", shape.n_layers - 1);
  }
  if (request.dtype == DType::kQ8_0 && request.format != CheckpointFormat::kGguf) {
    return Error(Code::kInvalidArgument, "dtype q8_0 is GGUF's; say format gguf, or quantise while loading (--quant)");
  }
  if (request.has_vision && (!may_see(shape) || request.format != CheckpointFormat::kSafetensors)) {
    return Error(Code::kInvalidArgument, "vision is on: safetensors of the shapes of gemma-3 have image encoders, ",
                 shape.name, request.format == CheckpointFormat::kGguf ? " as a GGUF" : "", " has none");
  }
  if (request.tokenizer.find('&') != std::string::npos) {
    return Error(Code::kInvalidArgument, "tokenizer ", printable(request.tokenizer),
                 " holds \"&\", behind which the next option begins; rename it, or name a link to it");
  }
  if (is_synth_name(request.tokenizer)) {
    return Error(Code::kInvalidArgument, "tokenizer ", printable(request.tokenizer),
                 " lies nowhere: a tokenizer is a model with files; write the made-up one first (commissure synth)");
  }
  return {};
}

}  // namespace commissure
