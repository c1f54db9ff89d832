#include "grammar/source_check.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/ascii.h"

namespace commissure {

namespace {

/// What a text of repetitions may unfold to.
constexpr std::uint64_t kMaxUnfolded = 50'000;
constexpr std::size_t kMaxGroups = 256;

bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
}

/// The end of a literal or a class that begins at `at`; the text's, if it is not closed.
std::size_t end_of_quoted(std::string_view text, std::size_t at) {
  const char close = text[at] == '[' ? ']' : text[at];
  for (++at; at < text.size() && text[at] != close; ++at) {
    if (text[at] == '\\') ++at;
  }
  return std::min(at + 1, text.size());
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
    } else if (text[at] >= '0' && text[at] <= '9') {
      number = std::min<std::uint64_t>(number * 10 + static_cast<std::uint64_t>(text[at] - '0'), kMaxUnfolded + 1);
      bound = std::max(bound, number);
    } else if (text[at] != ' ') {
      return 1;
    }
  }
  return std::max<std::uint64_t>(bound, 1);
}

}  // namespace

Status check_ebnf(std::string_view text) {
  int line = 1;
  std::size_t i = 0;
  while (i < text.size()) {
    const char c = text[i];
    if (c == '\n') ++line;
    if (c == '#') {
      while (i < text.size() && text[i] != '\n') ++i;
      continue;
    }
    if (c == '"' || c == '[') {
      i = end_of_quoted(text, i);
      continue;
    }
    if (!is_name_char(c)) {
      ++i;
      continue;
    }
    const std::size_t begin = i;
    while (i < text.size() && is_name_char(text[i])) ++i;
    const std::string_view name = text.substr(begin, i - begin);
    const auto refused = [&](std::string_view what) {
      return Error(Code::kInvalidArgument, "line ", line, ": '", name.substr(0, 64), "' ", what);
    };
    if (i < text.size() && text[i] == '(' && name[0] >= 'A' && name[0] <= 'Z') {
      return refused("looks like a macro, which is not supported; put a space before the parenthesis if it is a rule");
    }
    if (i < text.size() && text[i] == '[') {
      const std::size_t end = text.find_first_not_of(" \t", end_of_quoted(text, i));
      if (end != std::string_view::npos && text.substr(end).starts_with("::=")) {
        return refused("has options in brackets, which are not supported");
      }
    }
  }
  return {};
}

/// As if every group and every element were unfolded as often as its repetition says, at least.
Status check_repetitions(std::string_view text, std::string_view what) {
  std::vector<std::uint64_t> groups = {0};  // sizes of those that are open
  std::uint64_t last = 0;                   // size of the latest element
  const auto too_large = [&] {
    return Error(Code::kResourceExhausted, what, " unfolds into more than ", kMaxUnfolded,
                 " parts: use smaller repetitions");
  };
  for (std::size_t i = 0; i < text.size();) {
    const char c = text[i];
    if (c == '(') {
      groups.push_back(0);
      if (groups.size() > kMaxGroups) return Error(Code::kResourceExhausted, what, " nests deeper than ", kMaxGroups);
      last = 0;
      ++i;
    } else if (c == ')' && groups.size() > 1) {
      last = groups.back();
      groups.pop_back();
      groups.back() += last;
      ++i;
    } else if (c == '{') {
      const std::uint64_t unfolded = times(last, bound_at(text, i));
      groups.back() += unfolded - last;
      last = unfolded;
      ++i;
    } else {
      const std::size_t end = c == '[' ? end_of_quoted(text, i) : c == '\\' ? std::min(i + 2, text.size()) : i + 1;
      last = 1;
      ++groups.back();
      i = end;
    }
    if (groups.back() > kMaxUnfolded) return too_large();
  }
  return {};
}

}  // namespace commissure
