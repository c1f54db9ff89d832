// Python's "%s" % x.

#include <algorithm>
#include <cmath>

#include "jinja/format_spec.h"
#include "jinja/operators.h"
#include "jinja/value/python_text.h"

namespace commissure::jinja {

namespace {

struct PercentArguments {
  const Value& all;
  std::size_t next = 0;

  Result<Value> take() {
    if (!all.is(Kind::kTuple)) {
      if (next++ > 0) return type_error("not enough arguments for format string");
      return all;
    }
    if (next >= all.size) return type_error("not enough arguments for format string");
    return all.items[next++];
  }
  bool is_used_up() const {
    if (all.is(Kind::kTuple)) return next >= all.size;
    return next > 0 || all.is(Kind::kMap) || all.is(Kind::kList);
  }
};

Result<std::string> percent_field(Render& render, Spec& spec, bool left, const Value& value) {
  TRY(render.spend());
  const auto wanted = [&](std::string_view kind) {
    return type_error(fmt::format("%{} format: {} is required, not {}", spec.type, kind, type_name(value)));
  };
  spec.align = left ? '<' : 0;
  switch (spec.type) {
    case 's':
    case 'r':
    case 'a': {
      std::string text;
      TRY(spec.type == 's' ? append_text(render, text, value) : append_repr(render, text, value));
      std::string_view shown = text;
      if (spec.precision >= 0) shown = shown.substr(0, byte_offset(shown, static_cast<std::size_t>(spec.precision)));
      return padded(render, shown, spec, '>');
    }
    case 'c': {
      if (value.is_text()) return padded(render, value.view(), spec, '>');
      return wanted("a character");
    }
    case 'd':
    case 'i':
    case 'u':
    case 'x':
    case 'X':
    case 'o': {
      TRY(require_defined(value));
      const bool decimal = spec.type == 'd' || spec.type == 'i' || spec.type == 'u';
      if (!value.is_integer() && !(decimal && value.is(Kind::kFloat)))
        return wanted(decimal ? "a real number" : "an integer");
      if (value.is(Kind::kFloat) && !(std::fabs(value.number) < 9e18))
        return type_error("cannot convert float to integer");
      const std::int64_t number = value.is(Kind::kFloat) ? static_cast<std::int64_t>(value.number) : value.as_integer();
      std::string digits = integer_digits(magnitude_of(number), decimal ? 'd' : spec.type);
      if (spec.precision > kMostPrecision) return type_error(fmt::format("a precision is at most {}", kMostPrecision));
      while (static_cast<std::int64_t>(digits.size()) < spec.precision) digits.insert(digits.begin(), '0');
      if (spec.zero && !left) spec.fill = "0";
      const std::string head = sign_of(number < 0, spec.sign) + prefix_of(spec);
      return padded(render, head + digits, spec, spec.zero && !left ? '=' : '>', head.size());
    }
    default: break;
  }
  TRY(require_defined(value));
  if (!value.is_number()) return type_error(fmt::format("must be real number, not {}", type_name(value)));
  const double number = value.as_number();
  const std::string body =
      TRY(float_body(std::fabs(number), spec.type, spec.precision < 0 ? 6 : spec.precision, spec.alternate));
  if (spec.zero && !left) spec.fill = "0";
  const std::string sign = sign_of(std::signbit(number), spec.sign);
  return padded(render, sign + body, spec, spec.zero && !left ? '=' : '>', sign.size());
}

Result<std::int64_t> percent_count(std::string_view format, std::size_t& at, PercentArguments& arguments) {
  if (at < format.size() && format[at] == '*') {
    ++at;
    return integer_argument(TRY(arguments.take()), "*");
  }
  return read_count(format, at);
}

Result<Value> percent_key(Render& render, std::string_view format, std::size_t& at, const Value& arguments) {
  const std::size_t end = format.find(')', at);
  if (end == format.npos) return type_error("incomplete format key");
  if (!arguments.is(Kind::kMap)) return type_error("format requires a mapping");
  const Value* found = TRY(find_key(render, *arguments.map, Value::of(format.substr(at + 1, end - at - 1))));
  if (found == nullptr) return type_error(fmt::format("no such key: '{}'", format.substr(at + 1, end - at - 1)));
  at = end + 1;
  return *found;
}

}  // namespace

Result<Value> format_percent(Render& render, std::string_view format, const Value& arguments) {
  std::string out;
  PercentArguments taken{arguments};
  TRY(render.spend(format.size() / 16));
  for (std::size_t at = 0; at < format.size();) {
    if (format[at] != '%') {
      const std::size_t end = std::min(format.find('%', at), format.size());
      TRY(render.append(out, format.substr(at, end - at)));
      at = end;
      continue;
    }
    if (++at >= format.size()) return type_error("incomplete format");
    Value keyed = Value::missing();
    if (format[at] == '(') keyed = TRY(percent_key(render, format, at, arguments));
    Spec spec;
    bool left = false;
    for (; at < format.size(); ++at) {
      if (format[at] == '-') {
        left = true;
      } else if (format[at] == '0') {
        spec.zero = true;
      } else if (format[at] == '#') {
        spec.alternate = true;
      } else if (format[at] == '+' || format[at] == ' ') {
        if (spec.sign != '+') spec.sign = format[at];
      } else {
        break;
      }
    }
    spec.width = TRY(percent_count(format, at, taken));
    if (spec.width < 0) {
      left = true;
      spec.width = spec.width > -1'000'000'000 ? -spec.width : 1'000'000'000;
    }
    if (at < format.size() && format[at] == '.') {
      ++at;
      spec.precision = std::max<std::int64_t>(0, TRY(percent_count(format, at, taken)));
    }
    if (at >= format.size()) return type_error("incomplete format");
    spec.type = format[at++];
    if (spec.type == '%') {
      TRY(render.append(out, "%"));
      continue;
    }
    if (std::string_view("sracdiuxXoeEfFgG").find(spec.type) == std::string_view::npos) {
      return type_error(fmt::format("unsupported format character in \"{}\"", format.substr(0, 60)));
    }
    const Value value = keyed.is(Kind::kMissing) ? TRY(taken.take()) : keyed;
    TRY(render.append(out, TRY(percent_field(render, spec, left, value))));
  }
  if (!taken.is_used_up()) return type_error("not all arguments converted during string formatting");
  return render.text(out);
}

}  // namespace commissure::jinja
