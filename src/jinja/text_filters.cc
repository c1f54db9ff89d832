// Filters whose subject is a text.

#include <algorithm>
#include <cmath>

#include "jinja/operators.h"
#include "jinja/value/python_text.h"

namespace commissure::jinja {

namespace {

using Mapping = std::string (*)(std::string_view);

template <Mapping map>
Result<Value> mapped(Render& render, const Value& subject, const Call&) {
  const std::string_view text = TRY(text_of(render, subject));
  TRY(render.spend(text.size() / 2));  // each letter is looked up
  return render.text(map(text));
}

Result<Value> string_filter(Render& render, const Value& subject, const Call&) {
  return Value::of(TRY(text_of(render, subject)));
}

/// A word begins behind one of ` -({[<`, as of Jinja's own title.
std::string title(std::string_view text) {
  std::string out;
  std::size_t begin = 0;
  const auto is_break = [&](std::size_t at) {
    return std::string_view("-({[<").find(text[at]) != std::string_view::npos ||
           is_python_space(static_cast<unsigned char>(text[at]));
  };
  while (begin < text.size()) {
    std::size_t end = begin;
    const bool breaks = is_break(begin);
    while (end < text.size() && is_break(end) == breaks) ++end;
    const std::string_view word = text.substr(begin, end - begin);
    std::size_t first = 0;
    next_code_point(word, first);
    out += to_upper(word.substr(0, first)) + to_lower(word.substr(first));
    begin = end;
  }
  return out;
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '\'': out += "&#39;"; break;
      case '"': out += "&#34;"; break;
      default: out += c;
    }
  }
  return out;
}

Result<Value> trim(Render& render, const Value& subject, const Call& call) {
  Call inner;
  if (call.has(0)) inner.positional = {call[0]};
  return render.call(*find_method(Kind::kText, "strip"), Value::of(TRY(text_of(render, subject))), inner);
}

Result<Value> replace(Render& render, const Value& subject, const Call& call) {
  Call inner;
  inner.positional = {Value::of(TRY(text_of(render, call[0]))), Value::of(TRY(text_of(render, call[1])))};
  if (call.has(2) && !call[2].is(Kind::kNone)) inner.positional.push_back(call[2]);
  return render.call(*find_method(Kind::kText, "replace"), Value::of(TRY(text_of(render, subject))), inner);
}

Result<Value> center(Render& render, const Value& subject, const Call& call) {
  Call inner;
  inner.positional = {Value::of(TRY(integer_or(call[0], 80, "width")))};
  return render.call(*find_method(Kind::kText, "center"), Value::of(TRY(text_of(render, subject))), inner);
}

Result<Value> indent(Render& render, const Value& subject, const Call& call) {
  std::string step;
  if (call.has(0) && call[0].is_text()) {
    step = call[0].view();
  } else {
    TRY(render.append(step, static_cast<std::size_t>(std::max<std::int64_t>(0, TRY(integer_or(call[0], 4, "width")))),
                      ' '));
  }
  const std::string text = std::string(TRY(text_of(render, subject))) + "\n";
  Call none;
  const Value lines =
      TRY(render.call(*find_method(Kind::kText, "splitlines"), Value::of(std::string_view(text)), none));
  std::string out;
  for (std::size_t i = 0; i < lines.size; ++i) {
    if (i > 0) TRY(render.append(out, "\n"));
    if (i == 0 ? truth(call[1]) : truth(call[2]) || lines.items[i].size > 0) TRY(render.append(out, step));
    TRY(render.append(out, lines.items[i].view()));
  }
  return render.text(out);
}

Result<Value> truncate(Render& render, const Value& subject, const Call& call) {
  const std::string_view text = TRY(text_of(render, subject));
  const std::int64_t length = TRY(integer_or(call[0], 255, "length"));
  const std::string_view end = call.has(2) ? TRY(text_argument(call[2], "end")) : "...";
  const std::int64_t leeway = TRY(integer_or(call[3], 5, "leeway"));
  const auto n_end = static_cast<std::int64_t>(count_code_points(end));
  if (length < n_end) return type_error(fmt::format("expected length >= {}, got {}", n_end, length));
  if (leeway < 0) return type_error(fmt::format("expected leeway >= 0, got {}", leeway));
  const auto size = static_cast<std::int64_t>(count_code_points(text));
  if (size <= length || size - length <= leeway) return Value::of(text);
  std::string_view cut = text.substr(0, byte_offset(text, static_cast<std::size_t>(length - n_end)));
  if (!truth(call[1])) cut = cut.substr(0, std::min(cut.rfind(' '), cut.size()));
  return render.heap().concat(cut, end);
}

Result<Value> wordcount(Render& render, const Value& subject, const Call&) {
  const std::string_view text = TRY(text_of(render, subject));
  TRY(render.spend(text.size() / 2));
  std::int64_t n_words = 0;
  bool in_word = false;
  for (std::size_t at = 0; at < text.size();) {
    const bool word = is_word(next_code_point(text, at));
    n_words += word && !in_word;
    in_word = word;
  }
  return Value::of(n_words);
}

/// textwrap.wrap without its finer points: words are kept whole, or cut where they are longer than a line.
Result<Value> wordwrap(Render& render, const Value& subject, const Call& call) {
  const auto width = static_cast<std::size_t>(std::max<std::int64_t>(1, TRY(integer_or(call[0], 79, "width"))));
  const bool breaks = !call.has(1) || truth(call[1]);
  const std::string_view newline =
      call.has(2) && !call[2].is(Kind::kNone) ? TRY(text_argument(call[2], "wrapstring")) : "\n";
  const Value text = Value::of(TRY(text_of(render, subject)));
  Call none;
  const Value lines = TRY(render.call(*find_method(Kind::kText, "splitlines"), text, none));
  std::string out;
  for (std::size_t i = 0; i < lines.size; ++i) {
    if (i > 0) TRY(render.append(out, newline));
    std::string_view rest = lines.items[i].view();
    bool first = true;
    while (!rest.empty()) {
      std::size_t end = byte_offset(rest, width);
      if (end < rest.size() && rest[end] != ' ') {
        const std::size_t space = rest.substr(0, end).rfind(' ');
        if (space != rest.npos && space > 0) {
          end = space;
        } else if (!breaks) {
          end = std::min(rest.find(' '), rest.size());
        }
      }
      if (!first) TRY(render.append(out, newline));
      first = false;
      std::string_view line = rest.substr(0, end);
      rest.remove_prefix(end);
      if (rest.empty()) {
        TRY(render.append(out, line));
        break;
      }
      TRY(render.append(out, line.substr(0, line.find_last_not_of(' ') + 1)));
      rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
    }
  }
  return render.text(out);
}

/// Tags and comments out, white space in one.
Result<Value> striptags(Render& render, const Value& subject, const Call&) {
  std::string text(TRY(text_of(render, subject)));
  TRY(render.spend(text.size()));
  std::string plain;
  for (std::size_t at = 0; at < text.size();) {
    const bool comment = text.compare(at, 4, "<!--") == 0;
    const std::size_t end = text[at] != '<' ? text.npos : comment ? find_text(text, "-->", at) : text.find('>', at);
    if (end == text.npos) {
      const std::size_t next = std::min(text.find('<', at + 1), text.size());
      plain.append(text, at, next - at);
      at = next;
      if (text[std::min(at, text.size() - 1)] == '<' && text.find('>', at) == text.npos) {
        plain.append(text, at);
        break;
      }
    } else {
      at = end + (comment ? 3 : 1);
    }
  }
  std::string out;
  for (std::string_view rest = strip(plain, Side::kBoth); !rest.empty();) {
    std::size_t end = 0;
    for (std::size_t next = 0; end < rest.size(); end = next) {
      if (is_python_space(next_code_point(rest, next))) break;
    }
    if (!out.empty()) out += ' ';
    out += rest.substr(0, end);
    rest = strip(rest.substr(end), Side::kLeft);
  }
  return render.text(out);
}

/// `safe` characters stay; of a query's parts a space becomes a plus.
std::string url_quoted(std::string_view text, std::string_view safe) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80 && (std::isalnum(byte) != 0 || std::string_view("_.-~").find(c) != std::string_view::npos ||
                        safe.find(c) != std::string_view::npos)) {
      out += c;
    } else if (c == ' ' && safe.empty()) {
      out += '+';
    } else {
      fmt::format_to(std::back_inserter(out), "%{:02X}", byte);
    }
  }
  return out;
}

Result<Value> urlencode(Render& render, const Value& subject, const Call&) {
  if (!subject.is(Kind::kMap) && !subject.is_listing())
    return render.text(url_quoted(TRY(text_of(render, subject)), "/"));
  std::string out;
  const auto add = [&](const Value& key, const Value& value) -> Status {
    if (!out.empty()) TRY(render.append(out, "&"));
    TRY(render.append(out, url_quoted(TRY(text_of(render, key)), "")));
    TRY(render.append(out, "="));
    return render.append(out, url_quoted(TRY(text_of(render, value)), ""));
  };
  if (subject.is(Kind::kMap)) {
    for (const Pair& pair : subject.map->all()) TRY(add(pair.key, pair.value));
  } else {
    for (const Value& item : subject.listing()) {
      if (!item.is_listing() || item.size != 2) return type_error("urlencode takes pairs");
      TRY(add(item.items[0], item.items[1]));
    }
  }
  return render.text(out);
}

Result<Value> filesizeformat(Render& render, const Value& subject, const Call& call) {
  const bool binary = truth(call[0]);
  Call none;
  const Value number = TRY(render.call(*find_filter("float"), subject, none));
  const double base = binary ? 1024 : 1000;
  const double bytes = number.number;
  if (bytes == 1) return Value::of(std::string_view("1 Byte"));
  if (bytes < base) return render.text(fmt::format("{} Bytes", static_cast<std::int64_t>(bytes)));
  static constexpr std::string_view kDecimal[] = {"kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"};
  static constexpr std::string_view kBinary[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"};
  double unit = base;
  std::size_t i = 0;
  for (; i + 1 < std::size(kDecimal) && bytes >= unit * base; ++i) unit *= base;
  return render.text(fmt::format("{:.1f} {}", bytes / unit, binary ? kBinary[i] : kDecimal[i]));
}

Result<Value> format_filter(Render& render, const Value& subject, const Call& call) {
  if (!call.positional.empty() && !call.named.empty()) {
    return type_error("can't handle positional and keyword arguments at the same time");
  }
  const std::string_view format = TRY(text_of(render, subject));
  if (call.named.empty()) return format_percent(render, format, Value::of(Kind::kTuple, Items(call.positional)));
  MapBuilder named(render);
  for (const NamedValue& value : call.named) TRY(named.put(Value::of(value.name), value.value));
  return format_percent(render, format, TRY(named.map()));
}

constexpr Builtin kFilters[] = {
    {"upper", "", mapped<to_upper>},
    {"lower", "", mapped<to_lower>},
    {"capitalize", "", mapped<capitalized>},
    {"title", "", mapped<title>},
    {"escape", "", mapped<escaped>},
    {"e", "", mapped<escaped>},
    {"forceescape", "", mapped<escaped>},
    {"safe", "", string_filter},
    {"string", "", string_filter},
    {"trim", "chars?", trim},
    {"replace", "old,new,count?", replace},
    {"center", "width?", center},
    {"indent", "width?,first?,blank?", indent},
    {"truncate", "length?,killwords?,end?,leeway?", truncate},
    {"wordcount", "", wordcount},
    {"wordwrap", "width?,break_long_words?,wrapstring?,break_on_hyphens?", wordwrap},
    {"striptags", "", striptags},
    {"urlencode", "", urlencode},
    {"filesizeformat", "binary?", filesizeformat},
    {"format", "*", format_filter},
};

}  // namespace

Builtins text_filters() { return kFilters; }

}  // namespace commissure::jinja
