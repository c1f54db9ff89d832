// Methods of texts that cut, search, join and pad.

#include <algorithm>

#include "jinja/operators.h"
#include "jinja/value/python_text.h"

namespace commissure::jinja {

namespace {

template <Side side>
Result<Value> strip_method(Render& render, const Value& subject, const Call& call) {
  std::string_view text;
  if (!call.has(0) || call[0].is(Kind::kNone)) {
    text = strip(subject.view(), side);
  } else {
    const std::string_view set = TRY(text_argument(call[0], "chars"));
    TRY(spend_letters(render, set));
    text = strip(subject.view(), side, set);
  }
  TRY(render.spend((subject.size - text.size()) / 2));
  return Value::of(text);
}

bool is_line_end(char32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

Result<Value> splitlines(Render& render, const Value& subject, const Call& call) {
  const std::string_view text = subject.view();
  const bool keep = truth(call[0]);
  TRY(render.spend(text.size() / 4));
  Collector lines(render);
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = at;
    const char32_t letter = next_code_point(text, at);
    if (!is_line_end(letter)) continue;
    if (letter == '\r' && at < text.size() && text[at] == '\n') ++at;
    TRY(lines.add(Value::of(text.substr(begin, (keep ? at : end) - begin))));
    begin = at;
  }
  if (begin < text.size()) TRY(lines.add(Value::of(text.substr(begin))));
  return lines.list();
}

Status split_spaces(Collector& parts, std::string_view text, std::int64_t most) {
  text = strip(text, Side::kLeft);
  while (!text.empty()) {
    if (most-- == 0) return parts.add(Value::of(strip(text, Side::kRight)));
    std::size_t end = 0;
    for (std::size_t next = 0; end < text.size(); end = next) {
      if (is_python_space(next_code_point(text, next))) break;
    }
    TRY(parts.add(Value::of(text.substr(0, end))));
    text = strip(text.substr(end), Side::kLeft);
  }
  return {};
}

Result<Value> reversed(Collector& parts) {
  // The collector's items are ours alone until the list is made.
  auto* items = const_cast<Value*>(parts.items().data());
  std::reverse(items, items + parts.items().size());
  return parts.list();
}

Result<Value> split(Render& render, const Value& subject, const Call& call) {
  std::string_view text = subject.view();
  std::int64_t most = TRY(integer_or(call[1], -1, "maxsplit"));
  Collector parts(render);
  if (!call.has(0) || call[0].is(Kind::kNone)) {
    TRY(spend_letters(render, text));
    TRY(split_spaces(parts, text, most));
    return parts.list();
  }
  const std::string_view separator = TRY(text_argument(call[0], "sep"));
  if (separator.empty()) return type_error("empty separator");
  std::size_t begin = 0;
  while (most-- != 0) {
    const std::size_t end = find_text(text, separator, begin);
    if (end == text.npos) break;
    TRY(parts.add(Value::of(text.substr(begin, end - begin))));
    begin = end + separator.size();
  }
  TRY(parts.add(Value::of(text.substr(begin))));
  return parts.list();
}

Result<Value> rsplit(Render& render, const Value& subject, const Call& call) {
  std::string_view text = subject.view();
  std::int64_t most = TRY(integer_or(call[1], -1, "maxsplit"));
  if (most < 0) return split(render, subject, call);
  Collector parts(render);
  const bool spaces = !call.has(0) || call[0].is(Kind::kNone);
  const std::string_view separator = spaces ? " " : TRY(text_argument(call[0], "sep"));
  if (separator.empty()) return type_error("empty separator");
  if (spaces) text = strip(text, Side::kRight);
  while (most-- != 0 && !(spaces && text.empty())) {
    TRY(render.spend(1 + text.size() / 16));
    std::size_t end = text.npos;
    if (spaces) {
      for (std::size_t at = text.size(); at > 0 && end == text.npos;) {
        do --at;
        while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80);
        std::size_t next = at;
        if (is_python_space(next_code_point(text, next))) end = next;
      }
      if (end == text.npos) break;
      TRY(parts.add(Value::of(text.substr(end))));
      text = strip(text.substr(0, end), Side::kRight);
    } else {
      end = find_last_text(text, separator);
      if (end == text.npos) break;
      TRY(parts.add(Value::of(text.substr(end + separator.size()))));
      text = text.substr(0, end);
    }
  }
  if (!spaces || !text.empty()) TRY(parts.add(Value::of(text)));
  return reversed(parts);
}

Result<Value> partition_of(Render& render, const Value& subject, const Call& call, bool from_right) {
  const std::string_view text = subject.view();
  const std::string_view separator = TRY(text_argument(call[0], "sep"));
  if (separator.empty()) return type_error("empty separator");
  const std::size_t at = from_right ? find_last_text(text, separator) : find_text(text, separator);
  Value* parts = TRY(render.heap().array<Value>(3));
  const Value nothing = Value::of(std::string_view(""));
  if (at == text.npos) {
    for (std::size_t i = 0; i < 3; ++i) parts[i] = i == (from_right ? 2 : 0) ? subject : nothing;
  } else {
    parts[0] = Value::of(text.substr(0, at));
    parts[1] = Value::of(separator);
    parts[2] = Value::of(text.substr(at + separator.size()));
  }
  return Value::of(Kind::kTuple, Items(parts, 3));
}

Result<Value> partition(Render& render, const Value& subject, const Call& call) {
  return partition_of(render, subject, call, false);
}
Result<Value> rpartition(Render& render, const Value& subject, const Call& call) {
  return partition_of(render, subject, call, true);
}

Result<Value> join(Render& render, const Value& subject, const Call& call) {
  std::string out;
  bool is_first = true;
  TRY(require_defined(call[0]));
  for (const Value& item : TRY(items_of(render, call[0]))) {
    if (!std::exchange(is_first, false)) TRY(render.append(out, subject.view()));
    if (!item.is_text())
      return type_error(fmt::format("sequence item: expected str instance, {} found", type_name(item)));
    TRY(render.append(out, item.view()));
  }
  return render.text(out);
}

Result<Value> replace(Render& render, const Value& subject, const Call& call) {
  const std::string_view text = subject.view();
  const std::string_view old = TRY(text_argument(call[0], "old"));
  const std::string_view fresh = TRY(text_argument(call[1], "new"));
  std::int64_t most = TRY(integer_or(call[2], -1, "count"));
  std::string out;
  std::size_t begin = 0;
  while (most-- != 0) {
    std::size_t end = find_text(text, old, begin);
    if (end == text.npos) break;
    if (old.empty()) {  // before each character and at the end
      TRY(render.append(out, fresh));
      if (begin == text.size()) return render.text(out);
      end = begin;
      next_code_point(text, end);
      TRY(render.append(out, text.substr(begin, end - begin)));
      begin = end;
      continue;
    }
    TRY(render.append(out, text.substr(begin, end - begin)));
    TRY(render.append(out, fresh));
    begin = end + old.size();
  }
  TRY(render.append(out, text.substr(begin)));
  return render.text(out);
}

struct Part {
  std::string_view text;
  std::size_t begin = 0;   ///< bytes before it
  std::int64_t start = 0;  ///< code points before it
  bool valid = true;       ///< false: it begins behind the text's end
};

/// text[start:stop] of the arguments `at` and `at + 1`.
Result<Part> part_of(Render& render, std::string_view text, const Call& call, std::size_t at) {
  const auto size = static_cast<std::int64_t>(count_code_points(text));
  const auto bound = [&](const Value& value, std::int64_t initial) -> Result<std::int64_t> {
    std::int64_t index = TRY(integer_or(value, initial, "index"));
    if (index < 0) index = std::max<std::int64_t>(0, std::max(index, -size) + size);
    return index;
  };
  const std::int64_t start = TRY(bound(call[at], 0));
  const std::int64_t stop = std::min(size, TRY(bound(call[at + 1], size)));
  (void)render;
  if (start > size || stop < start) {
    Part none;
    none.valid = false;
    return none;
  }
  const std::size_t begin = byte_offset(text, static_cast<std::size_t>(start));
  const std::string_view rest = text.substr(begin);
  return Part{rest.substr(0, byte_offset(rest, static_cast<std::size_t>(stop - start))), begin, start, true};
}

Result<std::int64_t> position(Render& render, const Value& subject, const Call& call, bool from_right) {
  const std::string_view wanted = TRY(text_argument(call[0], "sub"));
  const Part part = TRY(part_of(render, subject.view(), call, 1));
  if (!part.valid) return -1;
  const std::size_t at = from_right ? find_last_text(part.text, wanted) : find_text(part.text, wanted);
  if (at == part.text.npos) return -1;
  return part.start + static_cast<std::int64_t>(count_code_points(part.text.substr(0, at)));
}

template <bool from_right>
Result<Value> find(Render& render, const Value& subject, const Call& call) {
  return Value::of(TRY(position(render, subject, call, from_right)));
}

template <bool from_right>
Result<Value> index(Render& render, const Value& subject, const Call& call) {
  const std::int64_t found = TRY(position(render, subject, call, from_right));
  if (found < 0) return type_error("substring not found");
  return Value::of(found);
}

Result<Value> count(Render& render, const Value& subject, const Call& call) {
  const std::string_view wanted = TRY(text_argument(call[0], "sub"));
  const Part part = TRY(part_of(render, subject.view(), call, 1));
  if (!part.valid) return Value::of(std::int64_t{0});
  if (wanted.empty()) return Value::of(static_cast<std::int64_t>(count_code_points(part.text)) + 1);
  std::int64_t n = 0;
  for (std::size_t at = find_text(part.text, wanted); at != part.text.npos;
       at = find_text(part.text, wanted, at + wanted.size()))
    ++n;
  return Value::of(n);
}

template <bool at_end>
Result<Value> begins_or_ends(Render& render, const Value& subject, const Call& call) {
  const Part part = TRY(part_of(render, subject.view(), call, 1));
  if (!part.valid) return Value::of(false);
  const auto holds = [&](const Value& value) -> Result<bool> {
    const std::string_view wanted = TRY(text_argument(value, at_end ? "suffix" : "prefix"));
    return at_end ? part.text.ends_with(wanted) : part.text.starts_with(wanted);
  };
  if (!call[0].is(Kind::kTuple)) return Value::of(TRY(holds(call[0])));
  for (const Value& value : call[0].listing()) {
    if (TRY(holds(value))) return Value::of(true);
  }
  return Value::of(false);
}

Result<Value> removeprefix(Render&, const Value& subject, const Call& call) {
  const std::string_view prefix = TRY(text_argument(call[0], "prefix"));
  return subject.view().starts_with(prefix) ? Value::of(subject.view().substr(prefix.size())) : subject;
}

Result<Value> removesuffix(Render&, const Value& subject, const Call& call) {
  const std::string_view suffix = TRY(text_argument(call[0], "suffix"));
  if (!subject.view().ends_with(suffix)) return subject;
  return Value::of(subject.view().substr(0, subject.size - suffix.size()));
}

/// Padding to `width` characters: `n_left` of what is missing goes before the text.
template <char where>
Result<Value> pad(Render& render, const Value& subject, const Call& call) {
  const std::int64_t width = TRY(integer_argument(call[0], "width"));
  const std::string_view fill = call.has(1) ? TRY(text_argument(call[1], "fillchar")) : where == 'z' ? "0" : " ";
  if (count_code_points(fill) != 1) return type_error("The fill character must be exactly one character long");
  const auto size = static_cast<std::int64_t>(count_code_points(subject.view()));
  if (width <= size) return subject;
  const std::int64_t missing = width - size;
  std::int64_t n_left = where == 'l' ? 0 : missing;
  if (where == 'c') n_left = missing / 2 + (missing & width & 1);
  std::string_view text = subject.view();
  std::string out;
  if (where == 'z' && !text.empty() && (text[0] == '-' || text[0] == '+')) {
    out += text[0];
    text.remove_prefix(1);
  }
  if (missing > static_cast<std::int64_t>(render.limits().text_bytes))
    TRY(render.append(out, static_cast<std::size_t>(missing), ' '));
  for (std::int64_t i = 0; i < n_left; ++i) TRY(render.append(out, fill));
  TRY(render.append(out, text));
  for (std::int64_t i = n_left; i < missing; ++i) TRY(render.append(out, fill));
  return render.text(out);
}

Result<Value> expandtabs(Render& render, const Value& subject, const Call& call) {
  const std::int64_t size = TRY(integer_or(call[0], 8, "tabsize"));
  std::string out;
  std::int64_t column = 0;
  const std::string_view text = subject.view();
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    const char32_t letter = next_code_point(text, at);
    if (letter == '\t') {
      const std::int64_t n = size > 0 ? size - column % size : 0;
      TRY(render.append(out, static_cast<std::size_t>(n), ' '));
      column += n;
    } else {
      TRY(render.append(out, text.substr(begin, at - begin)));
      column = letter == '\n' || letter == '\r' ? 0 : column + 1;
    }
  }
  return render.text(out);
}

Result<Value> format(Render& render, const Value& subject, const Call& call) {
  return format_braces(render, subject.view(), call);
}

Result<Value> format_map(Render& render, const Value& subject, const Call& call) {
  if (!call[0].is(Kind::kMap)) return type_error("format_map() takes a mapping");
  Call named;
  for (const Pair& pair : call[0].map->all()) {
    if (pair.key.is_text()) named.named.push_back({pair.key.view(), pair.value});
    if (named.named.size() > 1000) return type_error("too many arguments");
  }
  return format_braces(render, subject.view(), named);
}

constexpr Builtin kMethods[] = {
    {"strip", "chars?", strip_method<Side::kBoth>},
    {"lstrip", "chars?", strip_method<Side::kLeft>},
    {"rstrip", "chars?", strip_method<Side::kRight>},
    {"split", "sep?,maxsplit?", split},
    {"rsplit", "sep?,maxsplit?", rsplit},
    {"splitlines", "keepends?", splitlines},
    {"partition", "sep", partition},
    {"rpartition", "sep", rpartition},
    {"replace", "old,new,count?", replace},
    {"startswith", "prefix,start?,end?", begins_or_ends<false>},
    {"endswith", "suffix,start?,end?", begins_or_ends<true>},
    {"find", "sub,start?,end?", find<false>},
    {"rfind", "sub,start?,end?", find<true>},
    {"index", "sub,start?,end?", index<false>},
    {"rindex", "sub,start?,end?", index<true>},
    {"count", "sub,start?,end?", count},
    {"removeprefix", "prefix", removeprefix},
    {"removesuffix", "suffix", removesuffix},
    {"join", "iterable", join},
    {"center", "width,fillchar?", pad<'c'>},
    {"ljust", "width,fillchar?", pad<'l'>},
    {"rjust", "width,fillchar?", pad<'r'>},
    {"zfill", "width", pad<'z'>},
    {"expandtabs", "tabsize?", expandtabs},
    {"format", "*", format},
    {"format_map", "mapping", format_map},
};

}  // namespace

Builtins text_methods() { return kMethods; }

}  // namespace commissure::jinja
