#include "answer/held_call.h"

namespace commissure {

std::optional<HeldCall> held_call(const AnswerSyntax& syntax, std::string_view name, bool is_named) {
  if (syntax.calls.empty()) return std::nullopt;
  const CallForm form = syntax.calls.front().form;
  if (form == CallForm::kChannel) return is_named ? std::optional(HeldCall()) : std::nullopt;
  if (form == CallForm::kBraced || (syntax.names_come_first && form != CallForm::kJsonObject)) return std::nullopt;
  const std::string_view member = form == CallForm::kJsonObject ? "parameters" : "arguments";
  HeldCall held;
  if (!is_named) held.before = std::string(name) + "\", \"" + std::string(member) + "\":";
  held.before += " ";
  held.behind = form == CallForm::kJsonList ? "}]" : "}";
  return held;
}

}  // namespace commissure
