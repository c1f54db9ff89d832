// Python's "{}".format(x).

#include <algorithm>
#include <charconv>
#include <cmath>

#include "jinja/format_spec.h"
#include "jinja/operators.h"
#include "jinja/value/python_text.h"

namespace commissure::jinja {

namespace {

Result<Spec> read_spec(std::string_view text) {
  Spec spec;
  std::size_t at = 0;
  const auto is_align = [&](std::size_t i) {
    return i < text.size() && std::string_view("<>^=").find(text[i]) != std::string_view::npos;
  };
  if (!text.empty()) {
    std::size_t second = 0;
    next_code_point(text, second);
    if (is_align(second)) {
      spec.fill = text.substr(0, second);
      spec.align = text[second];
      at = second + 1;
    } else if (is_align(0)) {
      spec.align = text[0];
      at = 1;
    }
  }
  const auto skip = [&](char c) { return at < text.size() && text[at] == c ? (++at, true) : false; };
  if (at < text.size() && std::string_view("+- ").find(text[at]) != std::string_view::npos) spec.sign = text[at++];
  spec.alternate = skip('#');
  if (skip('0')) {
    spec.zero = true;
    if (spec.align == 0) {
      spec.fill = "0";
      spec.align = '=';
    }
  }
  spec.width = TRY(read_count(text, at));
  if (at < text.size() && (text[at] == ',' || text[at] == '_')) spec.grouping = text[at++];
  if (skip('.')) {
    const std::size_t begin = at;
    spec.precision = TRY(read_count(text, at));
    if (begin == at) return type_error("Format specifier missing precision");
  }
  if (at < text.size()) spec.type = text[at++];
  if (at != text.size()) return type_error("Invalid format specifier");
  return spec;
}

Result<std::string> format_float(Render& render, double value, const Spec& spec) {
  std::string body;
  const double magnitude = std::fabs(value);
  if (spec.type == 0 && spec.precision < 0) {
    body = float_repr(magnitude);
  } else {
    const char type = spec.type == '%' ? 'f' : spec.type == 'n' || spec.type == 0 ? 'g' : spec.type;
    const std::int64_t precision = spec.precision < 0 ? 6 : spec.precision;
    body = TRY(float_body(spec.type == '%' ? 100 * magnitude : magnitude, type, precision, spec.alternate));
    if (spec.type == '%') body += '%';
  }
  const std::string sign = sign_of(std::signbit(value), spec.sign);
  if (spec.grouping != 0 && std::isfinite(value)) {
    const std::size_t end = std::min(body.find_first_of(".e%"), body.size());
    const std::string rest = body.substr(end);
    body = TRY(filled_groups(render, body.substr(0, end), spec, 3, sign.size() + rest.size())) + rest;
  }
  return padded(render, sign + body, spec, '>', sign.size());
}

Result<std::string> format_value(Render& render, const Value& value, std::string_view text) {
  TRY(render.spend());
  if (text.empty()) {
    std::string shown;
    TRY(append_text(render, shown, value));
    return shown;
  }
  const Spec spec = TRY(read_spec(text));
  const auto unknown = [&] {
    return type_error(fmt::format("Unknown format code '{}' for object of type '{}'", spec.type, type_name(value)));
  };
  if (value.is(Kind::kFloat) ||
      (value.is_integer() && spec.type != 0 && std::string_view("eEfFgG%").find(spec.type) != std::string_view::npos)) {
    if (spec.type != 0 && std::string_view("eEfFgGn%").find(spec.type) == std::string_view::npos) return unknown();
    return format_float(render, value.as_number(), spec);
  }
  if (value.is_integer()) {  // a bool is one as soon as anything is said of its form
    if (spec.type == 'c') return unknown();
    if (spec.type != 0 && std::string_view("dnxXob").find(spec.type) == std::string_view::npos) return unknown();
    std::string digits = integer_digits(magnitude_of(value.as_integer()), spec.type == 0 ? 'd' : spec.type);
    const std::string head = sign_of(value.as_integer() < 0, spec.sign) + prefix_of(spec);
    const std::size_t size = spec.type == 0 || spec.type == 'd' ? 3 : 4;
    if (spec.grouping != 0) digits = TRY(filled_groups(render, std::move(digits), spec, size, head.size()));
    return padded(render, head + digits, spec, '>', head.size());
  }
  if (!value.is_text()) {
    return type_error(fmt::format("unsupported format string passed to {}.__format__", type_name(value)));
  }
  if (spec.type != 0 && spec.type != 's') return unknown();
  if (spec.align == '=') return type_error("'=' alignment not allowed in string format specifier");
  std::string_view shown = TRY(text_of(render, value));
  if (spec.precision >= 0) shown = shown.substr(0, byte_offset(shown, static_cast<std::size_t>(spec.precision)));
  return padded(render, shown, spec, '<');
}

class BraceFormat {
 public:
  BraceFormat(Render& render, const Call& call) : render_(render), call_(call) {}

  Result<std::string> run(std::string_view format, int level) {
    std::string out;
    for (std::size_t at = 0; at < format.size();) {
      const char c = format[at];
      if (c != '{' && c != '}') {
        const std::size_t end = std::min(format.find_first_of("{}", at), format.size());
        TRY(render_.append(out, format.substr(at, end - at)));
        at = end;
        continue;
      }
      if (at + 1 < format.size() && format[at + 1] == c) {
        TRY(render_.append(out, std::string_view(&c, 1)));
        at += 2;
        continue;
      }
      if (c == '}') return type_error("Single '}' encountered in format string");
      TRY(field(format, at, out, level));
    }
    return out;
  }

 private:
  Status field(std::string_view format, std::size_t& at, std::string& out, int level) {
    if (level > 1) return type_error("Max string recursion exceeded");
    int open = 1;
    std::size_t end = at + 1;
    for (; end < format.size(); ++end) {
      open += format[end] == '{' ? 1 : format[end] == '}' ? -1 : 0;
      if (open == 0) break;
    }
    if (open != 0) return type_error("expected '}' before end of string");
    std::string_view inside = format.substr(at + 1, end - at - 1);
    at = end + 1;
    const std::size_t name_end = std::min(inside.find_first_of("!:"), inside.size());
    Value value = TRY(find(inside.substr(0, name_end)));
    inside.remove_prefix(name_end);
    if (inside.starts_with('!')) {
      std::string shown;
      const char kind = inside.size() > 1 ? inside[1] : ' ';
      if (kind != 's' && kind != 'r' && kind != 'a') return type_error("Unknown conversion specifier");
      TRY(kind == 's' ? append_text(render_, shown, value) : append_repr(render_, shown, value));
      value = TRY(render_.text(shown));
      inside.remove_prefix(2);
    }
    if (inside.starts_with(':')) inside.remove_prefix(1);
    const std::string spec = TRY(run(inside, level + 1));
    return render_.append(out, TRY(format_value(render_, value, spec)));
  }

  Result<Value> find(std::string_view name) {
    const std::size_t end = std::min(name.find_first_of(".["), name.size());
    const std::string_view first = name.substr(0, end);
    Value value = TRY(argument(first));
    for (std::string_view rest = name.substr(end); !rest.empty();) {
      TRY(render_.spend());
      if (rest[0] == '.') {
        const std::size_t stop = std::min(rest.find_first_of(".[", 1), rest.size());
        value = TRY(get_attribute(render_, value, rest.substr(1, stop - 1)));
        rest.remove_prefix(stop);
      } else {
        const std::size_t stop = rest.find(']');
        if (stop == rest.npos) return type_error("Missing ']' in format string");
        const std::string_view key = rest.substr(1, stop - 1);
        std::int64_t index = 0;
        const auto [last, error] = std::from_chars(key.data(), key.data() + key.size(), index);
        const bool is_index = error == std::errc() && last == key.data() + key.size();
        value = TRY(get_item(render_, value, is_index ? Value::of(index) : Value::of(key)));
        rest.remove_prefix(stop + 1);
      }
      TRY(require_defined(value));
    }
    return value;
  }

  Result<Value> argument(std::string_view name) {
    std::size_t index = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), index);
    const bool is_index = !name.empty() && error == std::errc() && end == name.data() + name.size();
    if (name.empty() || is_index) {
      if (numbering_ != 0 && numbering_ != (name.empty() ? 'a' : 'm')) {
        return type_error("cannot switch between manual field specification and automatic field numbering");
      }
      numbering_ = name.empty() ? 'a' : 'm';
    }
    if (name.empty()) index = next_++;
    if (name.empty() || is_index) {
      if (index >= call_.positional.size()) {
        return type_error(fmt::format("Replacement index {} out of range for positional args tuple", index));
      }
      return call_.positional[index];
    }
    for (const NamedValue& named : call_.named) {
      if (named.name == name) return named.value;
    }
    return type_error(fmt::format("'{}' is no argument of format()", name));
  }

  Render& render_;
  const Call& call_;
  std::size_t next_ = 0;
  char numbering_ = 0;  ///< a: automatic, m: manual
};

}  // namespace

Result<Value> format_braces(Render& render, std::string_view format, const Call& call) {
  return render.text(TRY(BraceFormat(render, call).run(format, 0)));
}

}  // namespace commissure::jinja
