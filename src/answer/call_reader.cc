#include "answer/call_reader.h"

#include <algorithm>
#include <utility>

#include "answer/spaces.h"

namespace commissure {

namespace {

/// Two forms stand behind the same mark; the first byte tells which.
class TaggedCalls final : public CallReader {
 public:
  TaggedCalls(const CallMark& mark, const Json& tools, CallSink& sink) : mark_(mark), tools_(tools), sink_(sink) {}

  std::size_t push(std::string_view text) override {
    std::size_t n = 0;
    if (reader_ == nullptr) {
      n = std::min(text.find_first_not_of(kSpaces), text.size());
      if (n == text.size()) return n;
      reader_ = text[n] == '<' ? make_xml_calls(mark_, tools_, sink_) : make_json_calls(mark_, sink_);
    }
    return n + reader_->push(text.substr(n));
  }

  bool is_done() const override { return reader_ != nullptr && reader_->is_done(); }

  std::string rest() override { return reader_ != nullptr ? reader_->rest() : std::string(); }

 private:
  const CallMark mark_;
  const Json& tools_;
  CallSink& sink_;
  std::unique_ptr<CallReader> reader_;
};

}  // namespace

CallEnd::Found CallEnd::push(char c) {
  if (held_.empty() && is_space(c)) return Found::kNothingYet;
  held_ += c;
  if (held_ == mark_.close) return Found::kClose;
  if (held_ == mark_.open) {
    held_.clear();
    return Found::kOpen;
  }
  return mark_.close.starts_with(held_) || mark_.open.starts_with(held_) ? Found::kNothingYet : Found::kText;
}

std::string CallEnd::take_held() { return std::exchange(held_, {}); }

std::unique_ptr<CallReader> make_call_reader(const AnswerSyntax& syntax, const CallMark& mark, const Json& tools,
                                             CallSink& sink) {
  switch (mark.form) {
    case CallForm::kTagged: return std::make_unique<TaggedCalls>(mark, tools, sink);
    case CallForm::kBraced: return make_braced_call(mark, syntax.call_quote, sink);
    case CallForm::kJsonList:
    case CallForm::kJsonObject: break;
  }
  return make_json_calls(mark, sink);
}

std::string json_string(std::string_view text) { return dump_json(Json(std::string(text))); }

}  // namespace commissure
