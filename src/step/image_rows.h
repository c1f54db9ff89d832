#pragma once

#include <memory>
#include <string>
#include <vector>

namespace commissure {

/// What stands in a sequence in place of the embedded tokens of one image, as a model's image encoder made it. Stage A
/// alone has it: other stages get rows that passed layers.
struct ImageRows {
  std::string key;  ///< names the content: equal keys mean equal values, so cached blocks may be shared by it
  int n_rows = 0;
  int d_model = 0;
  /// The rows see one another, those behind them too; else each sees the rows up to its own, as text does.
  bool see_each_other = false;
  std::vector<float> values;  ///< [n_rows, d_model], not scaled as embedded tokens are
};

/// Where in a sequence an image stands.
struct PlacedImage {
  int first_position = 0;
  std::shared_ptr<const ImageRows> rows;  // shared: the encoder's cache, the request, its choices, steps in flight
};

}  // namespace commissure
