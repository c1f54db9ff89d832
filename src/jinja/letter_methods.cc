// Methods of texts that go by letters: case, and claims about every letter.

#include "jinja/operators.h"
#include "jinja/value/python_text.h"

namespace commissure::jinja {

namespace {

using Mapping = std::string (*)(std::string_view);

template <Mapping map>
Result<Value> mapped(Render& render, const Value& subject, const Call&) {
  TRY(spend_letters(render, subject.view()));
  return render.text(map(subject.view()));
}

std::string folded(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    const char32_t letter = next_code_point(text, at);
    out += letter == 0xDF || letter == 0x1E9E ? "ss"
           : letter == 0x3C2                  ? "\u03c3"
                                              : to_lower(text.substr(begin, at - begin));
  }
  return out;
}

using LetterClaim = bool (*)(char32_t);

template <LetterClaim claim>
Result<Value> every(Render& render, const Value& subject, const Call&) {
  const std::string_view text = subject.view();
  TRY(spend_letters(render, text));
  for (std::size_t at = 0; at < text.size();) {
    if (!claim(next_code_point(text, at))) return Value::of(false);
  }
  return Value::of(!text.empty());
}

bool is_alphanumeric(char32_t letter) { return is_alpha(letter) || is_numeric(letter); }

Result<Value> isprintable(Render& render, const Value& subject, const Call&) {
  const std::string_view text = subject.view();
  TRY(spend_letters(render, text));
  for (std::size_t at = 0; at < text.size();) {
    if (!is_printable(next_code_point(text, at))) return Value::of(false);
  }
  return Value::of(true);
}

Result<Value> isascii(Render&, const Value& subject, const Call&) { return Value::of(is_ascii(subject.view())); }

Result<Value> isidentifier(Render& render, const Value& subject, const Call&) {
  const std::string_view text = subject.view();
  TRY(spend_letters(render, text));
  for (std::size_t at = 0; at < text.size();) {
    const bool is_first = at == 0;
    const char32_t letter = next_code_point(text, at);
    if (!(letter == '_' || is_alpha(letter) || (!is_first && is_decimal(letter)))) return Value::of(false);
  }
  return Value::of(!text.empty());
}

template <LetterClaim wanted, LetterClaim unwanted>
Result<Value> is_all_case(Render& render, const Value& subject, const Call&) {
  const std::string_view text = subject.view();
  TRY(spend_letters(render, text));
  bool found = false;
  for (std::size_t at = 0; at < text.size();) {
    const char32_t letter = next_code_point(text, at);
    if (unwanted(letter) || is_title(letter)) return Value::of(false);
    found |= wanted(letter);
  }
  return Value::of(found);
}

Result<Value> istitle(Render& render, const Value& subject, const Call&) {
  const std::string_view text = subject.view();
  TRY(spend_letters(render, text));
  bool found = false;
  bool in_word = false;
  for (std::size_t at = 0; at < text.size();) {
    const char32_t letter = next_code_point(text, at);
    if (is_upper(letter) || is_title(letter)) {
      if (in_word) return Value::of(false);
      in_word = found = true;
    } else if (is_lower(letter)) {
      if (!in_word) return Value::of(false);
      found = true;
    } else {
      in_word = false;
    }
  }
  return Value::of(found);
}

constexpr Builtin kMethods[] = {
    {"upper", "", mapped<to_upper>},
    {"lower", "", mapped<to_lower>},
    {"title", "", mapped<to_title>},
    {"capitalize", "", mapped<capitalized>},
    {"swapcase", "", mapped<swapped_case>},
    {"casefold", "", mapped<folded>},
    {"isdigit", "", every<is_digit>},
    {"isdecimal", "", every<is_decimal>},
    {"isnumeric", "", every<is_numeric>},
    {"isalpha", "", every<is_alpha>},
    {"isalnum", "", every<is_alphanumeric>},
    {"isspace", "", every<is_python_space>},
    {"isupper", "", is_all_case<is_upper, is_lower>},
    {"islower", "", is_all_case<is_lower, is_upper>},
    {"istitle", "", istitle},
    {"isprintable", "", isprintable},
    {"isascii", "", isascii},
    {"isidentifier", "", isidentifier},
};

}  // namespace

Builtins letter_methods() { return kMethods; }

}  // namespace commissure::jinja
