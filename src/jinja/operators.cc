#include "jinja/operators.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "jinja/value/python_text.h"

namespace commissure::jinja {

namespace {

constexpr std::int64_t kSignedMost = INT64_MAX;

std::string shown_owner(Kind kind) { return kind == Kind::kNone ? "None" : std::string(type_name(kind)) + " object"; }

std::string_view symbol(Op op) {
  switch (op) {
    case Op::kAdd: return "+";
    case Op::kSubtract: return "-";
    case Op::kMultiply: return "*";
    case Op::kDivide: return "/";
    case Op::kFloorDivide: return "//";
    case Op::kModulo: return "%";
    case Op::kPower: return "**";
    case Op::kLess: return "<";
    case Op::kLessEqual: return "<=";
    case Op::kGreater: return ">";
    case Op::kGreaterEqual: return ">=";
    default: return "in";
  }
}

Error unsupported(Op op, const Value& a, const Value& b) {
  return type_error(
      fmt::format("unsupported operand type(s) for {}: '{}' and '{}'", symbol(op), type_name(a), type_name(b)));
}

template <typename T>
bool ordered(Op op, const T& a, const T& b) {
  switch (op) {
    case Op::kLess: return a < b;
    case Op::kLessEqual: return a <= b;
    case Op::kGreater: return a > b;
    default: return a >= b;
  }
}

bool is_wide(const Value& value) { return value.is(Kind::kInt) && value.flag != 0; }

Result<Value> too_large() { return type_error("integers beyond 64 bits are not supported"); }

Result<Value> integer_power(std::int64_t base, std::int64_t exponent) {
  if (exponent < 0) return Value::of(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  std::int64_t result = 1;
  if (base == 0 || base == 1) return Value::of(exponent == 0 ? std::int64_t{1} : base);
  if (base == -1) return Value::of(exponent % 2 == 0 ? std::int64_t{1} : std::int64_t{-1});
  for (; exponent > 0; --exponent) {  // at most 63 rounds until it overflows
    if (__builtin_mul_overflow(result, base, &result)) return too_large();
  }
  return Value::of(result);
}

Result<Value> integers(Op op, std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  switch (op) {
    case Op::kAdd:
      if (__builtin_add_overflow(a, b, &result)) return too_large();
      return Value::of(result);
    case Op::kSubtract:
      if (__builtin_sub_overflow(a, b, &result)) return too_large();
      return Value::of(result);
    case Op::kMultiply:
      if (__builtin_mul_overflow(a, b, &result)) return too_large();
      return Value::of(result);
    case Op::kPower: return integer_power(a, b);
    default: break;
  }
  if (b == 0) return type_error(op == Op::kDivide ? "division by zero" : "integer division or modulo by zero");
  if (op == Op::kDivide) return Value::of(static_cast<double>(a) / static_cast<double>(b));
  if (b == -1) return op == Op::kModulo ? Value::of(std::int64_t{0}) : integers(Op::kSubtract, 0, a);
  std::int64_t quotient = a / b;
  std::int64_t rest = a % b;
  if (rest != 0 && (rest < 0) != (b < 0)) {
    --quotient;
    rest += b;
  }
  return Value::of(op == Op::kModulo ? rest : quotient);
}

Result<Value> floats(Op op, double a, double b) {
  switch (op) {
    case Op::kAdd: return Value::of(a + b);
    case Op::kSubtract: return Value::of(a - b);
    case Op::kMultiply: return Value::of(a * b);
    case Op::kPower: {
      if (a == 0 && b < 0) return type_error("0.0 cannot be raised to a negative power");
      const double result = std::pow(a, b);
      if (std::isinf(result) && std::isfinite(a) && std::isfinite(b))
        return type_error("Numerical result out of range");
      return Value::of(result);
    }
    default: break;
  }
  if (b == 0) return type_error(op == Op::kDivide ? "float division by zero" : "float floor division by zero");
  if (op == Op::kDivide) return Value::of(a / b);
  double rest = std::fmod(a, b);
  if (rest != 0 && (rest < 0) != (b < 0)) rest += b;
  if (op == Op::kModulo) return Value::of(rest == 0 ? std::copysign(0.0, b) : rest);
  return Value::of(std::round((a - rest) / b));
}

Result<Value> repeat(Render& render, const Value& value, std::int64_t count) {
  const auto n = static_cast<std::size_t>(std::max<std::int64_t>(count, 0));
  if (value.size == 0 || n == 0)
    return value.is_text() ? Value::of(std::string_view("")) : Value::of(value.kind, Items());
  if (n > render.limits().memory_bytes / value.size) {
    return Error(Code::kResourceExhausted, "the template makes too long a value");
  }
  const std::size_t size = n * value.size;
  if (value.is_text()) {
    std::string text;
    TRY(render.spend(size / 16));
    if (size > render.limits().text_bytes)
      return render.heap().concat(value.view(), std::string_view(value.text, size));
    text.reserve(size);
    for (std::size_t i = 0; i < n; ++i) text += value.view();
    return render.text(text);
  }
  TRY(render.spend(size));
  Value* items = TRY(render.heap().array<Value>(size));
  for (std::size_t i = 0; i < size; ++i) items[i] = value.items[i % value.size];
  return Value::of(value.kind, Items(items, size));
}

Result<Value> add(Render& render, const Value& a, const Value& b) {
  if (a.is_text() && b.is_text()) {
    TRY(render.spend((a.size + b.size) / 16));
    return render.heap().concat(a.view(), b.view());
  }
  if (a.is_listing() && a.kind == b.kind) {
    const std::size_t size = std::size_t{a.size} + b.size;
    TRY(render.spend(size));
    Value* items = TRY(render.heap().array<Value>(size));
    std::ranges::copy(a.listing(), items);
    std::ranges::copy(b.listing(), items + a.size);
    return Value::of(a.kind, Items(items, size));
  }
  if (a.is_text()) return type_error(fmt::format("can only concatenate str (not \"{}\") to str", type_name(b)));
  return unsupported(Op::kAdd, a, b);
}

Result<bool> equal_items(Render& render, Items a, Items b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!TRY(equal(render, a[i], b[i]))) return false;
  }
  return true;
}

Result<bool> less_items(Render& render, Op op, Items a, Items b) {
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    if (!TRY(equal(render, a[i], b[i]))) return compare(render, op, a[i], b[i]);
  }
  return ordered(op, a.size(), b.size());
}

}  // namespace

Error type_error(std::string_view message) { return Error(Code::kInvalidArgument, message); }

Error undefined_error(const Value& value) {
  const std::string_view name = value.view();
  if (name.empty()) return type_error("a value is undefined");
  const auto owner = static_cast<Kind>(value.flag);
  if (owner == Kind::kMissing) return type_error(name);
  if (owner == Kind::kUndefined) return type_error(fmt::format("'{}' is undefined", name));
  return type_error(fmt::format("'{}' has no attribute '{}'", shown_owner(owner), name));
}

Status require_defined(const Value& value) {
  if (value.is(Kind::kUndefined)) return undefined_error(value);
  return {};
}

Result<bool> equal(Render& render, const Value& a, const Value& b) {
  TRY(render.spend());
  if (a.is_number() && b.is_number()) {
    if (a.is(Kind::kFloat) || b.is(Kind::kFloat)) return a.as_number() == b.as_number();
    return a.as_integer() == b.as_integer() && is_wide(a) == is_wide(b);
  }
  if (a.kind != b.kind) return false;
  switch (a.kind) {
    case Kind::kUndefined:
    case Kind::kNone: return true;
    case Kind::kText:
      if (a.size != b.size) return false;
      TRY(render.spend(a.size / 16));
      return a.view() == b.view();
    case Kind::kList:
    case Kind::kTuple: {
      if (a.items == b.items && a.size == b.size) return true;
      const Render::Level level(render);
      TRY(level.check());
      return equal_items(render, a.listing(), b.listing());
    }
    case Kind::kMap: {
      if (a.map == b.map) return true;
      if (a.map->size != b.map->size) return false;
      const Render::Level level(render);
      TRY(level.check());
      for (const Pair& pair : a.map->all()) {
        const Value* other = TRY(find_key(render, *b.map, pair.key));
        if (other == nullptr || !TRY(equal(render, pair.value, *other))) return false;
      }
      return true;
    }
    case Kind::kRange: {
      const Range& x = *a.range;
      const Range& y = *b.range;
      return x.size == y.size && (x.size == 0 || (x.start == y.start && (x.size == 1 || x.step == y.step)));
    }
    default: return a.items == b.items;
  }
}

Result<bool> contains(Render& render, const Value& container, const Value& item) {
  if (container.is_text()) {
    if (!item.is_text()) {
      TRY(require_defined(item));
      return type_error(fmt::format("'in <string>' requires string as left operand, not {}", type_name(item)));
    }
    TRY(render.spend((container.size + item.size) / 16));
    return find_text(container.view(), item.view()) != std::string_view::npos;
  }
  if (container.is(Kind::kMap)) {
    TRY(require_hashable(render, item));
    return TRY(find_key(render, *container.map, item)) != nullptr;
  }
  if (!is_iterable(container)) {
    return type_error(fmt::format("argument of type '{}' is not iterable", type_name(container)));
  }
  for (const Value& each : TRY(items_of(render, container))) {
    if (TRY(equal(render, each, item))) return true;
  }
  return false;
}

Result<bool> compare(Render& render, Op op, const Value& a, const Value& b) {
  TRY(render.spend());
  switch (op) {
    case Op::kEqual: return equal(render, a, b);
    case Op::kNotEqual: return !TRY(equal(render, a, b));
    case Op::kIn: return contains(render, b, a);
    case Op::kNotIn: return !TRY(contains(render, b, a));
    default: break;
  }
  TRY(require_defined(a));
  TRY(require_defined(b));
  if (a.is_number() && b.is_number()) {
    if (a.is(Kind::kFloat) || b.is(Kind::kFloat) || is_wide(a) || is_wide(b))
      return ordered(op, a.as_number(), b.as_number());
    return ordered(op, a.as_integer(), b.as_integer());
  }
  if (a.is_text() && b.is_text()) {
    TRY(render.spend(std::min(a.size, b.size) / 16));
    return ordered(op, a.view(), b.view());
  }
  if (a.is_listing() && a.kind == b.kind) {
    const Render::Level level(render);
    TRY(level.check());
    return less_items(render, op, a.listing(), b.listing());
  }
  return type_error(
      fmt::format("'{}' not supported between instances of '{}' and '{}'", symbol(op), type_name(a), type_name(b)));
}

Result<Value> arithmetic(Render& render, Op op, const Value& a, const Value& b) {
  if (op == Op::kModulo && a.is_text()) return format_percent(render, a.view(), b);
  TRY(require_defined(a));
  TRY(require_defined(b));
  if (a.is_number() && b.is_number()) {
    if (a.is_integer() && b.is_integer() && !is_wide(a) && !is_wide(b))
      return integers(op, a.as_integer(), b.as_integer());
    return floats(op, a.as_number(), b.as_number());
  }
  if (op == Op::kAdd) return add(render, a, b);
  if (op == Op::kMultiply) {
    if ((a.is_text() || a.is_listing()) && b.is_integer()) return repeat(render, a, b.as_integer());
    if ((b.is_text() || b.is_listing()) && a.is_integer()) return repeat(render, b, a.as_integer());
  }
  return unsupported(op, a, b);
}

Result<Value> negate(const Value& value, bool negative) {
  TRY(require_defined(value));
  if (!value.is_number()) {
    return type_error(fmt::format("bad operand type for unary {}: '{}'", negative ? "-" : "+", type_name(value)));
  }
  if (value.is(Kind::kFloat)) return Value::of(negative ? -value.number : value.number);
  if (is_wide(value)) return negative ? too_large() : Result<Value>(value);
  return negative ? integers(Op::kSubtract, 0, value.as_integer()) : Result<Value>(Value::of(value.as_integer()));
}

Status require_hashable(Render& render, const Value& value, int depth) {
  TRY(render.spend());
  if (value.is(Kind::kList) || value.is(Kind::kMap))
    return type_error(fmt::format("unhashable type: '{}'", type_name(value)));
  if (!value.is(Kind::kTuple)) return {};
  if (depth > render.limits().depth) return type_error("a key is nested too deeply");
  for (const Value& item : value.listing()) TRY(require_hashable(render, item, depth + 1));
  return {};
}

bool is_iterable(const Value& value) {
  switch (value.kind) {
    case Kind::kUndefined:
    case Kind::kText:
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kMap:
    case Kind::kRange:
    case Kind::kIterator:
    case Kind::kLoop: return true;
    default: return false;
  }
}

Result<Items> items_of(Render& render, const Value& value) {
  switch (value.kind) {
    case Kind::kUndefined: return Items();
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kIterator: return value.listing();
    case Kind::kText: {
      Collector letters(render);
      for (std::size_t at = 0; at < value.size;) {
        const std::size_t begin = at;
        next_code_point(value.view(), at);
        TRY(letters.add(Value::of(value.view().substr(begin, at - begin))));
      }
      return letters.items();
    }
    case Kind::kMap: {
      TRY(render.spend(value.map->size));
      Value* keys = TRY(render.heap().array<Value>(value.map->size));
      for (std::size_t i = 0; i < value.map->size; ++i) keys[i] = value.map->pairs[i].key;
      return Items(keys, value.map->size);
    }
    case Kind::kRange: {
      const auto size = static_cast<std::size_t>(value.range->size);
      TRY(render.spend(size));
      Value* numbers = TRY(render.heap().array<Value>(size));
      for (std::size_t i = 0; i < size; ++i) {
        numbers[i] = Value::of(value.range->start + value.range->step * static_cast<std::int64_t>(i));
      }
      return Items(numbers, size);
    }
    case Kind::kLoop: return value.loop->items.subspan(std::min(value.loop->index + 1, value.loop->items.size()));
    default: return type_error(fmt::format("'{}' object is not iterable", type_name(value)));
  }
}

Result<std::int64_t> length_of(Render& render, const Value& value) {
  switch (value.kind) {
    case Kind::kUndefined: return 0;
    case Kind::kText:
      TRY(render.spend(value.size / 16));
      return static_cast<std::int64_t>(count_code_points(value.view()));
    case Kind::kList:
    case Kind::kTuple: return value.size;
    case Kind::kMap: return static_cast<std::int64_t>(value.map->size);
    case Kind::kRange: return value.range->size;
    case Kind::kLoop: return static_cast<std::int64_t>(value.loop->items.size());
    case Kind::kIterator:
      if (value.flag != 0) return value.size;
      break;
    default: break;
  }
  return type_error(fmt::format("object of type '{}' has no len()", type_name(value)));
}

std::size_t find_text(std::string_view text, std::string_view part, std::size_t from) {
  if (from > text.size()) return text.npos;
  if (part.empty()) return from;
  const void* found = ::memmem(text.data() + from, text.size() - from, part.data(), part.size());
  return found == nullptr ? text.npos : static_cast<std::size_t>(static_cast<const char*>(found) - text.data());
}

std::size_t find_last_text(std::string_view text, std::string_view part) {
  const std::string backwards(text.rbegin(), text.rend());
  const std::size_t found = find_text(backwards, std::string(part.rbegin(), part.rend()));
  return found == text.npos ? text.npos : text.size() - found - part.size();
}

Result<std::int64_t> integer_argument(const Value& value, std::string_view what) {
  TRY(require_defined(value));
  if (!value.is_integer() || is_wide(value)) {
    return type_error(fmt::format("'{}' must be an integer, not '{}'", what, type_name(value)));
  }
  return value.as_integer();
}

Result<std::int64_t> integer_or(const Value& value, std::int64_t initial, std::string_view what) {
  if (value.is(Kind::kMissing) || value.is(Kind::kNone)) return initial;
  return integer_argument(value, what);
}

Result<std::string_view> text_argument(const Value& value, std::string_view what) {
  TRY(require_defined(value));
  if (!value.is_text()) return type_error(fmt::format("'{}' must be a string, not '{}'", what, type_name(value)));
  return value.view();
}

}  // namespace commissure::jinja
