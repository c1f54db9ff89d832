#include "weights/name_pattern.h"

#include <algorithm>

#include "weights/header_reader.h"

namespace commissure {

bool NamePattern::Part::takes(char c) const {
  if (kind == Kind::kDigit) return c >= '0' && c <= '9';
  return kind == Kind::kAny || c == character;
}

Result<NamePattern> NamePattern::parse(std::string_view text) {
  if (text.size() > kMaxBytes) {
    return Error(Code::kInvalidArgument, "a pattern of ", text.size(), " bytes, at most ", kMaxBytes);
  }
  NamePattern pattern;
  for (std::size_t first = 0; first <= text.size();) {
    const std::size_t end = std::min(text.find('|', first), text.size());
    auto choice = parse_choice(text.substr(first, end - first));
    if (!choice) return choice.error().within(printable(text));
    pattern.choices_.push_back(*std::move(choice));
    first = end + 1;
  }
  return pattern;
}

Result<NamePattern::Choice> NamePattern::parse_choice(std::string_view text) {
  Choice choice;
  if (text.starts_with('^')) {
    choice.from_start = true;
    text.remove_prefix(1);
  }
  if (text.ends_with('$') && !text.ends_with("\\$")) text.remove_suffix(1);
  while (!text.empty()) {
    std::size_t n = 1;
    Part part{.kind = text[0] == '.' ? Kind::kAny : Kind::kCharacter, .character = text[0]};
    if (text.starts_with("\\d") || text.starts_with("[0-9]")) {
      part.kind = Kind::kDigit;
      n = text[0] == '[' ? 5 : 2;
    } else if (text.starts_with("\\.") || text.starts_with("\\_") || text.starts_with("\\-")) {
      part.character = text[1];
      n = 2;
    } else if (std::string_view("\\[](){}*+?^$").find(text[0]) != std::string_view::npos) {
      return Error(Code::kUnimplemented, "of regular expressions, \"", text.substr(0, 1),
                   "\" is not supported here; write the names out");
    }
    text.remove_prefix(n);
    if (!text.empty() && std::string_view("*+?").find(text[0]) != std::string_view::npos) {
      part.may_lack = text[0] != '+';
      part.may_repeat = text[0] != '?';
      text.remove_prefix(1);
    }
    choice.parts.push_back(part);
  }
  return choice;
}

bool NamePattern::has_repeats() const {
  return std::ranges::any_of(choices_, [](const Choice& choice) {
    return std::ranges::any_of(choice.parts, [](const Part& part) { return part.may_lack || part.may_repeat; });
  });
}

bool NamePattern::fits(std::string_view name) const {
  return std::ranges::any_of(choices_, [&](const Choice& choice) { return fits(choice, name); });
}

/// All ways at once: at[i], whether the first i parts may end here.
bool NamePattern::fits(const Choice& choice, std::string_view name) {
  const std::vector<Part>& parts = choice.parts;
  std::vector<char> at(parts.size() + 1), next(parts.size() + 1);
  const auto pass_what_may_lack = [&](std::vector<char>& states) {
    for (std::size_t i = 0; i < parts.size(); ++i) {
      if (states[i] != 0 && parts[i].may_lack) states[i + 1] = 1;
    }
  };
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (i == 0 || (name[i - 1] == '.' && !choice.from_start)) at[0] = 1;
    pass_what_may_lack(at);
    std::ranges::fill(next, 0);
    for (std::size_t part = 0; part < parts.size(); ++part) {
      if (at[part] == 0 || !parts[part].takes(name[i])) continue;
      next[part + 1] = 1;
      if (parts[part].may_repeat) next[part] = 1;
    }
    at.swap(next);
  }
  pass_what_may_lack(at);
  return at.back() != 0;
}

}  // namespace commissure
