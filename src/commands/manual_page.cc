#include "commands/manual_page.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>

namespace commissure {
namespace {

/// Text as roff prints it unchanged: dashes stay dashes, and a line's first character is no request.
std::string roff(const std::string& text) {
  std::string out;
  bool at_start = true;
  for (const char c : text) {
    if (at_start && (c == '.' || c == '\'')) out += "\\&";
    at_start = c == '\n';
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else {
      out += c;
    }
  }
  return out;
}

std::string in_capitals(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text;
}

std::string flag_text(const FlagDoc& flag) {
  std::string head = flag.names.empty() ? "" : "\\fB" + roff(fmt::format("{}", fmt::join(flag.names, ", "))) + "\\fR";
  if (!flag.choices.empty()) {
    head += " " + roff(fmt::format("{}", fmt::join(flag.choices, "|")));
  } else if (!flag.value.empty()) {
    head += (head.empty() ? "\\fI" : " \\fI") + roff(flag.value) + "\\fR";
  }
  return fmt::format(".TP\n{}\n{}\n", head, roff(flag.summary));
}

/// Lines as they are.
std::string notes_text(const std::string& notes) {
  return notes.empty() ? "" : fmt::format(".PP\n.nf\n{}\n.fi\n", roff(notes));
}

std::string command_text(const CommandDoc& command, const std::string& path) {
  const std::string name = path.empty() ? command.name : path + " " + command.name;
  std::string text = fmt::format(".SS \"{}\"\n{}.\n", roff(name), roff(command.summary));
  for (const FlagDoc& flag : command.flags) text += flag_text(flag);
  text += notes_text(command.notes);
  for (const CommandDoc& inner : command.commands) text += command_text(inner, name);
  return text;
}

}  // namespace

std::string manual_page(const CommandDoc& program, const std::string& version) {
  std::string text = fmt::format(
      ".TH {} 1 \"\" \"{} {}\" \"User commands\"\n.SH NAME\n{} \\- {}\n.SH SYNOPSIS\n.B {}\n.I COMMAND\n[flags]\n"
      ".SH DESCRIPTION\n{}\n",
      in_capitals(program.name), program.name, roff(version), program.name, roff(program.summary), program.name,
      roff(program.notes));
  text += ".SH COMMANDS\n";
  for (const CommandDoc& command : program.commands) text += command_text(command, "");
  return text;
}

}  // namespace commissure
