#include <cpp/compiled_grammar_impl.h>
#include <cpp/grammar_functor.h>
#include <cpp/grammar_impl.h>
#include <cpp/support/recursion_guard.h>
#include <xgrammar/xgrammar.h>

#include <algorithm>
#include <chrono>
#include <list>
#include <mutex>
#include <optional>
#include <span>
#include <unordered_set>
#include <utility>

#include "core/guarded.h"
#include "core/index.h"
#include "core/thread_clock.h"
#include "grammar/grammar.h"
#include "grammar/source_check.h"
#include "grammar/utf8_tokens.h"
#include "grammar/xgrammar_hooks.h"
#include "grammar/xgrammar_matcher.h"
#include "grammar/xgrammar_states.h"

namespace commissure {

namespace {

using std::chrono::steady_clock;
using Unwanted = GrammarCompiler::Unwanted;

/// For so long masks are made beforehand; those left are made when an answer first needs them.
constexpr std::chrono::milliseconds kMaskPatience{1500};
/// Of masks that grammars share, as those of JSON's texts and numbers. A third of this is theirs.
constexpr std::int64_t kSharedMaskBytes = std::int64_t{96} << 20;
/// States of the compiled rules.
constexpr int kMaxStates = 200'000;
constexpr int kMaxNesting = 500;
/// All texts of one source.
constexpr std::size_t kMaxSourceBytes = 2 * kMaxGrammarBytes;
/// Of a core, for one source; masks come on top.
constexpr double kMaxCompileSeconds = 10;
/// Of JSON, between two tokens of it: as much as an indented line may need, and not without end.
constexpr int kMaxSpaces = 20;

/// Asked between the parts of a compilation. Errors: kCancelled, nobody waits; kResourceExhausted, it takes too long.
class Patience {
 public:
  /// Both outlive this.
  Patience(const Unwanted& is_unwanted, const std::function<double()>& seconds)
      : is_unwanted_(is_unwanted), seconds_(seconds), begun_(seconds()) {}

  Status check() const {
    if (is_unwanted_ && is_unwanted_()) return Error(Code::kCancelled, "nobody waits for the grammar");
    if (seconds_() - begun_ <= kMaxCompileSeconds) return {};
    return Error(Code::kResourceExhausted, "takes over ", kMaxCompileSeconds, " s to compile");
  }

 private:
  const Unwanted& is_unwanted_;
  const std::function<double()>& seconds_;
  const double begun_;
};

std::string without_check(const std::string& message) {
  constexpr std::string_view kMark = ") is false: ";
  const std::size_t at = message.find(kMark);
  return (at == std::string::npos ? message : message.substr(at + kMark.size())).substr(0, 500);
}

class CompiledXGrammar final : public Grammar {
 public:
  CompiledXGrammar(xgrammar::CompiledGrammar grammar, std::shared_ptr<const Utf8Tokens> utf8, int n_rows,
                   std::size_t followed_bytes)
      : grammar_(std::move(grammar)), utf8_(std::move(utf8)), n_rows_(n_rows), followed_bytes_(followed_bytes) {}

  std::unique_ptr<GrammarMatcher> match() const override {
    return match_grammar(grammar_, utf8_, n_rows_, followed_bytes_);
  }
  std::size_t n_bytes() const override { return grammar_.MemorySizeBytes(); }

 private:
  const xgrammar::CompiledGrammar grammar_;
  const std::shared_ptr<const Utf8Tokens> utf8_;  // of all grammars and answers
  const int n_rows_;
  const std::size_t followed_bytes_;
};

class XGrammarCompiler final : public GrammarCompiler {
 public:
  XGrammarCompiler(std::shared_ptr<const Tokenizer> tokenizer, int n_rows, std::vector<TokenId> end_tokens,
                   GrammarBounds bounds)
      : tokenizer_(std::move(tokenizer)),
        n_rows_(std::max(n_rows, tokenizer_->n_tokens())),
        end_tokens_(std::move(end_tokens)),
        bounds_(std::move(bounds)) {}

  Result<std::shared_ptr<const Grammar>> compile(const GrammarSource& source, const Unwanted& is_unwanted) override;

 private:
  struct Entry {
    GrammarSource source;
    std::shared_ptr<const Grammar> grammar;
  };
  using Cache = std::list<Entry>;  // asked for last: first

  std::shared_ptr<const Grammar> find(const GrammarSource& source);
  void keep(const GrammarSource& source, const std::shared_ptr<const Grammar>& grammar);
  xgrammar::GrammarCompiler& compiler();
  std::vector<std::string> texts() const;
  Result<std::shared_ptr<const Grammar>> make(const GrammarSource& source, const Unwanted& is_unwanted);
  xgrammar::Grammar behind_a_space(const xgrammar::Grammar& grammar) const;
  static void trim(Cache& cache);

  const std::shared_ptr<const Tokenizer> tokenizer_;  // shared with whoever serves the model
  const int n_rows_;
  const std::vector<TokenId> end_tokens_;
  const GrammarBounds bounds_;
  std::once_flag read_;
  std::optional<xgrammar::GrammarCompiler> compiler_;
  std::shared_ptr<const Utf8Tokens> utf8_;  // of the vocabulary; answers may outlive this
  Guarded<Cache> cache_;
};

/// Tokens as the bytes they add to a text. One without text, a control token or a row that the tokenizer does not know,
/// is in no grammar.
std::vector<std::string> XGrammarCompiler::texts() const {
  std::vector<std::string> all;
  all.reserve(to_size(tokenizer_->n_tokens()));
  for (int id = 0; id < tokenizer_->n_tokens(); ++id) all.push_back(tokenizer_->token_bytes(TokenId(id), false));
  return all;
}

xgrammar::GrammarCompiler& XGrammarCompiler::compiler() {
  std::call_once(read_, [&] {
    const std::vector<std::string> vocabulary = texts();
    utf8_ = std::make_shared<const Utf8Tokens>(vocabulary);
    std::vector<std::int32_t> ends;
    for (const TokenId token : end_tokens_) ends.push_back(token.value);
    const xgrammar::TokenizerInfo info(vocabulary, xgrammar::VocabType::RAW, n_rows_, ends, false);
    compiler_.emplace(info, /*max_threads=*/1, true, kSharedMaskBytes, true);
  });
  return *compiler_;
}

/// Texts of a bounded length are built of letters among which XGrammar 0.2.9 counts control characters, which JSON has
/// only escaped, and surrogates, whose three bytes would become three letters on their way to the client. The class
/// stands in the printed grammar as nothing else can: no JSON text has a bare carriage return.
xgrammar::Grammar without_control_characters(const xgrammar::Grammar& grammar) {
  constexpr std::string_view kLetter = R"([^\"\\\r\n])";
  std::string text = grammar.ToString();
  for (std::size_t at = 0; (at = text.find(kLetter, at)) != std::string::npos;) {
    text.replace(at, kLetter.size(), R"([^\"\\\0-\x1f\uD800-\uDFFF])");
  }
  return xgrammar::Grammar::FromEBNF(text);
}

/// A pattern that XGrammar has no automaton for, or one of no text, would be held to as if quotes and control
/// characters were letters of a text.
Status check_patterns(std::span<const std::string> patterns) {
  for (const std::string& pattern : patterns) {
    auto made = xgrammar::GrammarFSMBuilder::Regex(pattern, /*json_string=*/true);
    const auto refused = [&](std::string_view why) {
      return Error(Code::kInvalidArgument, "answers cannot be held to the 'pattern' \"", pattern.substr(0, 100),
                   "\": ", why);
    };
    if (made.IsErr()) return refused(without_check(std::move(made).UnwrapErr().what()));
    const xgrammar::FSMWithStartEnd automaton = std::move(made).Unwrap();
    std::unordered_set<int> reachable;
    automaton.GetReachableStates(&reachable);
    if (std::ranges::none_of(reachable, [&](int state) { return automaton.IsEndState(state); })) {
      return refused("no text without quotes, backslashes and control characters matches it");
    }
  }
  return {};
}

Result<xgrammar::Grammar> parse_schema(const std::string& source, SchemaWork& work) {
  const std::size_t n_before = work.patterns.size();
  const Json schema = TRY(enforceable_schema(TRY(parse_json(source)), work));
  TRY(check_patterns(std::span(work.patterns).subspan(n_before)));
  const std::string text = dump_json(schema);
  const xgrammar::Grammar grammar = xgrammar::Grammar::FromJSONSchema(text, /*any_whitespace=*/true, std::nullopt,
                                                                      std::nullopt, /*strict_mode=*/false, kMaxSpaces);
  const bool has_length = text.find("Length\"") != std::string::npos;
  return has_length ? without_control_characters(grammar) : grammar;
}

Result<xgrammar::Grammar> parse_part(const GrammarSource::Part& part, SchemaWork& work) {
  using Form = GrammarSource::Form;
  if (part.text.size() > kMaxGrammarBytes) {
    return Error(Code::kResourceExhausted, "has ", part.text.size(), " bytes, at most ", kMaxGrammarBytes);
  }
  switch (part.form) {
    case Form::kText: return xgrammar::Grammar::FromEBNF("root ::= " + dump_json(part.text));
    case Form::kRegex:
      if (part.text.size() > kMaxRegexBytes)
        return Error(Code::kResourceExhausted, "has ", part.text.size(), " bytes, at most ", kMaxRegexBytes);
      TRY(unfolded_parts(part.text, Notation::kRegex, kMaxUnfolded, "the expression"));
      return xgrammar::Grammar::FromRegex(part.text);
    case Form::kEbnf:
      TRY(check_ebnf(part.text));
      TRY(unfolded_parts(part.text, Notation::kEbnf, kMaxUnfolded, "the grammar"));
      return xgrammar::Grammar::FromEBNF(part.text);
    case Form::kJsonSchema: break;
  }
  return parse_schema(part.text, work);
}

Result<xgrammar::Grammar> parse_choice(const std::vector<GrammarSource::Part>& parts, SchemaWork& work) {
  std::vector<xgrammar::Grammar> grammars;
  for (const GrammarSource::Part& part : parts) grammars.push_back(TRY(parse_part(part, work)));
  return grammars.size() == 1 ? grammars.front() : xgrammar::Grammar::Concat(grammars);
}

/// One literal alternative after the other, as one rule: a grammar for each would be slow to join.
Result<xgrammar::Grammar> parse_texts(const GrammarSource& source) {
  std::string rule = "root ::= ";
  for (const auto& choice : source.choices) rule += (rule.back() == ' ' ? "" : " | ") + dump_json(choice[0].text);
  if (rule.size() > kMaxGrammarBytes) return Error(Code::kResourceExhausted, "the choices have too many bytes");
  return xgrammar::Grammar::FromEBNF(rule);
}

Result<xgrammar::Grammar> parse(const GrammarSource& source, const Patience& patience) {
  if (source.choices.empty()) return Error(Code::kInvalidArgument, "there is no choice");
  if (source.choices.size() > kMaxGrammarChoices)
    return Error(Code::kResourceExhausted, source.choices.size(), " choices, at most ", kMaxGrammarChoices);
  if (const std::size_t n_bytes = source.n_bytes(); n_bytes > kMaxSourceBytes)
    return Error(Code::kResourceExhausted, "has ", n_bytes, " bytes, at most ", kMaxSourceBytes);
  const auto is_text = [](const auto& choice) {
    return choice.size() == 1 && choice[0].form == GrammarSource::Form::kText;
  };
  if (source.choices.size() > 1 && std::ranges::all_of(source.choices, is_text)) return parse_texts(source);
  SchemaWork work;
  std::vector<xgrammar::Grammar> grammars;
  for (const auto& choice : source.choices) {
    TRY(patience.check());
    grammars.push_back(TRY(parse_choice(choice, work)));
  }
  return grammars.size() == 1 ? grammars.front() : xgrammar::Grammar::Union(grammars);
}

/// Makes masks until the patience for them is over, or they have their share of memory; returns how many states there
/// are. Errors: of `patience`.
Result<int> make_masks(xgrammar::CompiledGrammar& compiled, const Patience& patience) {
  xgrammar::CompiledGrammar::Impl& impl = *compiled.ImplPtr();
  const auto until = steady_clock::now() + kMaskPatience;
  int n_states = 0, n_made = 0;
  bool goes_on = true;
  for (std::int32_t rule = 0; rule < static_cast<std::int32_t>(impl.grammar->NumRules()); ++rule) {
    const auto& fsm = impl.grammar->per_rule_fsms[to_size(rule)];
    if (!fsm) continue;
    xgrammar::ParserState state(rule, impl.grammar->GetRule(rule).body_expr_id, 0,
                                xgrammar::ParserState::kNoPrevInputPos);
    std::unordered_set<int> reachable;
    fsm->GetFsm().GetReachableStates(&reachable);
    n_states += count_of(reachable);
    for (const int element : reachable) {
      if (!goes_on || !fsm->GetFsm().IsScanableState(element)) continue;
      state.element_id = element;
      impl.GetAdaptiveTokenMask(state);
      TRY(patience.check());
      const bool is_full = ++n_made % kMasksPerCount == 0 && compiled.MemorySizeBytes() > kMaxCompiledBytes / 2;
      goes_on = !is_full && steady_clock::now() <= until;
    }
  }
  return n_states;
}

/// Those of an answer's first token, whatever make_masks() had the patience for. Errors: of `patience`.
Status make_first_masks(xgrammar::CompiledGrammar& compiled, const Patience& patience) {
  Status went;
  make_missing_masks(xgrammar::GrammarMatcher(compiled), compiled, [&] {
    went = patience.check();
    return went.has_value();
  });
  return went;
}

/// Where the detokenizer takes the space from the first token that has one, so does the grammar: a token " a" is "a" to
/// the client there.
xgrammar::Grammar XGrammarCompiler::behind_a_space(const xgrammar::Grammar& grammar) const {
  if (!tokenizer_->strips_leading_space()) return grammar;
  return xgrammar::Grammar::Concat({xgrammar::Grammar::FromEBNF(R"(root ::= " " | "")"), grammar});
}

Result<std::shared_ptr<const Grammar>> XGrammarCompiler::make(const GrammarSource& source,
                                                              const Unwanted& is_unwanted) {
  XGrammarWarnings warnings;
  const Patience patience(is_unwanted, bounds_.seconds);
  const xgrammar::Grammar grammar = behind_a_space(TRY(parse(source, patience)));
  if (warnings.first()) return Error(Code::kInvalidArgument, without_check(*warnings.first()));
  TRY(patience.check());
  xgrammar::CompiledGrammar compiled = compiler().CompileGrammar(grammar);
  if (const int n = TRY(make_masks(compiled, patience)); n > kMaxStates) {
    return Error(Code::kResourceExhausted, "makes ", n, " states, at most ", kMaxStates);
  }
  if (warnings.first()) return Error(Code::kInvalidArgument, without_check(*warnings.first()));
  TRY(make_first_masks(compiled, patience));
  auto made = std::make_shared<CompiledXGrammar>(std::move(compiled), utf8_, n_rows_, bounds_.followed_bytes);
  if (const std::size_t n = made->n_bytes(); n > kMaxCompiledBytes) {
    return Error(Code::kResourceExhausted, "takes ", n, " bytes when compiled, at most ", kMaxCompiledBytes);
  }
  if (const auto first = made->match()->mask(); !first) {
    if (first.error().code() == Code::kResourceExhausted) return first.error();
    return Error(Code::kInvalidArgument, "no text of this vocabulary is what it asks for");
  }
  return std::shared_ptr<const Grammar>(std::move(made));
}

std::shared_ptr<const Grammar> XGrammarCompiler::find(const GrammarSource& source) {
  return cache_.with([&](Cache& cache) -> std::shared_ptr<const Grammar> {
    const auto found = std::ranges::find(cache, source, &Entry::source);
    if (found == cache.end()) return nullptr;
    if (found->grammar->n_bytes() > kMaxCompiledBytes / 2) {  // with the masks that answers added: begin again
      cache.erase(found);
      return nullptr;
    }
    cache.splice(cache.begin(), cache, found);
    trim(cache);
    return cache.front().grammar;
  });
}

void XGrammarCompiler::keep(const GrammarSource& source, const std::shared_ptr<const Grammar>& grammar) {
  cache_.with([&](Cache& cache) {
    cache.push_front({source, grammar});
    trim(cache);
  });
}

/// Counted anew each time: answers add the masks that they need.
void XGrammarCompiler::trim(Cache& cache) {
  std::size_t n_bytes = 0;
  auto last = cache.begin();
  for (; last != cache.end(); ++last) {
    n_bytes += last->grammar->n_bytes() + last->source.n_bytes();
    if (n_bytes > kMaxCachedGrammarBytes && last != cache.begin()) break;
  }
  cache.erase(last, cache.end());
}

Result<std::shared_ptr<const Grammar>> XGrammarCompiler::compile(const GrammarSource& source,
                                                                 const Unwanted& is_unwanted) {
  if (auto found = find(source)) return found;
  Result<std::shared_ptr<const Grammar>> made = caught([&] { return make(source, is_unwanted); });
  if (!made) return Error(made.error().code(), without_check(made.error().message()));
  keep(source, *made);
  return made;
}

}  // namespace

std::shared_ptr<GrammarCompiler> GrammarCompiler::create(std::shared_ptr<const Tokenizer> tokenizer, int n_rows,
                                                         std::vector<TokenId> end_tokens, GrammarBounds bounds) {
  xgrammar::RecursionGuard::SetMaxRecursionDepth(kMaxNesting);
  if (!bounds.seconds) bounds.seconds = thread_cpu_seconds;
  return std::make_shared<XGrammarCompiler>(std::move(tokenizer), n_rows, std::move(end_tokens), std::move(bounds));
}

}  // namespace commissure
