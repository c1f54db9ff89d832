#include <chrono>
#include <optional>
#include <utility>

#include "api/answer_blocks.h"
#include "api/answer_format.h"
#include "api/answer_reader.h"
#include "api/ollama_error.h"
#include "api/openai.h"

namespace commissure {

namespace {

using Clock = std::chrono::steady_clock;

class OllamaFormat final : public AnswerFormat {
 public:
  OllamaFormat(AnswerShape shape, bool is_chat, std::shared_ptr<const AnswerPlan> plan)
      : shape_(std::move(shape)), is_chat_(is_chat), reader_(std::move(plan)) {}

  std::string_view stream_type() const override { return kNdjson; }

  std::string stream_event(int /*choice*/, const GenerationEvent& event, const Usage& /*usage*/) override {
    Json logprobs = read_clock(event);
    std::string out;
    const auto say = [&](Json members) {
      Json line = head(false);
      if (!logprobs.is_null()) line["logprobs"] = std::exchange(logprobs, nullptr);
      out += ollama_line(with_parts(std::move(line), std::move(members)));
    };
    for (BlockPiece& piece : order_.pieces_of(reader_.read(event))) {
      if (piece.begins) say_call(say);
      if (piece.kind == BlockKind::kCall) {
        if (piece.begins) call_ = BlockPiece{.kind = BlockKind::kCall, .name = piece.name};
        if (call_) call_->text += piece.text;
      } else {
        say({{piece.kind == BlockKind::kText ? "content" : "thinking", std::move(piece.text)}});
      }
    }
    if (event.finish) say_call(say);
    if (!logprobs.is_null()) say(Json::object());
    return out;
  }

  std::string stream_end(const Usage& usage) override {
    return ollama_line(with_end(with_parts(head(true), Json::object()), usage));
  }

  /// Spaces in front of a line are no part of it; an empty line would be one that is no JSON.
  std::string keep_alive() const override { return " "; }
  std::string waking(const Json& /*progress*/) const override { return keep_alive(); }
  HttpResponse failure(const ApiError& error) const override { return ollama_error(error); }
  std::string failure_event(const ApiError& error) override { return ollama_line(ollama_error_body(error)); }

  void collect(int /*choice*/, const GenerationEvent& event) override {
    Json logprobs = read_clock(event);
    for (Json& entry : logprobs) logprobs_.push_back(std::move(entry));
    for (BlockPiece& piece : order_.pieces_of(reader_.read(event))) add_piece(blocks_, std::move(piece));
  }

  Json whole(const Usage& usage) override {
    std::string content, thought;
    Json calls = Json::array();
    for (const BlockPiece& block : blocks_) {
      if (block.kind == BlockKind::kText) content += block.text;
      if (block.kind == BlockKind::kThought) thought += block.text;
      if (auto call = call_json(block)) calls.push_back(std::move(*call));
    }
    Json parts = {{"content", std::move(content)}};
    if (!thought.empty()) parts["thinking"] = std::move(thought);
    if (!calls.empty()) parts["tool_calls"] = std::move(calls);
    Json line = head(true);
    if (shape_.logprobs) line["logprobs"] = std::move(logprobs_);
    return with_end(with_parts(std::move(line), std::move(parts)), usage);
  }

 private:
  Json head(bool is_done) const {
    return {{"model", shape_.model}, {"created_at", ollama_time(std::chrono::system_clock::now())}, {"done", is_done}};
  }

  /// The parts of a message, or beside each other where there are no messages.
  Json with_parts(Json line, Json parts) const {
    Json content = parts.value("content", Json(""));
    parts.erase("content");
    if (is_chat_) {
      line["message"] = {{"role", "assistant"}, {"content", std::move(content)}};
      line["message"].update(parts);
    } else {
      line["response"] = std::move(content);
      line.update(parts);
    }
    return line;
  }

  Json with_end(Json line, const Usage& usage) const {
    const auto ns = [](Clock::duration span) {
      return std::chrono::duration_cast<std::chrono::nanoseconds>(span).count();
    };
    line["done_reason"] = done_reason_;
    line["total_duration"] = ns(Clock::now() - started_);
    line["load_duration"] = 0;
    line["prompt_eval_count"] = usage.prompt_tokens;
    line["prompt_eval_duration"] = ns(first_ - started_);
    line["eval_count"] = usage.completion_tokens;
    line["eval_duration"] = ns(last_ - first_);
    return line;
  }

  /// When tokens came, and their log-probabilities; null where there are none.
  Json read_clock(const GenerationEvent& event) {
    last_ = Clock::now();
    if (!std::exchange(has_first_, true)) first_ = last_;
    if (event.finish) done_reason_ = event.finish == FinishReason::kLength ? "length" : "stop";
    if (!shape_.logprobs || event.tokens.empty()) return nullptr;
    return chat_logprobs(*shape_.tokenizer, event.tokens)["content"];
  }

  /// A call, whose arguments are a value here; nothing of one that was cut off: nobody shall run half of one.
  static std::optional<Json> call_json(const BlockPiece& block) {
    if (block.kind != BlockKind::kCall) return std::nullopt;
    Json arguments = Json::parse(block.text, nullptr, /*allow_exceptions=*/false);
    if (!arguments.is_object()) return std::nullopt;
    return Json{{"function", {{"name", block.name}, {"arguments", std::move(arguments)}}}};
  }

  /// Calls go out in one piece, when they are over.
  template <typename Say>
  void say_call(const Say& say) {
    const auto call = std::exchange(call_, std::nullopt);
    if (!call) return;
    if (auto json = call_json(*call)) say({{"tool_calls", Json::array({std::move(*json)})}});
  }

  const AnswerShape shape_;
  const bool is_chat_;
  AnswerReader reader_;
  BlockOrder order_;
  std::optional<BlockPiece> call_;  // the stream's open call
  std::vector<BlockPiece> blocks_;  // of an answer in one piece
  Json logprobs_ = Json::array();
  std::string_view done_reason_ = "stop";
  const Clock::time_point started_ = Clock::now();
  Clock::time_point first_ = started_, last_ = started_;
  bool has_first_ = false;
};

}  // namespace

std::unique_ptr<AnswerFormat> make_ollama_format(AnswerShape shape, bool is_chat,
                                                 std::shared_ptr<const AnswerPlan> plan) {
  return std::make_unique<OllamaFormat>(std::move(shape), is_chat, std::move(plan));
}

}  // namespace commissure
