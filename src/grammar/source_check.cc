#include "grammar/source_check.h"

#include <algorithm>
#include <array>
#include <vector>

namespace commissure {

namespace {

constexpr std::size_t kMaxGroups = 256;
/// Quantifiers of quantifiers, as in a*+?, each of which nests the one before.
constexpr int kMaxQuantifiers = 4;
/// Names that the compiler has for more than GBNF can say.
constexpr std::array<std::string_view, 6> kMacros = {"TagDispatch",      "Token", "ExcludeToken",
                                                     "TokenTagDispatch", "Regex", "Substring"};

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_' || c == '-' || c == '.';
}

/// The end of a literal or a class that begins at `at`; the text's, if it is not closed.
std::size_t end_of_quoted(std::string_view text, std::size_t at) {
  const char close = text[at] == '[' ? ']' : text[at];
  for (++at; at < text.size() && text[at] != close; ++at) {
    if (text[at] == '\\') ++at;
  }
  return std::min(at + 1, text.size());
}

std::size_t end_of_line(std::string_view text, std::size_t at) {
  return std::min(text.find_first_of("\r\n", at), text.size());
}

std::uint64_t times(std::uint64_t a, std::uint64_t b) {
  return b != 0 && a > kMaxUnfolded / b ? kMaxUnfolded + 1 : a * b;
}

/// The larger bound of {n}, {n,} or {n,m}; 1 where it is none of them.
std::uint64_t bound_at(std::string_view text, std::size_t at) {
  std::uint64_t bound = 0, number = 0;
  for (++at; at < text.size() && text[at] != '}'; ++at) {
    if (text[at] == ',') {
      number = 0;
    } else if (is_digit(text[at])) {
      number = std::min<std::uint64_t>(number * 10 + static_cast<std::uint64_t>(text[at] - '0'), kMaxUnfolded + 1);
      bound = std::max(bound, number);
    } else if (std::string_view(" \t\r\n").find(text[at]) == std::string_view::npos) {
      return 1;
    }
  }
  return std::max<std::uint64_t>(bound, 1);
}

/// Counts as if every group and every element were unfolded as often as its repetition says, at least.
class Unfolding {
 public:
  Unfolding(std::string_view text, Notation notation) : text_(text), notation_(notation) {}

  /// False where groups or quantifiers are nested too deep, or there are more than kMaxUnfolded.
  bool count() {
    while (at_ < text_.size()) {
      if (!step()) return false;
    }
    for (const std::uint64_t group : groups_) total_ += group;
    return true;
  }
  std::uint64_t total() const { return total_; }
  bool is_too_deep() const { return groups_.size() > kMaxGroups || n_quantifiers_ > kMaxQuantifiers; }

 private:
  bool step() {
    const char c = text_[at_];
    if (notation_ == Notation::kEbnf && skips(c)) return true;
    if (c == '(') {
      groups_.push_back(0);
      return element(0, at_ + 1);
    }
    if (c == ')' && groups_.size() > 1) {
      const std::uint64_t size = groups_.back();
      groups_.pop_back();
      return element(size, at_ + 1);
    }
    if (c == '{') {
      const std::uint64_t unfolded = times(std::max<std::uint64_t>(last_, 1), bound_at(text_, at_));
      groups_.back() += unfolded - last_;
      last_ = unfolded;
      const std::size_t close = text_.find('}', at_);
      at_ = close == std::string_view::npos ? text_.size() : close + 1;
      return quantifier();
    }
    if (c == '*' || c == '+' || c == '?') {
      ++at_;
      return quantifier();
    }
    if (notation_ == Notation::kEbnf && is_name_char(c)) {
      std::size_t end = at_;
      while (end < text_.size() && is_name_char(text_[end])) ++end;
      return element(1, end);
    }
    if (c == '\\' && notation_ == Notation::kRegex && text_.substr(at_ + 1).starts_with("u{")) {  // one character
      return element(1, std::min(text_.find('}', at_), text_.size() - 1) + 1);
    }
    const bool is_quoted = c == '[' || (c == '"' && notation_ == Notation::kEbnf);
    return element(1, is_quoted ? end_of_quoted(text_, at_) : c == '\\' ? std::min(at_ + 2, text_.size()) : at_ + 1);
  }

  /// Spaces and comments stand between an element and its quantifier as nothing.
  bool skips(char c) {
    if (c == '#') {
      at_ = end_of_line(text_, at_);
      return true;
    }
    const bool is_space = c == ' ' || c == '\t' || c == '\r' || c == '\n';
    if (is_space) ++at_;
    return is_space;
  }

  bool element(std::uint64_t size, std::size_t end) {
    last_ = size;
    n_quantifiers_ = 0;
    groups_.back() += size;
    at_ = end;
    return is_small();
  }

  bool quantifier() {
    ++n_quantifiers_;
    return is_small();
  }

  bool is_small() const { return !is_too_deep() && groups_.back() <= kMaxUnfolded; }

  const std::string_view text_;
  const Notation notation_;
  std::size_t at_ = 0;
  std::vector<std::uint64_t> groups_ = {0};  // sizes of those that are open
  std::uint64_t last_ = 0;                   // size of the latest element
  std::uint64_t total_ = 0;
  int n_quantifiers_ = 0;  // behind the latest element
};

/// Of a rule's name, at the beginning of its line, whether options in brackets stand behind it.
bool has_options(std::string_view text, std::size_t name, std::size_t behind) {
  if (behind >= text.size() || text[behind] != '[') return false;
  const std::size_t line = text.find_last_of("\r\n", name) + 1;  // 0 where there is none before
  if (text.substr(line, name - line).find_first_not_of(" \t") != std::string_view::npos) return false;
  return text.substr(behind, end_of_line(text, behind) - behind).find("::=") != std::string_view::npos;
}

}  // namespace

Status check_ebnf(std::string_view text) {
  int line = 1;
  const auto refused = [&](std::string_view what, std::string_view why) {
    return Error(Code::kInvalidArgument, "line ", line, ": '", what.substr(0, 64), "' ", why);
  };
  if (text.find('\0') != std::string_view::npos) return Error(Code::kInvalidArgument, "has a zero byte");
  for (std::size_t i = 0; i < text.size();) {
    const char c = text[i];
    if (c == '\n') ++line;
    if (c == '#') {
      i = end_of_line(text, i);
      continue;
    }
    if (c == '"' || c == '[') {
      i = end_of_quoted(text, i);
      continue;
    }
    if (c == '(' && i + 1 < text.size() && text[i + 1] == '=') return refused("(=", "is a lookahead, not supported");
    if (!is_name_char(c) || is_digit(c)) {  // as the compiler reads it: no name begins with a digit
      ++i;
      continue;
    }
    const std::size_t begin = i;
    while (i < text.size() && is_name_char(text[i])) ++i;
    const std::string_view name = text.substr(begin, i - begin);
    if (std::ranges::find(kMacros, name) != kMacros.end()) {
      return refused(name, "is the name of a macro, which is not supported; a rule needs another name");
    }
    if (has_options(text, begin, i)) return refused(name, "has options in brackets, which are not supported");
  }
  return {};
}

Result<std::uint64_t> unfolded_parts(std::string_view text, Notation notation, std::uint64_t most,
                                     std::string_view what) {
  Unfolding unfolding(text, notation);
  if (unfolding.count() && unfolding.total() <= most) return unfolding.total();
  if (unfolding.is_too_deep()) {
    return Error(Code::kResourceExhausted, what, " nests deeper than ", kMaxGroups, " groups or ", kMaxQuantifiers,
                 " quantifiers");
  }
  return Error(Code::kResourceExhausted, what, " unfolds into more than ", most, " parts: use smaller repetitions");
}

}  // namespace commissure
