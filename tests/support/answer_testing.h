#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <utility>

#include "answer/answer_parser.h"

namespace commissure::testing {

inline std::shared_ptr<AnswerPlan> plan_for(std::string_view tool_parser, std::string_view reasoning_parser = "think") {
  auto plan = std::make_shared<AnswerPlan>();
  plan->syntax = answer_syntax("tools", tool_parser, reasoning_parser);
  Json tools = Json::array();
  for (const char* name : {"a", "b", "now", "other"}) tools.push_back({{"function", {{"name", name}}}});
  tools.push_back(Json::parse(R"({"type": "function", "function": {"name": "find", "parameters": {"type": "object",
    "properties": {"text": {"type": "string"}, "n": {"type": "integer"}, "where": {"type": ["string", "null"]},
    "o": {"$ref": "#/x"}, "flag": {"type": "boolean"}, "list": {"type": "array"},
    "maybe": {"anyOf": [{"type": "string"}, {"type": "null"}]}}}}})"));
  plan->functions = answer_functions(tools);
  plan->new_id = [n = 0]() mutable { return "id" + std::to_string(n++); };
  return plan;
}

/// A call's first piece alone names it, and the calls come one after the other.
inline void add(AnswerDelta& all, const AnswerDelta& delta) {
  auto n_calls = static_cast<int>(all.calls.size());
  for (const CallDelta& call : delta.calls) {
    const bool is_new = call.index == n_calls;
    ASSERT_TRUE(is_new || call.index == n_calls - 1);
    EXPECT_EQ(is_new, !call.id.empty() && !call.name.empty());
    n_calls += is_new ? 1 : 0;
  }
  all.append(delta);
}

/// What the parser makes of `text`, which comes in the pieces that `n_next` says.
template <typename NextSize>
AnswerDelta parse(const std::shared_ptr<AnswerPlan>& plan, std::string_view text, NextSize n_next) {
  AnswerParser parser(plan);
  AnswerDelta all;
  while (!text.empty()) {
    const std::size_t n = std::min<std::size_t>(text.size(), n_next());
    add(all, parser.push(text.substr(0, n)));
    text.remove_prefix(n);
  }
  add(all, parser.finish());
  return all;
}

inline std::string shown(const AnswerDelta& delta) {
  std::string text = "[" + delta.reasoning + "][" + delta.content + "]";
  for (const CallDelta& call : delta.calls) text += " " + call.name + "(" + call.arguments + ")";
  return text;
}

/// The parts of `text`, after every way to cut it into two, single bytes, and random pieces gave the same.
inline std::string parts(const std::shared_ptr<AnswerPlan>& plan, const std::string& text) {
  const std::string whole = shown(parse(plan, text, [&] { return text.size() + 1; }));
  for (std::size_t at = 1; at < text.size(); ++at) {
    bool is_first = true;
    EXPECT_EQ(shown(parse(plan, text, [&] { return std::exchange(is_first, false) ? at : text.size(); })), whole) << at;
  }
  EXPECT_EQ(shown(parse(plan, text, [] { return 1; })), whole);
  std::mt19937 random(1);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(shown(parse(plan, text, [&] { return 1 + random() % 7; })), whole);
  return whole;
}

}  // namespace commissure::testing
