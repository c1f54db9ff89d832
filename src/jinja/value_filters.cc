// Filters for numbers and for values of any kind.

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "jinja/operators.h"
#include "jinja/value/python_text.h"

namespace commissure::jinja {

namespace {

Result<Value> default_filter(Render&, const Value& subject, const Call& call) {
  const Value initial = call.has(0) ? call[0] : Value::of(std::string_view(""));
  return subject.is(Kind::kUndefined) || (truth(call[1]) && !truth(subject)) ? initial : subject;
}

Result<Value> abs_filter(Render&, const Value& subject, const Call&) {
  TRY(require_defined(subject));
  if (subject.is(Kind::kFloat)) return Value::of(std::fabs(subject.number));
  if (!subject.is_integer()) return type_error(fmt::format("bad operand type for abs(): '{}'", type_name(subject)));
  return subject.as_integer() < 0 ? negate(subject, true) : Result<Value>(Value::of(subject.as_integer()));
}

Result<Value> attr(Render& render, const Value& subject, const Call& call) {
  const std::string_view name = TRY(text_of(render, call[0]));
  // Attributes only, never items.
  if (subject.is(Kind::kMap) && find_method(Kind::kMap, name) == nullptr) return Value::undefined(name, subject.kind);
  return get_attribute(render, subject, name);
}

/// int(text, base): white space, a sign, single underscores between digits, a prefix that fits the base.
std::optional<std::int64_t> parse_integer(std::string_view text, int base) {
  text = strip(text, Side::kBoth);
  bool negative = false;
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) {
    negative = text[0] == '-';
    text.remove_prefix(1);
  }
  if (text.size() > 2 && text[0] == '0') {
    const char letter = static_cast<char>(text[1] | 0x20);
    const int named = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
    if (named != 0 && (base == named || base == 0)) {
      base = named;
      text.remove_prefix(2);
    }
  }
  if (base == 0) base = 10;
  std::string digits = negative ? "-" : "";
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '_' && i > 0 && text[i - 1] != '_' && i + 1 < text.size()) continue;
    digits += text[i];
  }
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

std::optional<double> parse_float(std::string_view text) {
  text = strip(text, Side::kBoth);
  // No JSON and no template writes hexadecimal floats, which from_chars leaves alone too.
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '_' && i > 0 && std::isdigit(static_cast<unsigned char>(text[i - 1])) != 0) continue;
    plain += text[i];
  }
  const char* begin = plain.data();
  const char* end = begin + plain.size();
  if (begin != end && *begin == '+') ++begin;
  if (begin == end || *begin == '+') return std::nullopt;
  double value = 0;
  const auto [stop, error] = std::from_chars(begin, end, value);
  if (stop != end) return std::nullopt;
  if (error == std::errc::result_out_of_range) {
    const auto mark = plain.find_first_of("eE");
    const bool small = mark != std::string::npos && plain.find('-', mark) != std::string::npos;
    value = small ? 0.0 : std::numeric_limits<double>::infinity();
    return plain.front() == '-' ? -value : value;
  }
  if (error != std::errc()) return std::nullopt;
  return value;
}

std::optional<std::int64_t> truncated(double value) {
  if (!(std::fabs(value) < 9.2e18)) return std::nullopt;
  return static_cast<std::int64_t>(value);
}

Result<Value> int_filter(Render&, const Value& subject, const Call& call) {
  const Value initial = call.has(0) ? call[0] : Value::of(std::int64_t{0});
  const std::int64_t base = TRY(integer_or(call[1], 10, "base"));
  if (subject.is_integer()) return subject.is(Kind::kBool) ? Value::of(subject.as_integer()) : subject;
  std::optional<std::int64_t> value;
  if (subject.is_text()) {
    if (base == 0 || (base >= 2 && base <= 36)) value = parse_integer(subject.view(), static_cast<int>(base));
    if (!value) {
      if (const auto number = parse_float(subject.view())) value = truncated(*number);
    }
  } else if (subject.is(Kind::kFloat)) {
    value = truncated(subject.number);
  } else {
    TRY(require_defined(subject));
  }
  return value ? Value::of(*value) : initial;
}

Result<Value> float_filter(Render&, const Value& subject, const Call& call) {
  TRY(require_defined(subject));
  if (subject.is_number()) return Value::of(subject.as_number());
  if (subject.is_text()) {
    if (const auto number = parse_float(subject.view())) return Value::of(*number);
  }
  return call.has(0) ? call[0] : Value::of(0.0);
}

Result<Value> round_filter(Render&, const Value& subject, const Call& call) {
  TRY(require_defined(subject));
  const std::int64_t precision = TRY(integer_or(call[0], 0, "precision"));
  const std::string_view method = call.has(1) ? TRY(text_argument(call[1], "method")) : "common";
  if (method != "common" && method != "ceil" && method != "floor")
    return type_error("method must be common, ceil or floor");
  if (!subject.is_number())
    return type_error(fmt::format("type {} doesn't define __round__ method", type_name(subject)));
  if (method == "common") {
    if (subject.is_integer()) {
      if (precision >= 0) return Value::of(subject.as_integer());
      const double unit = std::pow(10.0, static_cast<double>(-std::max<std::int64_t>(precision, -18)));
      return Value::of(static_cast<std::int64_t>(std::nearbyint(subject.as_number() / unit) * unit));
    }
    if (!std::isfinite(subject.number) || precision > 300) return subject;
    if (precision < 0) {
      const double unit = std::pow(10.0, static_cast<double>(-std::max<std::int64_t>(precision, -300)));
      return Value::of(std::nearbyint(subject.number / unit) * unit);
    }
    std::array<char, 1024> room;
    std::snprintf(room.data(), room.size(), "%.*f", static_cast<int>(precision), subject.number);
    return Value::of(std::strtod(room.data(), nullptr));
  }
  if (precision > 300 || precision < -300) return type_error("the precision is too large");
  const double unit = std::pow(10.0, static_cast<double>(precision));
  const double scaled = subject.as_number() * unit;
  return Value::of((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / unit);
}

Result<Value> tojson(Render& render, const Value& subject, const Call& call) {
  JsonStyle style;
  style.ensure_ascii = truth(call[0]);
  const Value& indent = call[1];
  if (indent.is_text()) {
    style.indent = std::string(indent.view());
  } else if (!indent.is_nothing() && !indent.is(Kind::kNone)) {
    const std::int64_t n = TRY(integer_argument(indent, "indent"));
    if (n > 1000) return type_error("tojson: 'indent' is at most 1000");
    style.indent = std::string(static_cast<std::size_t>(std::max<std::int64_t>(n, 0)), ' ');
  }
  if (style.indent) style.item_separator = ",";
  if (call.has(2) && !call[2].is(Kind::kNone)) {
    const Items pair = TRY(items_of(render, call[2]));
    if (pair.size() != 2) return type_error("tojson: 'separators' are two texts");
    style.item_separator = TRY(text_argument(pair[0], "separators"));
    style.key_separator = TRY(text_argument(pair[1], "separators"));
  }
  style.sort_keys = truth(call[3]);
  std::string out;
  TRY(append_json(render, out, subject, style));
  return render.text(out);
}

Result<Value> pprint(Render& render, const Value& subject, const Call&) {
  std::string out;
  TRY(append_repr(render, out, subject));
  return render.text(out);
}

Result<Value> xmlattr(Render& render, const Value& subject, const Call& call) {
  if (!subject.is(Kind::kMap)) return type_error("xmlattr takes a mapping");
  std::string out;
  const auto escaped = [&](const Value& value) -> Result<std::string_view> {
    Call none;
    return TRY(render.call(*find_filter("escape"), value, none)).view();
  };
  for (const Pair& pair : subject.map->all()) {
    if (pair.value.is(Kind::kNone) || pair.value.is(Kind::kUndefined)) continue;
    if (!out.empty()) TRY(render.append(out, " "));
    TRY(render.append(out, TRY(escaped(pair.key))));
    TRY(render.append(out, "=\""));
    TRY(render.append(out, TRY(escaped(pair.value))));
    TRY(render.append(out, "\""));
  }
  const bool space = !call.has(0) || truth(call[0]);
  if (space && !out.empty()) out.insert(out.begin(), ' ');
  return render.text(out);
}

constexpr Builtin kFilters[] = {
    {"default", "default_value?,boolean?", default_filter},
    {"d", "default_value?,boolean?", default_filter},
    {"abs", "", abs_filter},
    {"attr", "name", attr},
    {"int", "default?,base?", int_filter},
    {"float", "default?", float_filter},
    {"round", "precision?,method?", round_filter},
    {"tojson", "ensure_ascii?,indent?,separators?,sort_keys?", tojson},
    {"pprint", "", pprint},
    {"xmlattr", "autospace?", xmlattr},
};

}  // namespace

Builtins value_filters() { return kFilters; }

}  // namespace commissure::jinja
