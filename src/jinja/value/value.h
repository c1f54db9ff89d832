#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace commissure::jinja {

struct Builtin;
struct Node;
struct Scope;
struct Value;

/// Python's types as templates can tell them apart.
enum class Kind : std::uint8_t {
  kUndefined,
  kNone,
  kBool,
  kInt,
  kFloat,
  kText,
  kList,
  kTuple,
  kMap,
  kRange,
  kIterator,  ///< what a generator or a dict's view gives, computed already
  kNamespace,
  kLoop,
  kCycler,
  kJoiner,
  kMacro,
  kFunction,
  kMethod,
  kMissing,  ///< an argument that was not given
};

/// Items of a list, a tuple or an iterator; they never change once the value is made.
using Items = std::span<const Value>;

struct Pair;
struct Range;
struct Map;
struct Namespace;
struct Loop;
struct Cycler;
struct Joiner;
struct Macro;
struct Method;

/// One value of a running template: 16 bytes, copied freely. What it points to lives in the render's Heap, in the
/// compiled template or in the caller's JSON, all of which outlive the render.
struct Value {
  Kind kind = Kind::kUndefined;
  std::uint8_t flag = 0;   ///< of an int: beyond int64, read as uint64; of an iterator: a dict's view; of an undefined:
                           ///< the Kind of what has no such attribute
  std::uint32_t size = 0;  ///< bytes of a text, items of a list
  union {
    std::int64_t integer = 0;
    bool boolean;
    double number;
    const char* text;
    const Value* items;
    const Range* range;
    const Map* map;
    Namespace* names;
    Loop* loop;
    Cycler* cycler;
    Joiner* joiner;
    const Macro* macro;
    const Builtin* function;
    const Method* method;
  };

  static Value none() { return of(Kind::kNone); }
  static Value missing() { return of(Kind::kMissing); }
  static Value of(bool value) {
    Value result = of(Kind::kBool);
    result.boolean = value;
    return result;
  }
  static Value of(std::int64_t value) {
    Value result = of(Kind::kInt);
    result.integer = value;
    return result;
  }
  static Value of(double value) {
    Value result = of(Kind::kFloat);
    result.number = value;
    return result;
  }
  /// `value` must outlive the render.
  static Value of(std::string_view value) {
    Value result = of(Kind::kText);
    result.text = value.data();
    result.size = static_cast<std::uint32_t>(value.size());
    return result;
  }
  static Value of(Kind kind) {
    Value result;
    result.kind = kind;
    return result;
  }
  static Value of(Kind kind, Items items) {
    Value result = of(kind);
    result.items = items.data();
    result.size = static_cast<std::uint32_t>(items.size());
    return result;
  }
  /// An undefined that remembers the name it was asked by, and of what kind of value.
  static Value undefined(std::string_view name, Kind owner = Kind::kUndefined) {
    Value result = of(name);
    result.kind = Kind::kUndefined;
    result.flag = static_cast<std::uint8_t>(owner);
    return result;
  }

  bool is(Kind other) const { return kind == other; }
  bool is_text() const { return kind == Kind::kText; }
  bool is_listing() const { return kind == Kind::kList || kind == Kind::kTuple; }
  bool is_integer() const { return kind == Kind::kInt || kind == Kind::kBool; }
  bool is_number() const { return is_integer() || kind == Kind::kFloat; }
  bool is_nothing() const { return kind == Kind::kUndefined || kind == Kind::kMissing; }

  std::string_view view() const { return {text, size}; }
  Items listing() const { return {items, size}; }
  std::int64_t as_integer() const { return kind == Kind::kBool ? std::int64_t{boolean} : integer; }
  double as_number() const;
};

struct Pair {
  Value key;
  Value value;
};

struct Range {
  std::int64_t start = 0;
  std::int64_t step = 1;
  std::int64_t size = 0;
  std::int64_t stop = 0;
};

struct Map {
  const Pair* pairs = nullptr;
  std::size_t size = 0;
  std::span<const Pair> all() const { return {pairs, size}; }
};

/// The one value that a template may change.
struct Namespace {
  Pair* pairs = nullptr;
  std::size_t size = 0;
  std::size_t capacity = 0;
};

struct Loop {
  Items items;
  std::size_t index = 0;
  std::size_t depth = 1;
  const Node* recursive = nullptr;  ///< the for statement, when it may be called
  Scope* scope = nullptr;           ///< where the for statement stands
  Value changed = Value::missing();
};

struct Cycler {
  Items items;
  std::size_t index = 0;
};

struct Joiner {
  Value separator;
  bool used = false;
};

struct Macro {
  const Node* node = nullptr;
  Scope* scope = nullptr;  ///< where it was defined
};

/// `receiver.name`, to be called.
struct Method {
  Value receiver;
  std::string_view name;
  const Builtin* builtin = nullptr;
};

/// Python's name of the value's type: "str", "NoneType", ...
std::string_view type_name(const Value& value);
std::string_view type_name(Kind kind);

/// Python's truth value.
bool truth(const Value& value);

}  // namespace commissure::jinja
