#include "client/event_reader.h"

namespace commissure {

namespace {

/// An event holds a few tokens; a trace at the end of a long answer is the largest.
constexpr std::size_t kMaxEventBytes = 64u << 20;

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
  const auto text = [](const Json& from, const char* key) {
    const Json* value = find_member(from, key);
    return value != nullptr && value->is_string() ? value->get<std::string>() : std::string();
  };
  const Json* delta = find_member(choice, "delta");
  if (delta == nullptr) return text(choice, "text");
  std::string found = text(*delta, "content");
  if (found.empty() && with_reasoning) found = text(*delta, "reasoning_content");
  if (found.empty() && with_reasoning) found = text(*delta, "reasoning");
  return found;
}

}  // namespace commissure
