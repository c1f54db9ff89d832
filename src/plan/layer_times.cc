#include "plan/layer_times.h"

#include <fmt/format.h>

#include <algorithm>

namespace commissure {

namespace {

constexpr const char* kFormat = "commissure layer times 1";
constexpr int kMostLayers = 4096;

Json points_json(const RowTimes& times) {
  Json points = Json::array();
  for (const RowTime& time : times) points.push_back({time.rows, time.seconds * 1000});
  return points;
}

Error malformed(const std::string& what) { return Error(Code::kInvalidArgument, what); }

Result<std::string> named_text(const Json& object, const char* key) {
  const Json* value = find_member(object, key);
  if (value == nullptr || !value->is_string()) return malformed(std::string(key) + " must be a text");
  return value->get<std::string>();
}

Result<double> named_number(const Json& object, const char* key) {
  const Json* value = find_member(object, key);
  if (value == nullptr || !value->is_number() || !(value->get<double>() >= 0))
    return malformed(std::string(key) + " must be a number, zero or more");
  return value->get<double>();
}

Result<int> named_count(const Json& object, const char* key) {
  const double value = TRY(named_number(object, key));
  if (value > 1e6) return malformed(std::string(key) + " is too large");
  return static_cast<int>(value);
}

Result<RowTimes> points_of(const Json& object, const char* key) {
  const auto wrong = [&] { return malformed(std::string(key) + " must list [rows, ms] with rows rising from 1"); };
  const Json* list = find_member(object, key);
  if (list == nullptr || !list->is_array() || list->empty()) return wrong();
  RowTimes times;
  for (const Json& point : *list) {
    if (!point.is_array() || point.size() != 2 || !point[0].is_number() || !point[1].is_number()) return wrong();
    const RowTime time{point[0].get<double>(), point[1].get<double>() / 1000};
    if (!(time.rows >= 1) || !(time.seconds >= 0)) return wrong();
    if (!times.empty() && !(time.rows > times.back().rows)) return wrong();
    times.push_back(time);
  }
  return times;
}

Result<LayerKind> kind_from(const Json& object, int n_layers) {
  LayerKind kind;
  const Json* layers = find_member(object, "layers");
  if (layers == nullptr || !layers->is_array()) return malformed("layers of a kind must be a list");
  for (const Json& layer : *layers) {
    if (!layer.is_number_integer() || layer.get<std::int64_t>() < 0 || layer.get<std::int64_t>() >= n_layers)
      return malformed("layers of a kind must be numbers below n_layers");
    kind.layers.push_back(layer.get<int>());
  }
  kind.window = TRY(named_count(object, "window"));
  kind.weight_bytes = TRY(named_number(object, "weight_bytes"));
  kind.decode = TRY(points_of(object, "decode_ms"));
  kind.position_seconds = TRY(named_number(object, "position_us")) / 1e6;
  kind.prefill = TRY(points_of(object, "prefill_ms"));
  return kind;
}

Result<LayerTimes> times_from(const Json& root) {
  if (TRY(named_text(root, "format")) != kFormat) return malformed(std::string("format must be \"") + kFormat + "\"");
  LayerTimes times;
  for (const auto& [key, field] : {std::pair{"machine", &times.machine},
                                   {"model", &times.model},
                                   {"weights", &times.weights},
                                   {"kv_dtype", &times.kv_dtype},
                                   {"precision", &times.precision},
                                   {"device", &times.device},
                                   {"isa", &times.isa},
                                   {"version", &times.version},
                                   {"date", &times.date}}) {
    *field = TRY(named_text(root, key));
  }
  times.n_threads = TRY(named_count(root, "threads"));
  times.n_layers = TRY(named_count(root, "n_layers"));
  times.context = TRY(named_count(root, "context"));
  if (times.n_layers < 1 || times.n_layers > kMostLayers) return malformed("n_layers is absurd");
  const Json* kinds = find_member(root, "kinds");
  if (kinds == nullptr || !kinds->is_array()) return malformed("kinds must be a list");
  for (const Json& kind : *kinds) times.kinds.push_back(TRY(kind_from(kind, times.n_layers)));
  times.embedding = TRY(points_of(root, "embedding_ms"));
  times.head = TRY(points_of(root, "head_ms"));
  TRY(index_kinds(times));
  return times;
}

}  // namespace

double seconds_for(const RowTimes& times, double rows) {
  if (times.empty()) return 0;
  const auto above = std::ranges::lower_bound(times, rows, {}, &RowTime::rows);
  if (above == times.begin()) return above->seconds;
  const RowTime& below = *(above - 1);
  if (above == times.end()) return below.seconds * rows / below.rows;
  return below.seconds + (above->seconds - below.seconds) * (rows - below.rows) / (above->rows - below.rows);
}

Status index_kinds(LayerTimes& times) {
  times.kind_index.assign(times.n_layers, -1);
  for (std::size_t i = 0; i < times.kinds.size(); ++i) {
    for (const int layer : times.kinds[i].layers) {
      int& index = times.kind_index[layer];
      if (index >= 0) return Error(Code::kInvalidArgument, "layer ", layer, " is of two kinds");
      index = static_cast<int>(i);
    }
  }
  const auto none = std::ranges::find(times.kind_index, -1);
  if (none == times.kind_index.end()) return {};
  return Error(Code::kInvalidArgument, "layer ", none - times.kind_index.begin(), " is of no kind");
}

Json layer_times_json(const LayerTimes& times) {
  Json kinds = Json::array();
  for (const LayerKind& kind : times.kinds) {
    kinds.push_back({{"layers", kind.layers},
                     {"window", kind.window},
                     {"weight_bytes", kind.weight_bytes},
                     {"decode_ms", points_json(kind.decode)},
                     {"position_us", kind.position_seconds * 1e6},
                     {"prefill_ms", points_json(kind.prefill)}});
  }
  return {{"format", kFormat},
          {"machine", times.machine},
          {"model", times.model},
          {"weights", times.weights},
          {"kv_dtype", times.kv_dtype},
          {"precision", times.precision},
          {"device", times.device},
          {"isa", times.isa},
          {"threads", times.n_threads},
          {"version", times.version},
          {"date", times.date},
          {"n_layers", times.n_layers},
          {"context", times.context},
          {"kinds", kinds},
          {"embedding_ms", points_json(times.embedding)},
          {"head_ms", points_json(times.head)}};
}

std::string layer_times_text(const LayerTimes& times) {
  std::string text =
      fmt::format("{}, {}, KV in {}, {} on {} ({}, {} threads)\n\n{:<12} {:>7} {:>10}", times.model, times.weights,
                  times.kv_dtype, times.precision, times.device, times.isa, times.n_threads, "MS", "LAYERS", "BYTES");
  const RowTimes& points = times.kinds.front().decode;
  for (const RowTime& point : points) text += fmt::format(" {:>8}", fmt::format("{:g} rows", point.rows));
  text += fmt::format(" {:>10} {:>10}\n", "+1000 pos", "prompt 512");
  const auto add = [&](const RowTimes& decode) {
    for (const RowTime& point : points) text += fmt::format(" {:>8.3f}", 1000 * seconds_for(decode, point.rows));
  };
  for (const LayerKind& kind : times.kinds) {
    const std::string name = kind.window > 0 ? fmt::format("window {}", kind.window) : "layer";
    text += fmt::format("{:<12} {:>7} {:>7.2f} MB", name, kind.layers.size(), kind.weight_bytes / 1e6);
    add(kind.decode);
    text += fmt::format(" {:>10.3f} {:>10.3f}\n", 1e6 * kind.position_seconds, 1000 * seconds_for(kind.prefill, 512));
  }
  text += fmt::format("{:<12} {:>7} {:>10}", "embedding", "", "");
  add(times.embedding);
  text += fmt::format("\n{:<12} {:>7} {:>10}", "head", "", "");
  add(times.head);
  return text + "\n";
}

Result<LayerTimes> parse_layer_times(std::string_view text) { return times_from(TRY(parse_json(text))); }

}  // namespace commissure
