#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "core/json.h"
#include "core/result.h"

namespace commissure {

/// A published model in numbers, its text model alone.
struct Shape {
  std::string_view name;    ///< "gemma-3-27b"
  std::string_view family;  ///< model_type of its config.json
  int n_layers, d_model, n_heads, n_kv_heads, head_dim, d_ff, n_vocab;
  bool tied_head;
  std::int64_t n_parameters;     ///< as published
  std::int64_t n_active = 0;     ///< of them without the experts that a row does not take; 0: all are
  std::string_view more = "{}";  ///< what else its config.json says
  int period = 0;                ///< its config.json lists the layers' kinds: of so many the last sees all positions
};

/// By family, smallest first.
std::span<const Shape> known_shapes();

/// The shape of this name; case, dashes, dots and spaces do not count. Errors: kNotFound, naming the nearest ones.
Result<const Shape*> find_shape(std::string_view name);

/// Its config.json, as models of the family are saved. A head of the even share of the width goes unsaid.
Json config_of(const Shape& shape);

}  // namespace commissure
