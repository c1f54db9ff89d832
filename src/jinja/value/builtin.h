#pragma once

#include <array>
#include <span>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "jinja/value/value.h"

namespace commissure::jinja {

class Render;

struct NamedValue {
  std::string_view name;
  Value value;
};

/// The arguments of one call; `slots` holds them by the callee's parameters, missing ones as Kind::kMissing.
struct Call {
  static constexpr std::size_t kMostSlots = 5;
  std::vector<Value> positional;
  std::vector<NamedValue> named;
  std::array<Value, kMostSlots> slots;

  const Value& operator[](std::size_t index) const { return slots[index]; }
  bool has(std::size_t index) const { return !slots[index].is(Kind::kMissing); }
};

/// A filter, test, method or function. `parameters` names its slots, "old,new,count?": with a question mark it may be
/// left out; "*": the builtin reads positional and named arguments itself.
struct Builtin {
  std::string_view name;
  std::string_view parameters;
  Result<Value> (*run)(Render& render, const Value& subject, const Call& call);
};

using Builtins = std::span<const Builtin>;

Builtins text_filters();
Builtins sequence_filters();
Builtins value_filters();
Builtins all_tests();
Builtins text_methods();
Builtins letter_methods();
Builtins map_methods();
Builtins list_methods();
Builtins cycler_methods();
Builtins loop_methods();
Builtins functions();

/// The builtin of that name; null when there is none.
const Builtin* find_builtin(Builtins table, std::string_view name);
const Builtin* find_filter(std::string_view name);
const Builtin* find_test(std::string_view name);
const Builtin* find_method(Kind kind, std::string_view name);

/// Puts the arguments into slots. Errors: kInvalidArgument as Python's TypeError.
Status bind(const Builtin& builtin, Call& call);

}  // namespace commissure::jinja
