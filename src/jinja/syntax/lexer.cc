#include "jinja/syntax/lexer.h"

#include <algorithm>
#include <array>

#include "core/ascii.h"
#include "jinja/value/python_text.h"
#include "text/utf8.h"

namespace commissure::jinja {

namespace {

std::string normal_newlines(std::string_view source) {
  std::string text;
  text.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      text += source[i];
    } else {
      text += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    }
  }
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

bool is_digit_of(char c, int base) {
  if (base == 16) return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
  return c >= '0' && c < '0' + base;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(normal_newlines(source)), text_(source_) {}

  Result<std::vector<Token>> run() {
    while (at_ < text_.size()) TRY(read_data());
    add(TokenKind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  char peek(std::size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }

  void add(TokenKind kind, std::string text) { tokens_.push_back({kind, line_, std::move(text)}); }

  void move_to(std::size_t position) {
    line_ += static_cast<std::uint32_t>(std::count(text_.begin() + static_cast<std::ptrdiff_t>(at_),
                                                   text_.begin() + static_cast<std::ptrdiff_t>(position), '\n'));
    at_ = position;
  }

  std::size_t skip_space(std::size_t position) const {
    while (position < text_.size()) {
      std::size_t next = position;
      if (!is_python_space(next_code_point(text_, next))) break;
      position = next;
    }
    return position;
  }

  /// Text up to a tag that begins with `sign` ('-', '+' or none), as the tag leaves it.
  void add_data(std::string_view data, char sign, bool may_strip) {
    if (sign == '-') {
      data = strip(data, Side::kRight);
    } else if (sign != '+' && may_strip) {
      const std::size_t newline = data.rfind('\n');
      const std::size_t begin = newline == data.npos ? 0 : newline + 1;
      if ((begin > 0 || line_starts_) && skip_space(at_ + begin) >= at_ + data.size()) data = data.substr(0, begin);
    }
    if (!data.empty()) add(TokenKind::kData, std::string(data));
  }

  static std::string_view sign_of(std::string_view tag) {
    return tag.size() > 2 && (tag[2] == '-' || tag[2] == '+') ? tag.substr(2, 1) : std::string_view();
  }

  /// The end of a tag that closes with `end` at `position`: behind it and what it eats.
  std::size_t after_end(std::size_t position, bool minus, bool plus) const {
    if (minus) return skip_space(position);
    if (!plus && position < text_.size() && text_[position] == '\n') return position + 1;
    return position;
  }

  Status read_data() {
    std::size_t tag = at_;
    for (;; ++tag) {
      tag = text_.find('{', tag);
      if (tag == text_.npos || tag + 1 >= text_.size()) {
        add(TokenKind::kData, std::string(text_.substr(at_)));
        move_to(text_.size());
        return {};
      }
      if (text_[tag + 1] == '%' || text_[tag + 1] == '{' || text_[tag + 1] == '#') break;
    }
    const std::string_view rest = text_.substr(tag);
    const std::string_view sign = sign_of(rest);
    const char kind = text_[tag + 1];
    add_data(text_.substr(at_, tag - at_), sign.empty() ? ' ' : sign[0], kind != '{');
    move_to(tag);
    const std::size_t inside = tag + 2 + sign.size();
    if (kind == '#') return read_comment(inside);
    if (kind == '%') {
      if (const std::size_t raw = raw_begin(inside); raw != 0) return read_raw(raw);
    }
    add(kind == '%' ? TokenKind::kBlockBegin : TokenKind::kVariableBegin, "");
    at_ = inside;
    return read_tag(kind);
  }

  Status read_comment(std::size_t inside) {
    const std::size_t end = text_.find("#}", inside);
    if (end == text_.npos) return at_line(line_, "missing end of comment tag");
    const char sign = end > inside ? text_[end - 1] : ' ';
    finish(after_end(end + 2, sign == '-', sign == '+'));
    return {};
  }

  void finish(std::size_t position) {
    move_to(position);
    line_starts_ = position > 0 && text_[position - 1] == '\n';
  }

  /// Behind "raw %}" when that stands at `position`, else 0.
  std::size_t raw_begin(std::size_t position) const {
    position = skip_space(position);
    if (text_.substr(position, 3) != "raw") return 0;
    position = skip_space(position + 3);
    if (text_.substr(position, 3) == "-%}") return skip_space(position + 3);
    return text_.substr(position, 2) == "%}" ? position + 2 : 0;
  }

  Status read_raw(std::size_t begin) {
    finish(begin);
    for (std::size_t tag = text_.find("{%", begin); tag != text_.npos; tag = text_.find("{%", tag + 1)) {
      const std::string_view sign = sign_of(text_.substr(tag));
      std::size_t end = skip_space(tag + 2 + sign.size());
      if (text_.substr(end, 6) != "endraw") continue;
      end = skip_space(end + 6);
      const bool minus = text_.substr(end, 3) == "-%}";
      const bool plus = text_.substr(end, 3) == "+%}";
      if (!minus && !plus && text_.substr(end, 2) != "%}") continue;
      add_data(text_.substr(begin, tag - begin), sign.empty() ? ' ' : sign[0], true);
      finish(after_end(end + (minus || plus ? 3 : 2), minus, plus));
      return {};
    }
    return at_line(line_, "missing end of raw directive");
  }

  /// The tokens up to the tag's end.
  Status read_tag(char kind) {
    const std::string_view close = kind == '%' ? "%}" : "}}";
    const TokenKind end_kind = kind == '%' ? TokenKind::kBlockEnd : TokenKind::kVariableEnd;
    std::string open;
    for (;;) {
      move_to(skip_space(at_));
      if (at_ >= text_.size()) {
        return at_line(line_, kind == '%' ? "unexpected end of template, expected end of statement block"
                                          : "unexpected end of template, expected end of print statement");
      }
      if (open.empty()) {
        const bool minus = text_.substr(at_, 3) == std::string("-") + std::string(close);
        const bool plus = kind == '%' && text_.substr(at_, 3) == "+%}";
        if (minus || plus || text_.substr(at_, 2) == close) {
          add(end_kind, "");
          const std::size_t behind = at_ + (minus || plus ? 3 : 2);
          // A print statement never takes the newline behind it.
          finish(kind == '%' || minus ? after_end(behind, minus, plus) : behind);
          return {};
        }
      }
      TRY(read_token(open));
    }
  }

  Status read_token(std::string& open) {
    const char c = peek();
    if (c == '"' || c == '\'') return read_text(c);
    if (c >= '0' && c <= '9') return read_number();
    std::size_t end = at_;
    while (end < text_.size()) {
      std::size_t next = end;
      const char32_t letter = next_code_point(text_, next);
      if (!is_word(letter)) break;
      end = next;
    }
    if (end > at_) {
      add(TokenKind::kName, std::string(text_.substr(at_, end - at_)));
      at_ = end;
      return {};
    }
    return read_operator(open);
  }

  Status read_operator(std::string& open) {
    static constexpr std::array<std::string_view, 8> kTwo = {"//", "**", "==", "!=", ">=", "<=", "<>", "::"};
    static constexpr std::string_view kOne = "+-/*%~[](){}><=.:|,;";
    const std::string_view two = text_.substr(at_, 2);
    if (std::ranges::find(kTwo, two) != kTwo.end() && two != "<>" && two != "::") {
      add(TokenKind::kOperator, std::string(two));
      at_ += 2;
      return {};
    }
    const char c = peek();
    if (kOne.find(c) == kOne.npos) {
      std::size_t next = at_;
      next_code_point(text_, next);
      std::string shown = "unexpected char ";
      append_repr(shown, text_.substr(at_, next - at_));
      return at_line(line_, shown);
    }
    if (c == '(' || c == '[' || c == '{') open += c;
    if (c == ')' || c == ']' || c == '}') {
      const char wanted = c == ')' ? '(' : c == ']' ? '[' : '{';
      if (open.empty()) return at_line(line_, std::string("unexpected '") + c + "'");
      if (open.back() != wanted)
        return at_line(line_, std::string("unexpected '") + c + "', a '" + open.back() + "' is open");
      open.pop_back();
    }
    add(TokenKind::kOperator, std::string(1, c));
    ++at_;
    return {};
  }

  std::size_t digits(std::size_t position, int base) const {
    while (position < text_.size()) {
      const bool joined =
          text_[position] == '_' && position + 1 < text_.size() && is_digit_of(text_[position + 1], base);
      if (!joined && !is_digit_of(text_[position], base)) break;
      ++position;
    }
    return position;
  }

  Status read_number() {
    const char second = static_cast<char>(peek(1) | 0x20);
    const int base = peek() != '0' ? 10 : second == 'x' ? 16 : second == 'o' ? 8 : second == 'b' ? 2 : 10;
    const std::size_t begin = at_;
    std::size_t end = base == 10 ? digits(at_, 10) : digits(at_ + 2, base);
    TokenKind kind = TokenKind::kInteger;
    const bool after_dot = !tokens_.empty() && tokens_.back().kind == TokenKind::kOperator &&
                           tokens_.back().text == "." && begin > 0 && text_[begin - 1] == '.';
    if (base == 10 && !after_dot) {
      if (end + 1 < text_.size() && text_[end] == '.' && is_digit_of(text_[end + 1], 10)) {
        end = digits(end + 1, 10);
        kind = TokenKind::kFloat;
      }
      if (end < text_.size() && (text_[end] | 0x20) == 'e') {
        std::size_t exponent = end + 1;
        if (exponent < text_.size() && (text_[exponent] == '+' || text_[exponent] == '-')) ++exponent;
        if (exponent < text_.size() && is_digit_of(text_[exponent], 10)) {
          end = digits(exponent, 10);
          kind = TokenKind::kFloat;
        }
      }
    }
    std::string text(text_.substr(begin, end - begin));
    std::erase(text, '_');
    add(kind, std::move(text));
    at_ = end;
    return {};
  }

  Status read_text(char quote) {
    const std::uint32_t line = line_;
    std::string value;
    std::size_t at = at_ + 1;
    for (;;) {
      if (at >= text_.size())
        return at_line(line, std::string("unexpected char \"") + quote + "\": the text has no end");
      const char c = text_[at];
      if (c == quote) break;
      if (c != '\\' || at + 1 >= text_.size()) {
        value += c;
        ++at;
        continue;
      }
      at = TRY(read_escape(at + 1, value));
    }
    add(TokenKind::kText, std::move(value));
    move_to(at + 1);
    return {};
  }

  /// What Python makes of a backslash and the characters at `at`; the position behind them.
  Result<std::size_t> read_escape(std::size_t at, std::string& value) const {
    static constexpr std::string_view kPlain = "\\'\"abfnrtv";
    static constexpr std::string_view kMeaning = "\\'\"\a\b\f\n\r\t\v";
    const char c = text_[at];
    if (c == '\n') return at + 1;
    if (const auto found = kPlain.find(c); found != kPlain.npos) {
      value += kMeaning[found];
      return at + 1;
    }
    if (is_digit_of(c, 8)) {
      std::uint32_t code = 0;
      std::size_t end = at;
      while (end < text_.size() && end < at + 3 && is_digit_of(text_[end], 8)) {
        code = code * 8 + static_cast<std::uint32_t>(text_[end++] - '0');
      }
      append_code_point(value, code);
      return end;
    }
    const std::size_t n_digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (n_digits == 0) {
      value += '\\';
      return at;
    }
    std::uint32_t code = 0;
    for (std::size_t i = 1; i <= n_digits; ++i) {
      const char digit = at + i < text_.size() ? text_[at + i] : ' ';
      if (!is_digit_of(digit, 16)) return at_line(line_, std::string("truncated \\") + c + " escape in a text");
      code = code * 16 + static_cast<std::uint32_t>(digit <= '9' ? digit - '0' : (digit | 0x20) - 'a' + 10);
    }
    if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
      return at_line(line_, "illegal Unicode character in a text");
    append_code_point(value, code);
    return at + 1 + n_digits;
  }

  std::string source_;
  std::string_view text_;
  std::size_t at_ = 0;
  std::uint32_t line_ = 1;
  bool line_starts_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

Error at_line(std::uint32_t line, std::string_view message) {
  return Error(Code::kInvalidArgument, "line ", line, ": ", message);
}

Result<std::vector<Token>> read_tokens(std::string_view source) { return Lexer(source).run(); }

}  // namespace commissure::jinja
