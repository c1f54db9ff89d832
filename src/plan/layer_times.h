#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "core/result.h"

namespace commissure {

/// How long something takes with so many rows.
struct RowTime {
  double rows = 0;
  double seconds = 0;
};

/// Measured points, rows rising. In between times are linear, beyond the ends in proportion to the rows (more) or as
/// the first point (fewer).
using RowTimes = std::vector<RowTime>;
double seconds_for(const RowTimes& times, double rows);

/// Layers that take the same time: equal bytes and equal windows.
struct LayerKind {
  std::vector<int> layers{};  ///< of the whole model
  int window = 0;
  double weight_bytes = 0;      ///< of one layer
  RowTimes decode{};            ///< rows of different streams, next to no context
  double position_seconds = 0;  ///< more for each row and each position that it looks back on
  RowTimes prefill{};           ///< rows of one prompt's first chunk
};

/// What `commissure bench --layers` found on one machine for one model.
struct LayerTimes {
  std::string machine{};  ///< of the catalogue that the measured one stands for, "cpu-4"
  std::string model{}, weights{}, kv_dtype{}, precision{};
  std::string device{}, isa{}, version{}, date{};
  int n_threads = 0;
  int n_layers = 0;
  int context = 0;  ///< that `position_seconds` was measured at
  std::vector<LayerKind> kinds{};
  RowTimes embedding{}, head{};

  /// The kind of a layer of the model. Every layer has one.
  const LayerKind& kind_of(int layer) const {
    return kinds[static_cast<std::size_t>(kind_index[static_cast<std::size_t>(layer)])];
  }
  std::vector<int> kind_index{};  ///< by layer; index_kinds fills it
};

/// Errors: kInvalidArgument, a layer of no kind or of two.
Status index_kinds(LayerTimes& times);

Json layer_times_json(const LayerTimes& times);

/// A table for people.
std::string layer_times_text(const LayerTimes& times);

/// Errors: kInvalidArgument, not such a record; names what is missing or wrong.
Result<LayerTimes> parse_layer_times(std::string_view text);

}  // namespace commissure
