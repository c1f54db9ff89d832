#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "jinja/render.h"

namespace commissure::jinja {

/// Python's operators and protocols on values. All of them cost fuel by the size of what they look at.
/// Errors everywhere: kInvalidArgument, as Python's exceptions; kResourceExhausted, a limit.

Error type_error(std::string_view message);

/// An error when `value` is undefined and may not be used.
Status require_defined(const Value& value);
Error undefined_error(const Value& value);

Result<bool> equal(Render& render, const Value& a, const Value& b);
/// `op` is one of the six comparisons, in, not in.
Result<bool> compare(Render& render, Op op, const Value& a, const Value& b);
Result<bool> contains(Render& render, const Value& container, const Value& item);
Result<Value> arithmetic(Render& render, Op op, const Value& a, const Value& b);
Result<Value> negate(const Value& value, bool negative);

/// Checks that `value` can be a key of a map. Errors: kInvalidArgument, its type is unhashable.
Status require_hashable(Render& render, const Value& value, int depth = 0);

/// All items of an iterable value; an undefined has none.
Result<Items> items_of(Render& render, const Value& value);
/// len(); 0 of an undefined. Errors: kInvalidArgument, a value of its type has no length.
Result<std::int64_t> length_of(Render& render, const Value& value);
bool is_iterable(const Value& value);

Result<Value> get_attribute(Render& render, const Value& owner, std::string_view name);
Result<Value> get_item(Render& render, const Value& owner, const Value& key);
Result<Value> slice(Render& render, const Value& owner, const Value& start, const Value& stop, const Value& step);
/// The value of a key; null when there is none.
Result<const Value*> find_key(Render& render, const Map& map, const Value& key);
Result<Value> make_map(Render& render, std::span<const Pair> pairs);
Result<Value> tuple_of(Render& render, const Value& first, const Value& second);

/// Puts `value` under a key, over one that is there already.
struct MapBuilder {
  explicit MapBuilder(Render& render) : render(render) {}
  Status put(const Value& key, const Value& value);
  Result<Value> map();
  Render& render;
  Pair* pairs = nullptr;
  std::size_t size = 0;
  std::size_t capacity = 0;
};

/// str() and repr().
Status append_text(Render& render, std::string& out, const Value& value);
Status append_repr(Render& render, std::string& out, const Value& value);
/// str(): the text itself where it is one.
Result<std::string_view> text_of(Render& render, const Value& value);

struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  std::optional<std::string> indent;
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};
Status append_json(Render& render, std::string& out, const Value& value, const JsonStyle& style, int level = 0);

/// `format % arguments` and `format.format(...)`.
Result<Value> format_percent(Render& render, std::string_view format, const Value& arguments);
Result<Value> format_braces(Render& render, std::string_view format, const Call& call);

/// Positions of `part` in `text`, in linear time whatever they hold; npos when there is none.
std::size_t find_text(std::string_view text, std::string_view part, std::size_t from = 0);
std::size_t find_last_text(std::string_view text, std::string_view part);

/// Pays for work that looks each letter of `text` up in Unicode's tables.
inline Status spend_letters(Render& render, std::string_view text) { return render.spend(text.size() / 2); }

/// An argument's value; `what` names it in errors. Errors: kInvalidArgument, it has another type.
Result<std::int64_t> integer_argument(const Value& value, std::string_view what);
Result<std::int64_t> integer_or(const Value& value, std::int64_t initial, std::string_view what);
Result<std::string_view> text_argument(const Value& value, std::string_view what);

/// `a.b.0` followed from `value`; `initial` where it ends in nothing.
Result<Value> follow(Render& render, const Value& value, const Value& path, const Value& initial = Value::missing());

/// Items in order, stable. `ignore_case` folds texts.
struct SortOrder {
  bool reverse = false;
  bool ignore_case = true;
};
struct Sortable {
  Value key;
  Value item;
};
Status sort_items(Render& render, std::span<Sortable> items, SortOrder order);
/// A text in lower case where case is ignored, else the value.
Result<Value> sort_key(Render& render, const Value& value, bool ignore_case);

}  // namespace commissure::jinja
