#include "terminal/program_call.h"

#include <algorithm>
#include <cctype>

namespace commissure {

namespace {

std::string quoted(const std::string& word) {
  const auto is_plain = [](unsigned char c) {
    return std::isalnum(c) != 0 || std::string_view("-_=./:,@+%").find(static_cast<char>(c)) != std::string_view::npos;
  };
  if (!word.empty() && std::ranges::all_of(word, is_plain)) return word;
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? "'\\''" : std::string(1, c);
  return text + "'";
}

std::string words(const std::vector<std::string>& arguments) {
  std::string line;
  for (const std::string& word : arguments) {
    if (!line.empty()) line += ' ';
    line += quoted(word);
  }
  return line;
}

}  // namespace

std::string command_line(const ProgramCall& call) {
  std::string line = call.input_of.empty() ? "" : words(call.input_of) + " | ";
  line += words(call.arguments);
  if (call.secret_input) return line + " <<<\"$SECRET\"";
  return call.input.empty() ? line : line + " <<<" + quoted(call.input);
}

}  // namespace commissure
