#include "commands/shell_completion.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace commissure {
namespace {

/// Up to the first full stop or line end, which is as much as a list of completions has room for.
std::string first_sentence(const std::string& text) {
  const std::size_t end = std::min(text.find('\n'), text.find(". "));
  return text.substr(0, end);
}

/// Inside single quotes of a shell.
std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

/// As _arguments of zsh reads it: brackets and colons end a description.
std::string zsh_text(const std::string& text) {
  std::string out;
  for (const char c : first_sentence(text)) {
    if (c == '[' || c == ']' || c == ':' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

std::vector<std::string> names_of(const std::vector<CommandDoc>& commands) {
  std::vector<std::string> names;
  for (const CommandDoc& command : commands) names.push_back(command.name);
  return names;
}

/// The words that may follow where no flag waits for its value.
std::string bash_words(const CommandDoc& command) {
  std::vector<std::string> words = names_of(command.commands);
  for (const FlagDoc& flag : command.flags) words.insert(words.end(), flag.names.begin(), flag.names.end());
  return fmt::format("{}", fmt::join(words, " "));
}

/// Of each flag that takes a value, what may follow it.
std::string bash_values(const CommandDoc& command) {
  std::string cases;
  for (const FlagDoc& flag : command.flags) {
    if (flag.value.empty() || flag.names.empty()) continue;
    const std::string pattern = fmt::format("{}", fmt::join(flag.names, "|"));
    const std::string action = !flag.choices.empty()
                                   ? fmt::format("COMPREPLY=($(compgen -W {} -- \"$word\"))",
                                                 quoted(fmt::format("{}", fmt::join(flag.choices, " "))))
                               : flag.takes_files ? "COMPREPLY=($(compgen -f -- \"$word\"))"
                                                  : ":";
    cases += fmt::format("        {}) {}; return ;;\n", pattern, action);
  }
  return cases;
}

std::string bash_script(const CommandDoc& program) {
  std::string commands;
  for (const CommandDoc& command : program.commands) {
    commands += fmt::format("    {})\n      case \"$before\" in\n{}      esac\n      words={} ;;\n", command.name,
                            bash_values(command), quoted(bash_words(command)));
  }
  return fmt::format(R"(# Completions of {0} for bash. Load them with: source <({0} completion bash)
_{0}() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}" words
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W {1} -- "$word"))
    return
  fi
  case "${{COMP_WORDS[1]}}" in
{2}    *) return ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$word"))
  if [ "${{#COMPREPLY[@]}}" -eq 0 ]; then COMPREPLY=($(compgen -f -- "$word")); fi
}}
complete -o filenames -F _{0} {0}
)",
                     program.name, quoted(bash_words(program)), commands);
}

std::string zsh_flag(const FlagDoc& flag) {
  const std::string value = flag.value.empty()      ? ""
                            : !flag.choices.empty() ? fmt::format(":{}:({})", flag.value, fmt::join(flag.choices, " "))
                            : flag.takes_files      ? fmt::format(":{}:_files", flag.value)
                                                    : fmt::format(":{}: ", flag.value);
  std::string text;
  for (const std::string& name : flag.names)
    text += "      " + quoted(fmt::format("*{}[{}]{}", name, zsh_text(flag.summary), value)) + " \\\n";
  return text;
}

std::string zsh_script(const CommandDoc& program) {
  std::string list, cases;
  for (const CommandDoc& command : program.commands) {
    list += "      " + quoted(command.name + ":" + zsh_text(command.summary)) + "\n";
    cases += fmt::format("    {})\n      _arguments \\\n", command.name);
    for (const FlagDoc& flag : command.flags) cases += zsh_flag(flag);
    cases += command.commands.empty()
                 ? "      '*:file:_files' ;;\n"
                 : fmt::format("      '*:command:({})' ;;\n", fmt::join(names_of(command.commands), " "));
  }
  return fmt::format(R"(#compdef {0}
# Completions of {0} for zsh. Save them as _{0} in a folder of $fpath, or: source <({0} completion zsh)
_{0}() {{
  local -a commands
  if (( CURRENT == 2 )); then
    commands=(
{1}    )
    _describe 'command' commands
    return
  fi
  shift words
  (( CURRENT-- ))
  case "$words[1]" in
{2}  esac
}}
compdef _{0} {0}
)",
                     program.name, list, cases);
}

std::string fish_flag(const std::string& program, const std::string& command, const FlagDoc& flag) {
  if (flag.names.empty()) return "";
  std::string line = fmt::format("complete -c {0} -n '__fish_seen_subcommand_from {1}'", program, command);
  for (const std::string& name : flag.names)
    line += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
  if (!flag.value.empty()) line += flag.takes_files ? " -r -F" : " -x";
  if (!flag.choices.empty()) line += " -a " + quoted(fmt::format("{}", fmt::join(flag.choices, " ")));
  return line + " -d " + quoted(first_sentence(flag.summary)) + "\n";
}

std::string fish_script(const CommandDoc& program) {
  std::string text = fmt::format(
      "# Completions of {0} for fish. Load them with: {0} completion fish | source\n"
      "complete -c {0} -n __fish_use_subcommand -f\n",
      program.name);
  for (const CommandDoc& command : program.commands) {
    text += fmt::format("complete -c {} -n __fish_use_subcommand -a {} -d {}\n", program.name, command.name,
                        quoted(first_sentence(command.summary)));
    for (const FlagDoc& flag : command.flags) text += fish_flag(program.name, command.name, flag);
    for (const CommandDoc& inner : command.commands) {
      text += fmt::format("complete -c {} -n '__fish_seen_subcommand_from {}' -a {} -d {}\n", program.name,
                          command.name, inner.name, quoted(first_sentence(inner.summary)));
    }
  }
  return text;
}

}  // namespace

Result<std::string> shell_completion(const CommandDoc& program, std::string_view shell) {
  if (shell == "bash") return bash_script(program);
  if (shell == "zsh") return zsh_script(program);
  if (shell == "fish") return fish_script(program);
  return Error(Code::kInvalidArgument, "no completions for the shell \"", shell, "\": bash, zsh and fish have some");
}

}  // namespace commissure
