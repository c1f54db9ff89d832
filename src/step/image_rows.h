#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/dtype.h"

namespace commissure {

/// What stands in a sequence in place of the embedded tokens of one image, as a model's image encoder made it. Stage A
/// alone has it: other stages get rows that passed layers.
struct ImageRows {
  std::string key;  ///< names the content: equal keys mean equal values, so cached blocks may be shared by it
  int n_rows = 0;
  int d_model = 0;
  /// The rows see one another, those behind them too; else each sees the rows up to its own, as text does.
  bool see_each_other = false;
  std::vector<bf16> values;  ///< [n_rows, d_model], as layers get them: not scaled as embedded tokens are
};

/// Where in a sequence an image stands.
struct PlacedImage {
  int first_position = 0;
  std::shared_ptr<const ImageRows> rows;  // shared: the encoder's cache, the request, its choices, steps in flight

  int end() const { return first_position + rows->n_rows; }
};

/// An image of which a slice of a step has rows. Of an image whose rows see each other the slice has the last one, so
/// that all of them are there when the first is computed; rows before the slice were computed with the others' help.
struct SliceImage {
  int first_position = 0;  ///< of the image, which may be before the slice's
  int n_rows = 0;          ///< of the whole image
  bool see_each_other = false;
  std::shared_ptr<const ImageRows> rows = {};  // null behind stage A; shared: as PlacedImage

  int end() const { return first_position + n_rows; }
  bool operator==(const SliceImage&) const = default;
};

}  // namespace commissure
