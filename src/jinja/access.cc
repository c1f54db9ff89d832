// Attributes, items, slices, maps and sorting.

#include <algorithm>
#include <charconv>
#include <cmath>

#include "jinja/operators.h"
#include "jinja/value/python_text.h"

namespace commissure::jinja {

namespace {

/// Python changes these in place, which a sandbox of values that never change refuses.
bool is_changing(Kind kind, std::string_view name) {
  static constexpr std::string_view kList[] = {"append", "clear",  "extend",  "insert",
                                               "pop",    "remove", "reverse", "sort"};
  static constexpr std::string_view kMap[] = {"clear", "pop", "popitem", "setdefault", "update"};
  if (kind == Kind::kList) return std::ranges::find(kList, name) != std::end(kList);
  return kind == Kind::kMap && std::ranges::find(kMap, name) != std::end(kMap);
}

Result<Value> loop_attribute(Render& render, const Value& owner, std::string_view name) {
  const Loop& loop = *owner.loop;
  const auto index = static_cast<std::int64_t>(loop.index);
  const auto size = static_cast<std::int64_t>(loop.items.size());
  if (name == "index") return Value::of(index + 1);
  if (name == "index0") return Value::of(index);
  if (name == "revindex") return Value::of(size - index);
  if (name == "revindex0") return Value::of(size - index - 1);
  if (name == "first") return Value::of(index == 0);
  if (name == "last") return Value::of(index + 1 == size);
  if (name == "length") return Value::of(size);
  if (name == "depth") return Value::of(static_cast<std::int64_t>(loop.depth));
  if (name == "depth0") return Value::of(static_cast<std::int64_t>(loop.depth) - 1);
  if (name == "previtem") {
    return index > 0 ? loop.items[loop.index - 1] : Value::undefined("there is no previous item", Kind::kMissing);
  }
  if (name == "nextitem") {
    return index + 1 < size ? loop.items[loop.index + 1] : Value::undefined("there is no next item", Kind::kMissing);
  }
  (void)render;
  return Value::undefined(name, Kind::kLoop);
}

Result<Value> macro_attribute(Render& render, const Value& owner, std::string_view name) {
  const Node& node = *owner.macro->node;
  if (name == "name") return Value::of(node.constant.view());
  if (name == "catch_varargs") return Value::of(node.catches_varargs);
  if (name == "catch_kwargs") return Value::of(node.catches_kwargs);
  if (name == "caller") return Value::of(node.catches_caller);
  (void)render;
  return Value::undefined(name, Kind::kMacro);
}

/// What `name` gives besides items; a missing value when there is no such attribute.
Result<Value> own_attribute(Render& render, const Value& owner, std::string_view name) {
  if (name.starts_with("__")) return Value::missing();
  if (const Builtin* builtin = find_method(owner.kind, name)) {
    Method* method = TRY(render.heap().make<Method>());
    *method = {owner, builtin->name, builtin};
    Value value = Value::of(Kind::kMethod);
    value.method = method;
    return value;
  }
  if (is_changing(owner.kind, name)) {
    return type_error(fmt::format("access to attribute '{}' of '{}' object is unsafe.", name, type_name(owner)));
  }
  switch (owner.kind) {
    case Kind::kNamespace: {
      const Namespace& names = *owner.names;
      TRY(render.spend(names.size / 8));
      for (std::size_t i = 0; i < names.size; ++i) {
        if (names.pairs[i].key.view() == name) return names.pairs[i].value;
      }
      return Value::undefined(name, Kind::kNamespace);
    }
    case Kind::kLoop: return loop_attribute(render, owner, name);
    case Kind::kMacro: return macro_attribute(render, owner, name);
    case Kind::kCycler:
      if (name == "current") return owner.cycler->items[owner.cycler->index];
      break;
    case Kind::kTuple:
      if (owner.flag != 0 && name == "grouper") return owner.items[0];
      if (owner.flag != 0 && name == "list") return owner.items[1];
      break;
    default: break;
  }
  return Value::missing();
}

std::int64_t clamp_index(const Value& value, std::int64_t size, std::int64_t low, std::int64_t high,
                         std::int64_t initial) {
  if (value.is_nothing() || value.is(Kind::kNone)) return initial;
  std::int64_t index = value.as_integer();
  if (index < 0) index = std::max(index, -size - 1) + size;
  return std::clamp(index, low, high);
}

}  // namespace

Result<const Value*> find_key(Render& render, const Map& map, const Value& key) {
  TRY(render.spend(1 + map.size / 8));
  if (key.is_text()) {
    for (const Pair& pair : map.all()) {
      if (pair.key.is_text() && pair.key.size == key.size && pair.key.view() == key.view()) return &pair.value;
    }
    return nullptr;
  }
  for (const Pair& pair : map.all()) {
    if (pair.key.is_text()) continue;
    if (TRY(equal(render, pair.key, key))) return &pair.value;
  }
  return nullptr;
}

Result<Value> make_map(Render& render, std::span<const Pair> pairs) {
  Map* map = TRY(render.heap().make<Map>());
  *map = {pairs.data(), pairs.size()};
  Value value = Value::of(Kind::kMap);
  value.map = map;
  return value;
}

Status MapBuilder::put(const Value& key, const Value& value) {
  TRY(require_hashable(render, key));
  const Map so_far{pairs, size};
  if (const Value* found = TRY(find_key(render, so_far, key))) {
    const_cast<Value&>(*found) = value;  // one of ours: `pairs`
    return {};
  }
  if (size == capacity) {
    capacity = std::max<std::size_t>(4, 2 * capacity);
    Pair* larger = TRY(render.heap().array<Pair>(capacity));
    std::copy_n(pairs, size, larger);
    pairs = larger;
  }
  pairs[size++] = {key, value};
  return {};
}

Result<Value> MapBuilder::map() { return make_map(render, {pairs, size}); }

Result<Value> tuple_of(Render& render, const Value& first, const Value& second) {
  Value* items = TRY(render.heap().array<Value>(2));
  items[0] = first;
  items[1] = second;
  return Value::of(Kind::kTuple, Items(items, 2));
}

Result<Value> get_attribute(Render& render, const Value& owner, std::string_view name) {
  TRY(require_defined(owner));
  const Value own = TRY(own_attribute(render, owner, name));
  if (!own.is(Kind::kMissing)) return own;
  if (owner.is(Kind::kMap)) {
    if (const Value* found = TRY(find_key(render, *owner.map, Value::of(name)))) return *found;
  }
  return Value::undefined(name, owner.kind);
}

Result<Value> get_item(Render& render, const Value& owner, const Value& key) {
  TRY(require_defined(owner));
  if (key.is_integer() && (owner.is_text() || owner.is_listing() || owner.is(Kind::kRange))) {
    const std::int64_t size = TRY(length_of(render, owner));
    const std::int64_t index = key.as_integer() < 0 ? key.as_integer() + size : key.as_integer();
    if (index < 0 || index >= size) {
      return Value::undefined(TRY(render.text(fmt::format("{}", key.as_integer()))).view(), owner.kind);
    }
    if (owner.is(Kind::kRange)) return Value::of(owner.range->start + owner.range->step * index);
    if (owner.is_listing()) return owner.items[index];
    const std::size_t begin = byte_offset(owner.view(), static_cast<std::size_t>(index));
    std::size_t end = begin;
    next_code_point(owner.view(), end);
    return Value::of(owner.view().substr(begin, end - begin));
  }
  if (owner.is(Kind::kMap)) {
    if (!key.is(Kind::kList) && !key.is(Kind::kMap)) {
      if (const Value* found = TRY(find_key(render, *owner.map, key))) return *found;
    }
  }
  if (key.is_text()) {
    const Value own = TRY(own_attribute(render, owner, key.view()));
    return own.is(Kind::kMissing) ? Value::undefined(key.view(), owner.kind) : own;
  }
  return Value::undefined(TRY(text_of(render, key)), owner.kind);
}

Result<Value> slice(Render& render, const Value& owner, const Value& start, const Value& stop, const Value& step) {
  TRY(require_defined(owner));
  if (!owner.is_text() && !owner.is_listing() && !owner.is(Kind::kRange)) {
    return type_error(fmt::format("'{}' object is not subscriptable", type_name(owner)));
  }
  for (const Value* part : {&start, &stop, &step}) {
    if (!part->is(Kind::kMissing) && !part->is(Kind::kNone)) TRY(integer_argument(*part, "slice index"));
  }
  const std::int64_t pace = TRY(integer_or(step, 1, "step"));
  if (pace == 0) return type_error("slice step cannot be zero");
  const std::int64_t size = TRY(length_of(render, owner));
  const std::int64_t low = pace > 0 ? 0 : -1;
  const std::int64_t high = pace > 0 ? size : size - 1;
  const std::int64_t first = clamp_index(start, size, low, high, pace > 0 ? low : high);
  const std::int64_t last = clamp_index(stop, size, low, high, pace > 0 ? high : low);
  const std::int64_t span = pace > 0 ? last - first : first - last;
  // The step may be the least integer, whose sign cannot be turned.
  const std::uint64_t stride = pace > 0 ? static_cast<std::uint64_t>(pace) : 0 - static_cast<std::uint64_t>(pace);
  const std::size_t count =
      span <= 0 ? 0 : 1 + static_cast<std::size_t>((static_cast<std::uint64_t>(span) - 1) / stride);
  const auto at = [&](std::size_t i) { return static_cast<std::size_t>(first + static_cast<std::int64_t>(i) * pace); };
  if (owner.is_text() && pace == 1) {
    TRY(render.spend(owner.size / 16));
    const std::size_t begin = byte_offset(owner.view(), static_cast<std::size_t>(first));
    const std::string_view rest = owner.view().substr(begin);
    return Value::of(rest.substr(0, byte_offset(rest, count)));
  }
  if (owner.is_listing() && pace == 1) {
    return Value::of(owner.kind, owner.listing().subspan(count == 0 ? 0 : static_cast<std::size_t>(first), count));
  }
  if (owner.is(Kind::kRange)) {
    Range* part = TRY(render.heap().make<Range>());
    part->start = owner.range->start + owner.range->step * first;
    // The wide step of a short range may be as good as any.
    if (__builtin_mul_overflow(owner.range->step, pace, &part->step)) part->step = pace > 0 ? 1 : -1;
    part->size = static_cast<std::int64_t>(count);
    part->stop = owner.range->start + owner.range->step * last;
    Value value = Value::of(Kind::kRange);
    value.range = part;
    return value;
  }
  const Items items = TRY(items_of(render, owner));
  TRY(render.spend(count));
  if (owner.is_text()) {
    std::string text;
    for (std::size_t i = 0; i < count; ++i) text += items[at(i)].view();
    return render.text(text);
  }
  Value* taken = TRY(render.heap().array<Value>(count));
  for (std::size_t i = 0; i < count; ++i) taken[i] = items[at(i)];
  return Value::of(owner.is(Kind::kTuple) ? Kind::kTuple : Kind::kList, Items(taken, count));
}

Result<Value> follow(Render& render, const Value& value, const Value& path, const Value& initial) {
  Value found = value;
  if (path.is_integer()) {
    found = TRY(get_item(render, value, path));
  } else {
    std::string_view rest = TRY(text_argument(path, "attribute"));
    for (bool more = true; more;) {
      TRY(render.spend());
      const std::size_t dot = std::min(rest.find('.'), rest.size());
      const std::string_view part = rest.substr(0, dot);
      more = dot < rest.size();
      rest.remove_prefix(std::min(dot + 1, rest.size()));
      std::int64_t index = 0;
      const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), index);
      const bool is_index = error == std::errc() && end == part.data() + part.size() && !part.starts_with('-');
      found = TRY(get_item(render, found, is_index ? Value::of(index) : Value::of(part)));
      if (found.is(Kind::kUndefined) && !initial.is(Kind::kMissing)) return initial;
    }
  }
  return found.is(Kind::kUndefined) && !initial.is(Kind::kMissing) ? initial : found;
}

Result<Value> sort_key(Render& render, const Value& value, bool ignore_case) {
  if (!ignore_case || !value.is_text()) return value;
  TRY(render.spend(value.size / 2));
  return render.text(to_lower(value.view()));
}

// A merge sort of our own, since the standard's may run off where an order contradicts itself (NaN).
Status sort_items(Render& render, std::span<Sortable> items, SortOrder order) {
  if (items.size() < 2) return {};
  Sortable* spare = TRY(render.heap().array<Sortable>(items.size()));
  for (std::size_t width = 1; width < items.size(); width *= 2) {
    for (std::size_t begin = 0; begin < items.size(); begin += 2 * width) {
      const std::size_t middle = std::min(begin + width, items.size());
      const std::size_t end = std::min(begin + 2 * width, items.size());
      std::size_t left = begin;
      std::size_t right = middle;
      for (std::size_t out = begin; out < end; ++out) {
        bool take_right = left == middle;
        if (!take_right && right < end) {
          // Python's reverse keeps equal items in their order too.
          take_right =
              TRY(compare(render, order.reverse ? Op::kGreater : Op::kLess, items[right].key, items[left].key));
        }
        spare[out] = items[take_right ? right++ : left++];
      }
    }
    std::copy_n(spare, items.size(), items.begin());
  }
  return {};
}

}  // namespace commissure::jinja
