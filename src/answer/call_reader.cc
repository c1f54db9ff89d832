#include "answer/call_reader.h"

#include <algorithm>
#include <utility>

#include "answer/spaces.h"

namespace commissure {

namespace {

/// Two forms stand behind the same mark; the first byte tells which.
class TaggedCalls final : public CallReader {
 public:
  TaggedCalls(const CallMark& mark, const std::vector<AnswerFunction>& functions, CallSink& sink)
      : mark_(mark), functions_(functions), sink_(sink) {}

  std::size_t push(std::string_view text) override {
    std::size_t n = 0;
    if (reader_ == nullptr) {
      n = std::min(text.find_first_not_of(kSpaces), text.size());
      if (n == text.size()) return n;
      reader_ = text[n] == '<' ? make_xml_calls(mark_, functions_, sink_) : make_json_calls(mark_, sink_);
    }
    return n + reader_->push(text.substr(n));
  }

  bool is_done() const override { return reader_ != nullptr && reader_->is_done(); }
  bool is_closed() const override { return reader_ != nullptr && reader_->is_closed(); }
  std::string rest() override { return reader_ != nullptr ? reader_->rest() : std::string(); }
  void forget_prompt() override {
    if (reader_ != nullptr) reader_->forget_prompt();
  }

 private:
  const CallMark mark_;
  const std::vector<AnswerFunction>& functions_;
  CallSink& sink_;
  std::unique_ptr<CallReader> reader_;
};

}  // namespace

std::size_t ByteReader::push(std::string_view text) {
  const std::size_t longest = std::max(mark_.open.size(), mark_.close.size());
  std::size_t n = 0;
  while (n < text.size() && !is_done_) {
    if (is_new_) {
      recent_ += text[n];
      if (recent_.size() > longest) recent_.erase(0, 1);
    }
    is_new_ = take(text[n]);
    if (is_new_) ++n;
  }
  flush();
  return n;
}

bool ByteReader::take_behind(char c) {
  if (held_.empty() && (is_space(c) || c == '}' || c == ']')) return true;
  held_ += c;
  if (held_ == mark_.close) return close();
  return mark_.close.starts_with(held_) || stop_before(std::exchange(held_, {}));
}

bool ByteReader::take_passing(char c) {
  held_ += c;
  if (ends_with(mark_.close)) return close();
  if (!ends_with(mark_.open)) return true;
  return stop_before(held_.size() < mark_.open.size() ? mark_.open : std::exchange(held_, {}));
}

bool ByteReader::close() {
  held_.clear();
  return is_done_ = is_closed_ = true;
}

bool ByteReader::stop() {
  is_done_ = true;
  return false;
}

bool ByteReader::stop_before(std::string rest) {
  rest_ = std::move(rest);
  return is_done_ = true;
}

std::unique_ptr<CallReader> make_call_reader(const AnswerSyntax& syntax, const CallMark& mark,
                                             const std::vector<AnswerFunction>& functions, CallSink& sink) {
  switch (mark.form) {
    case CallForm::kTagged: return std::make_unique<TaggedCalls>(mark, functions, sink);
    case CallForm::kNamed: return make_xml_calls(mark, functions, sink);
    case CallForm::kBraced: return make_braced_call(mark, syntax.call_quote, sink);
    case CallForm::kJsonList:
    case CallForm::kJsonObject: break;
  }
  return make_json_calls(mark, sink);
}

bool is_name_byte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
}

}  // namespace commissure
