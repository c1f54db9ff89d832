#include <optional>
#include <utility>

#include "api/answer_blocks.h"
#include "api/answer_format.h"
#include "api/answer_reader.h"
#include "api/messages_error.h"
#include "api/openai.h"

namespace commissure {

namespace {

/// The ids that a model's template insists on stay as they are.
std::string tool_use_id(const std::string& id) {
  constexpr std::string_view kOurs = "call_";
  return id.starts_with(kOurs) ? "toolu_" + id.substr(kOurs.size()) : id;
}

Json empty_block(const BlockPiece& first) {
  switch (first.kind) {
    case BlockKind::kThought: return {{"type", "thinking"}, {"thinking", ""}, {"signature", ""}};
    case BlockKind::kText: return {{"type", "text"}, {"text", ""}};
    case BlockKind::kCall: break;
  }
  return {{"type", "tool_use"}, {"id", tool_use_id(first.id)}, {"name", first.name}, {"input", Json::object()}};
}

Json delta_json(const BlockPiece& piece) {
  switch (piece.kind) {
    case BlockKind::kThought: return {{"type", "thinking_delta"}, {"thinking", piece.text}};
    case BlockKind::kText: return {{"type", "text_delta"}, {"text", piece.text}};
    case BlockKind::kCall: break;
  }
  return {{"type", "input_json_delta"}, {"partial_json", piece.text}};
}

/// A block of an answer in one piece. A call that was cut off has no input: nobody shall run half of one. Of a name
/// that comes twice the last value counts, as for whoever reads the stream.
Json whole_block(const BlockPiece& all) {
  Json block = empty_block(all);
  if (all.kind == BlockKind::kCall) {
    if (Json input = Json::parse(all.text, nullptr, /*allow_exceptions=*/false); input.is_object())
      block["input"] = std::move(input);
  } else {
    block[all.kind == BlockKind::kText ? "text" : "thinking"] = all.text;
  }
  return block;
}

class MessagesFormat final : public AnswerFormat {
 public:
  MessagesFormat(std::string model, std::string request_id, std::shared_ptr<const AnswerPlan> plan)
      : model_(std::move(model)),
        request_id_(std::move(request_id)),
        id_(random_id("msg_")),
        reader_(std::move(plan)) {}

  std::string stream_event(int /*choice*/, const GenerationEvent& event, const Usage& usage) override {
    std::string out;
    if (!std::exchange(is_begun_, true)) out += sse_event("message_start", {{"message", message(usage)}});
    for (const BlockPiece& piece : order_.pieces_of(reader_.read(event))) {
      if (piece.begins) out += next_block(piece);
      if (!piece.text.empty())
        out += sse_event("content_block_delta", {{"index", index_}, {"delta", delta_json(piece)}});
    }
    if (event.finish) keep_end(event);
    return out;
  }

  std::string stream_end(const Usage& usage) override {
    return close_block() +
           sse_event("message_delta", {{"delta", {{"stop_reason", stop_reason_}, {"stop_sequence", stop_sequence_}}},
                                       {"usage", usage_of(usage)}}) +
           sse_event("message_stop", Json::object());
  }

  /// Before the message's start, clients may know no event.
  std::string keep_alive() const override {
    return is_begun_ ? sse_event("ping", Json::object()) : AnswerFormat::keep_alive();
  }
  HttpResponse failure(const ApiError& error) const override { return messages_error(error, request_id_); }
  std::string failure_event(const ApiError& error) override { return messages_error_event(error, request_id_); }

  void collect(int /*choice*/, const GenerationEvent& event) override {
    for (BlockPiece& piece : order_.pieces_of(reader_.read(event))) add_piece(blocks_, std::move(piece));
    if (event.finish) keep_end(event);
  }

  Json whole(const Usage& usage) override {
    Json answer = message(usage);
    for (const BlockPiece& block : blocks_) answer["content"].push_back(whole_block(block));
    answer["stop_reason"] = stop_reason_;
    answer["stop_sequence"] = stop_sequence_;
    return answer;
  }

 private:
  Json message(const Usage& usage) const {
    return {{"id", id_},
            {"type", "message"},
            {"role", "assistant"},
            {"model", model_},
            {"content", Json::array()},
            {"stop_reason", nullptr},
            {"stop_sequence", nullptr},
            {"usage", usage_of(usage)}};
  }

  /// Tokens from the cache are no part of input_tokens here.
  Json usage_of(const Usage& usage) const {
    return {{"input_tokens", usage.prompt_tokens - usage.cached_tokens},
            {"cache_creation_input_tokens", 0},
            {"cache_read_input_tokens", usage.cached_tokens},
            {"output_tokens", usage.completion_tokens},
            {"output_tokens_details", {{"thinking_tokens", reader_.n_thought_tokens()}}}};
  }

  std::string next_block(const BlockPiece& first) {
    std::string out = close_block();
    open_ = first.kind;
    out += sse_event("content_block_start", {{"index", ++index_}, {"content_block", empty_block(first)}});
    if (index_ == 0) out += sse_event("ping", Json::object());
    return out;
  }

  std::string close_block() {
    const auto closed = std::exchange(open_, std::nullopt);
    if (!closed) return "";
    std::string out;
    if (*closed == BlockKind::kThought) {
      const Json signature = {{"type", "signature_delta"}, {"signature", ""}};
      out += sse_event("content_block_delta", {{"index", index_}, {"delta", signature}});
    }
    return out + sse_event("content_block_stop", {{"index", index_}});
  }

  void keep_end(const GenerationEvent& last) {
    if (reader_.ends_in_calls(last)) {
      stop_reason_ = "tool_use";
    } else if (last.finish == FinishReason::kLength) {
      stop_reason_ = "max_tokens";
    } else if (last.stop_string) {
      stop_reason_ = "stop_sequence";
      stop_sequence_ = *last.stop_string;
    } else {
      stop_reason_ = "end_turn";
    }
  }

  const std::string model_, request_id_, id_;
  AnswerReader reader_;
  BlockOrder order_;
  Json stop_reason_, stop_sequence_;
  std::vector<BlockPiece> blocks_;  // of an answer in one piece
  bool is_begun_ = false;
  int index_ = -1;                 // of the stream's last block
  std::optional<BlockKind> open_;  // the stream's block that is not closed
};

}  // namespace

std::unique_ptr<AnswerFormat> make_messages_format(std::string model, std::string request_id,
                                                   std::shared_ptr<const AnswerPlan> plan) {
  return std::make_unique<MessagesFormat>(std::move(model), std::move(request_id), std::move(plan));
}

}  // namespace commissure
