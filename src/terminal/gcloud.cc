#include "terminal/gcloud.h"

#include <algorithm>
#include <cctype>

#include "core/ascii.h"
#include "core/json.h"

namespace commissure {

namespace {

void cut_from(std::string& text, const char* mark) {
  if (const auto at = text.find(mark); at != std::string::npos) text.resize(at);
}

std::string one_line(const std::string& text) {
  std::string line;
  for (const char c : text) {
    const bool space = std::isspace(static_cast<unsigned char>(c)) != 0;
    if (!space) line += c;
    if (space && !line.empty() && line.back() != ' ') line += ' ';
  }
  while (!line.empty() && (line.back() == ' ' || line.back() == '.')) line.pop_back();
  return line;
}

/// The `message` of a JSON error body inside the text, where gcloud prints the body as it came.
std::string message_in(const std::string& text) {
  const auto start = text.find("content <");
  const auto end = text.rfind('>');
  if (start == std::string::npos || end == std::string::npos || end <= start + 9) return "";
  const auto body = parse_json(text.substr(start + 9, end - start - 9));
  const Json* error = body ? find_member(*body, "error") : nullptr;
  const Json* message = error == nullptr ? nullptr : find_member(*error, "message");
  return message != nullptr && message->is_string() ? message->get<std::string>() : "";
}

/// Without the colours of a terminal.
std::string plain(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text.compare(i, 2, "\x1b[") == 0) {
      i = std::min(text.find_first_not_of("0123456789;", i + 2), text.size());  // at the letter that ends it
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace

std::string last_build_line(const std::string& output) {
  std::string last, cause;
  std::size_t start = 0;
  while (start < output.size()) {
    const std::size_t end = std::min(output.find('\n', start), output.size());
    const std::string line = one_line(plain(output.substr(start, end - start)));
    start = end + 1;
    if (line == "ERROR" || holds_any(line, {"ERROR: build step", "Finished Step", "BUILD FAILURE"})) continue;
    if (!line.empty() && line.find_first_not_of("-") != std::string::npos) last = line;
    if (holds_any(lower(line), {"error", "failed", "cannot", "denied", "not found"})) cause = line;
  }
  return (cause.empty() ? last : cause).substr(0, 300);
}

ProgramCall gcloud(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "gcloud");
  arguments.emplace_back("--quiet");
  return {.arguments = std::move(arguments)};
}

std::string google_words(const ProgramAnswer& answer) {
  std::string text = answer.errors;
  const auto error = text.rfind("ERROR:");
  if (error != std::string::npos) text.erase(0, error + 6);
  const auto warning = text.find("Setting IAM policy failed");
  if (answer.good() && warning != std::string::npos) {
    text.erase(0, warning);
    cut_from(text, "Service [");  // what was deployed all the same
  }
  if (std::string message = message_in(text); !message.empty()) return one_line(message);
  cut_from(text, "This command is authenticated");
  cut_from(text, "- '@type'");
  cut_from(text, "If you would like to report");
  std::string line = one_line(text);
  if (line.starts_with("(gcloud.")) line.erase(0, line.find(')') == std::string::npos ? 0 : line.find(')') + 1);
  line = one_line(line.substr(std::min(line.find_first_not_of(' '), line.size())));
  if (line.find("build ") == 0 || line.find("completed with status") != std::string::npos) {
    if (const std::string cause = last_build_line(answer.output); !cause.empty()) line += ": " + cause;
  }
  if (line.empty()) line = "exit status " + std::to_string(answer.status) + " without a word";
  return line.substr(0, 600);
}

}  // namespace commissure
