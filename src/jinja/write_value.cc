// Values as text: str(), repr() and json.dumps().

#include <algorithm>
#include <cmath>

#include "jinja/operators.h"
#include "jinja/value/python_text.h"

namespace commissure::jinja {

namespace {

std::string integer_text(const Value& value) {
  return value.flag != 0 ? fmt::format("{}", static_cast<std::uint64_t>(value.integer))
                         : fmt::format("{}", value.integer);
}

Status append_items(Render& render, std::string& out, Items items, std::string_view open, std::string_view close) {
  const Render::Level level(render);
  TRY(level.check());
  TRY(render.append(out, open));
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i > 0) TRY(render.append(out, ", "));
    TRY(append_repr(render, out, items[i]));
  }
  return render.append(out, close);
}

Status append_pairs(Render& render, std::string& out, std::span<const Pair> pairs) {
  const Render::Level level(render);
  TRY(level.check());
  TRY(render.append(out, "{"));
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    if (i > 0) TRY(render.append(out, ", "));
    TRY(append_repr(render, out, pairs[i].key));
    TRY(render.append(out, ": "));
    TRY(append_repr(render, out, pairs[i].value));
  }
  return render.append(out, "}");
}

void append_json_text(std::string& out, std::string_view text, bool ensure_ascii) {
  out += '"';
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    const char32_t letter = next_code_point(text, at);
    switch (letter) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      case '\b': out += "\\b"; break;
      case '\f': out += "\\f"; break;
      default:
        if (letter < 0x20 || (ensure_ascii && letter >= 0x7F && letter < 0x10000)) {
          fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(letter));
        } else if (ensure_ascii && letter >= 0x10000) {
          const unsigned rest = static_cast<unsigned>(letter) - 0x10000;
          fmt::format_to(std::back_inserter(out), "\\u{:04x}\\u{:04x}", 0xD800 + (rest >> 10), 0xDC00 + (rest & 0x3FF));
        } else {
          out += text.substr(begin, at - begin);
        }
    }
  }
  out += '"';
}

std::string json_number(const Value& value) {
  if (value.is(Kind::kBool)) return value.boolean ? "true" : "false";
  if (value.is(Kind::kInt)) return integer_text(value);
  if (std::isnan(value.number)) return "NaN";
  if (std::isinf(value.number)) return value.number < 0 ? "-Infinity" : "Infinity";
  return float_repr(value.number);
}

Status append_break(Render& render, std::string& out, const JsonStyle& style, int level) {
  if (!style.indent) return {};
  TRY(render.append(out, "\n"));
  for (int i = 0; i < level; ++i) TRY(render.append(out, *style.indent));
  return {};
}

Result<std::string> json_key(const Value& key) {
  if (key.is_text()) return std::string(key.view());
  if (key.is(Kind::kNone)) return std::string("null");
  if (key.is_number()) return json_number(key);
  return type_error(fmt::format("keys must be str, int, float, bool or None, not {}", type_name(key)));
}

Status append_json_map(Render& render, std::string& out, const Map& map, const JsonStyle& style, int level) {
  if (map.size == 0) return render.append(out, "{}");
  std::span<const Pair> pairs = map.all();
  if (style.sort_keys) {
    Sortable* order = TRY(render.heap().array<Sortable>(map.size));
    for (std::size_t i = 0; i < map.size; ++i) order[i] = {pairs[i].key, Value::of(static_cast<std::int64_t>(i))};
    TRY(sort_items(render, {order, map.size}, {.ignore_case = false}));
    Pair* sorted = TRY(render.heap().array<Pair>(map.size));
    for (std::size_t i = 0; i < map.size; ++i) sorted[i] = pairs[static_cast<std::size_t>(order[i].item.integer)];
    pairs = {sorted, map.size};
  }
  TRY(render.append(out, "{"));
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    if (i > 0) TRY(render.append(out, style.item_separator));
    TRY(append_break(render, out, style, level + 1));
    std::string key;
    append_json_text(key, TRY(json_key(pairs[i].key)), style.ensure_ascii);
    TRY(render.append(out, key));
    TRY(render.append(out, style.key_separator));
    TRY(append_json(render, out, pairs[i].value, style, level + 1));
  }
  TRY(append_break(render, out, style, level));
  return render.append(out, "}");
}

Status append_json_list(Render& render, std::string& out, Items items, const JsonStyle& style, int level) {
  if (items.empty()) return render.append(out, "[]");
  TRY(render.append(out, "["));
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i > 0) TRY(render.append(out, style.item_separator));
    TRY(append_break(render, out, style, level + 1));
    TRY(append_json(render, out, items[i], style, level + 1));
  }
  TRY(append_break(render, out, style, level));
  return render.append(out, "]");
}

}  // namespace

Status append_text(Render& render, std::string& out, const Value& value) {
  if (value.is(Kind::kUndefined)) return {};
  if (value.is_text()) return render.append(out, value.view());
  return append_repr(render, out, value);
}

Status append_repr(Render& render, std::string& out, const Value& value) {
  TRY(render.spend());
  switch (value.kind) {
    case Kind::kMissing:
    case Kind::kUndefined: return render.append(out, "Undefined");
    case Kind::kNone: return render.append(out, "None");
    case Kind::kBool: return render.append(out, value.boolean ? "True" : "False");
    case Kind::kInt: return render.append(out, integer_text(value));
    case Kind::kFloat: return render.append(out, float_repr(value.number));
    case Kind::kText: {
      std::string shown;
      TRY(render.spend(value.size / 4));
      append_repr(shown, value.view());
      return render.append(out, shown);
    }
    case Kind::kList: return append_items(render, out, value.listing(), "[", "]");
    case Kind::kTuple: return append_items(render, out, value.listing(), "(", value.size == 1 ? ",)" : ")");
    case Kind::kMap: return append_pairs(render, out, value.map->all());
    case Kind::kRange:
      if (value.range->step == 1)
        return render.append(out, fmt::format("range({}, {})", value.range->start, value.range->stop));
      return render.append(out,
                           fmt::format("range({}, {}, {})", value.range->start, value.range->stop, value.range->step));
    case Kind::kNamespace:
      TRY(render.append(out, "<Namespace "));
      TRY(append_pairs(render, out, {value.names->pairs, value.names->size}));
      return render.append(out, ">");
    case Kind::kLoop:
      return render.append(out, fmt::format("<LoopContext {}/{}>", value.loop->index + 1, value.loop->items.size()));
    case Kind::kMacro: return render.append(out, fmt::format("<Macro '{}'>", value.macro->node->constant.view()));
    case Kind::kIterator:
      if (value.flag == 1) return append_items(render, out, value.listing(), "dict_items([", "])");
      if (value.flag == 2) return append_items(render, out, value.listing(), "dict_keys([", "])");
      if (value.flag == 3) return append_items(render, out, value.listing(), "dict_values([", "])");
      return render.append(out, "<generator object>");
    case Kind::kFunction: return render.append(out, fmt::format("<function {}>", value.function->name));
    case Kind::kMethod:
      return render.append(
          out, fmt::format("<built-in method {} of {} object>", value.method->name, type_name(value.method->receiver)));
    case Kind::kCycler:
    case Kind::kJoiner: return render.append(out, fmt::format("<jinja2.utils.{} object>", type_name(value)));
  }
  return {};
}

Result<std::string_view> text_of(Render& render, const Value& value) {
  if (value.is_text()) return value.view();
  std::string text;
  TRY(append_text(render, text, value));
  return TRY(render.text(text)).view();
}

Status append_json(Render& render, std::string& out, const Value& value, const JsonStyle& style, int level) {
  TRY(render.spend());
  const Render::Level nested(render);
  TRY(nested.check());
  switch (value.kind) {
    case Kind::kNone: return render.append(out, "null");
    case Kind::kBool:
    case Kind::kInt:
    case Kind::kFloat: return render.append(out, json_number(value));
    case Kind::kText: {
      std::string text;
      TRY(render.spend(value.size / 4));
      append_json_text(text, value.view(), style.ensure_ascii);
      return render.append(out, text);
    }
    case Kind::kList:
    case Kind::kTuple: return append_json_list(render, out, value.listing(), style, level);
    case Kind::kMap: return append_json_map(render, out, *value.map, style, level);
    default: return type_error(fmt::format("Object of type {} is not JSON serializable", type_name(value)));
  }
}

}  // namespace commissure::jinja
