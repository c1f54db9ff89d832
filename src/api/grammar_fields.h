#pragma once

#include <optional>
#include <string>

#include "answer/answer_parser.h"
#include "api/fields.h"
#include "api/tool_fields.h"
#include "engine/engine.h"

namespace commissure {

/// What a body wants its answers held to, under any of the names that servers give it.
struct GrammarFields {
  std::optional<GrammarSource> source = {};    ///< none: nothing
  std::string name = {};                       ///< of the field that says so
  GrammarCompiler::Unwanted is_unwanted = {};  ///< whether nobody waits for it any more
};

/// Reads `response_format`, `structured_outputs` and `guided_*` (vLLM), `grammar` and `json_schema` (llama-server), of
/// which one may be given. Findings go to `fields`.
///   is_unwanted  goes with it
GrammarFields read_grammar_fields(Fields& fields, const GrammarCompiler::Unwanted& is_unwanted = {});

/// Whether a body of this text may ask for a grammar, whose compilation takes time: it names one, or a call that is a
/// must, or spells letters so that it may.
bool may_hold_grammar(std::string_view body);

/// Holds a completion to it. Findings go to `fields`.
void hold_completion(Fields& fields, const ServedModel& model, const GrammarFields& asked, GenerationRequest& request);

/// Holds a chat's answer to it, behind a thought where the model has any, or calls to their functions' schemas where a
/// call is a must. Findings go to `fields`.
///   plan    as plan_answer gives it; may be null
///   prompt  with what the plan has put at its end
void hold_chat(Fields& fields, const ServedModel& model, const GrammarFields& asked, const ToolFields& tools,
               const AnswerPlan* plan, std::string_view prompt, GenerationRequest& request);

}  // namespace commissure
