#include "model/boundary_layout.h"

#include <algorithm>

namespace commissure {

const BoundaryLayout::Shared* BoundaryLayout::find(int layer) const {
  const auto found = std::ranges::find(shared, layer, &Shared::layer);
  return found == shared.end() ? nullptr : &*found;
}

BoundaryLayout boundary_layout(const DecoderSpec& spec, int cut) {
  BoundaryLayout layout;
  layout.d_model = spec.d_model;
  layout.has_inputs = spec.per_layer_width > 0;
  layout.width = spec.d_model * (layout.has_inputs ? 2 : 1);
  for (int layer = 0; layer < cut; ++layer) {
    if (!shares_kv(spec, layer)) continue;
    const HeadLayout& heads = spec.layers[layer].heads;
    layout.shared.push_back({layer, layout.width, heads.n_kv_heads * heads.head_dim});
    layout.width += 2 * heads.n_kv_heads * heads.head_dim;
  }
  return layout;
}

std::vector<int> foreign_owners(const DecoderSpec& spec, int first, int last) {
  std::vector<int> owners;
  for (int layer = first; layer < last; ++layer) {
    const int owner = spec.layers[layer].kv_owner;
    if (owner >= 0 && owner < first) owners.push_back(owner);
  }
  std::ranges::sort(owners);
  owners.erase(std::unique(owners.begin(), owners.end()), owners.end());
  return owners;
}

std::vector<int> kept_kv(const DecoderSpec& spec, int first, int last) {
  std::vector<int> kept = foreign_owners(spec, first, last);
  for (int layer = first; layer < last; ++layer) {
    if (spec.layers[layer].kv_owner < 0 && !spec.layers[layer].is_recurrent()) kept.push_back(layer);
  }
  return kept;
}

}  // namespace commissure
