#include <utility>
#include <vector>

#include "api/answer_blocks.h"
#include "api/answer_format.h"
#include "api/answer_reader.h"
#include "api/openai.h"

namespace commissure {

namespace {

std::string_view id_prefix(BlockKind kind) {
  switch (kind) {
    case BlockKind::kThought: return "rs_";
    case BlockKind::kText: return "msg_";
    case BlockKind::kCall: break;
  }
  return "fc_";
}

/// The one part of a thought or a text.
Json part_json(BlockKind kind, const std::string& text) {
  if (kind == BlockKind::kThought) return {{"type", "reasoning_text"}, {"text", text}};
  return {{"type", "output_text"}, {"text", text}, {"annotations", Json::array()}, {"logprobs", Json::array()}};
}

/// An output item: a block with its id and how far it is.
struct Item {
  BlockPiece block;
  std::string id;
  std::string_view status = "in_progress";

  Json json() const {
    // While it goes on, its parts are still to come.
    const Json content = status == "in_progress" ? Json::array() : Json::array({part_json(block.kind, block.text)});
    switch (block.kind) {
      case BlockKind::kThought:
        return {
            {"id", id}, {"type", "reasoning"}, {"status", status}, {"summary", Json::array()}, {"content", content}};
      case BlockKind::kText:
        return {{"id", id}, {"type", "message"}, {"status", status}, {"role", "assistant"}, {"content", content}};
      case BlockKind::kCall: break;
    }
    return {{"id", id},           {"type", "function_call"},
            {"status", status},   {"call_id", block.id},
            {"name", block.name}, {"arguments", status == "in_progress" ? "" : block.text}};
  }
};

class ResponsesFormat final : public AnswerFormat {
 public:
  ResponsesFormat(std::string model, Json echo, std::shared_ptr<const AnswerPlan> plan)
      : model_(std::move(model)),
        echo_(std::move(echo)),
        id_(random_id("resp_")),
        created_(unix_now()),
        reader_(std::move(plan)) {}

  std::string stream_event(int /*choice*/, const GenerationEvent& event, const Usage& /*usage*/) override {
    std::string out = begin();
    for (BlockPiece& piece : order_.pieces_of(reader_.read(event))) {
      if (piece.begins) {
        out += close_item();
        out += open_item(std::move(piece));
      } else {
        items_.back().block.text += piece.text;
        out += delta(piece.text);
      }
    }
    if (event.finish) keep_end(event);
    return out;
  }

  std::string stream_end(const Usage& usage) override {
    std::string out = close_item();
    return out + named(is_cut_ ? "response.incomplete" : "response.completed", {{"response", ended(usage)}});
  }

  /// The response has failed, with its beginning where clients have not seen that yet.
  std::string failure_event(const ApiError& error) override {
    std::string out = begin();
    Json failed = response("failed");
    const Json message = error.body()["error"]["message"];
    failed["error"] = {{"code", error.status == 429 ? "rate_limit_exceeded" : "server_error"}, {"message", message}};
    return out + named("response.failed", {{"response", std::move(failed)}});
  }

  void collect(int /*choice*/, const GenerationEvent& event) override {
    for (BlockPiece& piece : order_.pieces_of(reader_.read(event))) {
      if (piece.begins) {
        finish_item("completed");
        add_item(std::move(piece));
      } else {
        items_.back().block.text += piece.text;
      }
    }
    if (event.finish) keep_end(event);
  }

  Json whole(const Usage& usage) override {
    finish_item(last_status_);
    return ended(usage);
  }

 private:
  /// The response so far, as a stream's first and last events have it too.
  Json response(std::string_view status) const {
    Json answer = {{"id", id_},           {"object", "response"}, {"created_at", created_},        {"status", status},
                   {"background", false}, {"error", nullptr},     {"incomplete_details", nullptr}, {"model", model_}};
    answer["output"] = Json::array();
    for (const Item& item : items_) answer["output"].push_back(item.json());
    answer.update(echo_);
    answer.update({{"previous_response_id", nullptr},
                   {"store", false},
                   {"top_logprobs", 0},
                   {"truncation", "disabled"},
                   {"usage", nullptr}});
    return answer;
  }

  Json ended(const Usage& usage) const {
    Json answer = response(is_cut_ ? "incomplete" : "completed");
    if (is_cut_) answer["incomplete_details"] = {{"reason", "max_output_tokens"}};
    answer["completed_at"] = is_cut_ ? Json(nullptr) : Json(unix_now());
    answer["usage"] = {{"input_tokens", usage.prompt_tokens},
                       {"input_tokens_details", {{"cached_tokens", usage.cached_tokens}}},
                       {"output_tokens", usage.completion_tokens},
                       {"output_tokens_details", {{"reasoning_tokens", reader_.n_thought_tokens()}}},
                       {"total_tokens", usage.prompt_tokens + usage.completion_tokens}};
    return answer;
  }

  std::string named(std::string_view type, Json members) {
    members["sequence_number"] = n_events_++;
    return sse_event(type, members);
  }

  std::string begin() {
    if (std::exchange(is_begun_, true)) return "";
    const Json members = {{"response", response("in_progress")}};
    std::string out = named("response.created", members);
    return out + named("response.in_progress", members);
  }

  /// {item_id, output_index} and, of what has parts, {content_index}.
  Json place() const {
    Json members = {{"item_id", items_.back().id}, {"output_index", items_.size() - 1}};
    if (items_.back().block.kind != BlockKind::kCall) members["content_index"] = 0;
    return members;
  }
  std::string at_place(std::string_view type, std::string_view name, Json value) {
    Json members = place();
    members[std::string(name)] = std::move(value);
    // Texts come with the log-probabilities of their tokens, of which there are none.
    if (type.starts_with("response.output_text")) members["logprobs"] = Json::array();
    return named(type, std::move(members));
  }
  static std::string_view stem(BlockKind kind) {
    switch (kind) {
      case BlockKind::kThought: return "response.reasoning_text";
      case BlockKind::kText: return "response.output_text";
      case BlockKind::kCall: break;
    }
    return "response.function_call_arguments";
  }

  std::string item_event(std::string_view type) {
    return named(type, {{"output_index", items_.size() - 1}, {"item", items_.back().json()}});
  }

  void add_item(BlockPiece first) {
    std::string id = random_id(id_prefix(first.kind));
    items_.push_back({std::move(first), std::move(id)});
  }

  std::string open_item(BlockPiece first) {
    add_item(std::move(first));
    const BlockPiece& block = items_.back().block;
    std::string out = item_event("response.output_item.added");
    if (block.kind != BlockKind::kCall) {
      out += at_place("response.content_part.added", "part", part_json(block.kind, ""));
    }
    return out + delta(block.text);
  }

  std::string delta(const std::string& text) {
    if (text.empty()) return "";
    return at_place(fmt::format("{}.delta", stem(items_.back().block.kind)), "delta", text);
  }

  std::string close_item() {
    if (!finish_item(last_status_)) return "";
    const BlockPiece& block = items_.back().block;
    const bool is_call = block.kind == BlockKind::kCall;
    Json members = place();
    members[is_call ? "arguments" : "text"] = block.text;
    if (is_call) members["name"] = block.name;
    if (block.kind == BlockKind::kText) members["logprobs"] = Json::array();
    std::string out = named(fmt::format("{}.done", stem(block.kind)), std::move(members));
    if (!is_call) out += at_place("response.content_part.done", "part", part_json(block.kind, block.text));
    return out + item_event("response.output_item.done");
  }

  /// Whether there is an item that was going on. A call whose arguments are no JSON was cut off, whatever ended it.
  bool finish_item(std::string_view status) {
    if (items_.empty() || items_.back().status != "in_progress") return false;
    Item& item = items_.back();
    item.status = item.block.kind == BlockKind::kCall && !Json::accept(item.block.text) ? "incomplete" : status;
    return true;
  }

  void keep_end(const GenerationEvent& last) {
    is_cut_ = last.finish == FinishReason::kLength;
    if (is_cut_) last_status_ = "incomplete";
  }

  const std::string model_;
  const Json echo_;
  const std::string id_;
  const std::int64_t created_;
  AnswerReader reader_;
  BlockOrder order_;
  std::vector<Item> items_;
  std::string_view last_status_ = "completed";  // of the item that the answer ends in
  bool is_begun_ = false;
  bool is_cut_ = false;
  int n_events_ = 0;
};

}  // namespace

std::unique_ptr<AnswerFormat> make_responses_format(std::string model, Json echo,
                                                    std::shared_ptr<const AnswerPlan> plan) {
  return std::make_unique<ResponsesFormat>(std::move(model), std::move(echo), std::move(plan));
}

}  // namespace commissure
