#include "client/event_reader.h"

namespace commissure {

namespace {

/// An event holds a few tokens; a trace at the end of a long answer is the largest.
constexpr std::size_t kMaxEventBytes = 64u << 20;

std::string text_member(const Json& from, const char* key) {
  const Json* value = find_member(from, key);
  return value != nullptr && value->is_string() ? value->get<std::string>() : std::string();
}

}  // namespace

Status EventReader::push(std::string_view piece) {
  held_.append(piece);
  std::size_t begin = 0;
  Status status;
  for (std::size_t end; status && (end = held_.find('\n', begin)) != std::string::npos; begin = end + 1) {
    std::string_view line(held_.data() + begin, end - begin);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (!line.starts_with("data:")) continue;
    line.remove_prefix(5);
    while (!line.empty() && line.front() == ' ') line.remove_prefix(1);
    if (line == "[DONE]") continue;
    status = handler_(TRY(parse_json(line)));
  }
  held_.erase(0, begin);
  if (held_.size() > kMaxEventBytes) return Error(Code::kDataLoss, "the server sends an event without end");
  return status;
}

std::string choice_text(const Json& choice, bool with_reasoning) {
  const Json* delta = find_member(choice, "delta");
  if (delta == nullptr) return text_member(choice, "text");
  std::string found = text_member(*delta, "content");
  return found.empty() && with_reasoning ? choice_thought(choice) : found;
}

std::string choice_thought(const Json& choice) {
  const Json* delta = find_member(choice, "delta");
  if (delta == nullptr) return "";
  const std::string found = text_member(*delta, "reasoning_content");
  return found.empty() ? text_member(*delta, "reasoning") : found;
}

}  // namespace commissure
