#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "core/result.h"

namespace commissure {

/// How long one computation takes with `rows` rows.
struct RowTime {
  double rows = 0;
  double seconds = 0;
};

/// Measured points, rows rising. Between two points times are linear; above the last point they grow in proportion to
/// the rows; below the first they are the first point's.
using RowTimes = std::vector<RowTime>;
double seconds_for(const RowTimes& times, double rows);

/// Layers that take the same time, since their bytes and their windows are equal.
struct LayerKind {
  std::vector<int> layers{};  ///< indices in the whole model
  int window = 0;
  double weight_bytes = 0;      ///< of one layer
  RowTimes decode{};            ///< rows of different streams, with next to no context
  double position_seconds = 0;  ///< added for each row and each position that the row looks back on
  RowTimes prefill{};           ///< rows of one prompt's first chunk
};

/// What `commissure bench --layers` found on one machine for one model.
struct LayerTimes {
  std::string machine{};  ///< the catalogue's machine that the measured one stands for, "cpu-4"
  std::string model{}, weights{}, kv_dtype{}, precision{};
  std::string device{}, isa{}, version{}, date{};
  int n_threads = 0;
  int n_layers = 0;
  int context = 0;  ///< positions at which `position_seconds` was measured
  std::vector<LayerKind> kinds{};
  RowTimes embedding{}, head{};

  /// The kind of a layer of the model. Every layer has one.
  const LayerKind& kind_of(int layer) const { return kinds[kind_index[layer]]; }
  std::vector<int> kind_index{};  ///< index into `kinds` by layer; index_kinds fills it
};

/// Fills kind_index. Errors: kInvalidArgument, a layer is in no kind or in two.
Status index_kinds(LayerTimes& times);

Json layer_times_json(const LayerTimes& times);

/// A table for people.
std::string layer_times_text(const LayerTimes& times);

/// Reads what layer_times_json() wrote. Errors: kInvalidArgument, naming what is missing or wrong.
Result<LayerTimes> parse_layer_times(std::string_view text);

}  // namespace commissure
