#pragma once

#include <vector>

#include "model/decoder_spec.h"

namespace commissure {

/// What one row of the stream that runs through the layers holds, in columns: the residual [d_model]; in models with
/// per-layer embeddings the row as it was embedded [d_model]; then, of every layer passed whose keys and values later
/// layers read, its keys and values. A boundary carries the columns that exist at its cut, so that any cut is legal
/// (decision 12): those of an earlier cut are the first columns of a later one.
struct BoundaryLayout {
  /// Keys, then values, of one owner's row.
  struct Shared {
    int layer = 0;
    int first_col = 0;  ///< of the keys
    int kv_width = 0;   ///< n_kv_heads * head_dim
  };
  int d_model = 0;
  bool has_inputs = false;  ///< columns [d_model, 2 d_model) hold the row as it was embedded
  std::vector<Shared> shared;
  int width = 0;  ///< columns in all

  /// nullptr: later layers do not read this layer's keys and values, or it lies behind the cut.
  const Shared* find(int layer) const;
};

/// The columns between layers `cut - 1` and `cut`, 0 <= cut <= n_layers.
BoundaryLayout boundary_layout(const DecoderSpec& spec, int cut);

/// Owners in front of `first` whose keys and values layers [first, last) read: a stage of these layers keeps a copy.
std::vector<int> foreign_owners(const DecoderSpec& spec, int first, int last);

/// Layers whose keys and values a stage of layers [first, last) keeps, rising: foreign owners, then its own.
std::vector<int> kept_kv(const DecoderSpec& spec, int first, int last);

}  // namespace commissure
