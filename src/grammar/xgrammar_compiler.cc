#include <cpp/compiled_grammar_impl.h>
#include <cpp/grammar_impl.h>
#include <cpp/support/recursion_guard.h>
#include <xgrammar/xgrammar.h>

#include <chrono>
#include <exception>
#include <list>
#include <mutex>
#include <optional>
#include <unordered_set>
#include <utility>

#include "core/guarded.h"
#include "core/index.h"
#include "grammar/grammar.h"
#include "grammar/source_check.h"
#include "grammar/xgrammar_hooks.h"

namespace commissure {

namespace {

using std::chrono::steady_clock;

/// For so long masks are made beforehand; those left are made when an answer first needs them.
constexpr std::chrono::milliseconds kMaskPatience{1500};
/// Of masks that grammars share, as those of JSON's texts and numbers. A third of this is theirs.
constexpr std::int64_t kSharedMaskBytes = std::int64_t{96} << 20;
/// States of the compiled rules.
constexpr int kMaxStates = 200'000;
constexpr int kMaxNesting = 500;
/// Of JSON, between two tokens of it: as much as an indented line may need, and not without end.
constexpr int kMaxSpaces = 20;

/// Runs `use`, which calls XGrammar: what it throws becomes an error.
template <typename Use>
auto caught(Use&& use) -> decltype(use()) {
  try {
    return use();
  } catch (const std::bad_alloc&) {
    throw;  // the caller's to deal with, as everywhere
  } catch (const xgrammar::XGrammarError& error) {
    return Error(Code::kInvalidArgument, error.what());
  } catch (const std::exception& error) {
    const std::string& said = last_xgrammar_error();
    return Error(Code::kInvalidArgument, said.empty() ? std::string(error.what()) : said);
  }
}

std::string without_check(const std::string& message) {
  constexpr std::string_view kMark = ") is false: ";
  const std::size_t at = message.find(kMark);
  return (at == std::string::npos ? message : message.substr(at + kMark.size())).substr(0, 500);
}

class XGrammarMatcher final : public GrammarMatcher {
 public:
  XGrammarMatcher(const xgrammar::CompiledGrammar& grammar, int n_rows)
      : matcher_(grammar), words_(to_size(xgrammar::GetBitmaskSize(n_rows))) {}

  Result<TokenMask> mask() override {
    return caught([&]() -> Result<TokenMask> {
      std::int64_t n_words = std::int64_t{count_of(words_)};
      DLTensor tensor{};
      tensor.data = words_.data();
      tensor.device = {kDLCPU, 0};
      tensor.ndim = 1;
      tensor.dtype = xgrammar::GetBitmaskDLType();
      tensor.shape = &n_words;
      matcher_.FillNextTokenBitmask(&tensor);
      TokenMask mask(words_);
      if (mask.empty()) return Error(Code::kInternal, "the grammar allows no token of the vocabulary here");
      return mask;
    });
  }

  Status accept(TokenId token) override {
    return caught([&]() -> Status {
      if (matcher_.AcceptToken(token.value)) return {};
      return Error(Code::kInvalidArgument, "the grammar does not allow token ", token.value, " here");
    });
  }

  Status accept_text(const std::string& text) override {
    return caught([&]() -> Status {
      if (matcher_.AcceptString(text)) return {};
      return Error(Code::kInvalidArgument, "the grammar does not allow what the prompt has begun");
    });
  }

  bool may_end() const override { return matcher_.IsCompleted(); }

 private:
  xgrammar::GrammarMatcher matcher_;
  std::vector<std::uint32_t> words_;
};

class CompiledXGrammar final : public Grammar {
 public:
  CompiledXGrammar(xgrammar::CompiledGrammar grammar, int n_rows)
      : grammar_(std::move(grammar)), n_rows_(n_rows), n_bytes_(grammar_.MemorySizeBytes()) {}

  std::unique_ptr<GrammarMatcher> match() const override {
    return std::make_unique<XGrammarMatcher>(grammar_, n_rows_);
  }
  std::size_t n_bytes() const override { return n_bytes_; }

 private:
  const xgrammar::CompiledGrammar grammar_;
  const int n_rows_;
  const std::size_t n_bytes_;
};

class XGrammarCompiler final : public GrammarCompiler {
 public:
  XGrammarCompiler(std::shared_ptr<const Tokenizer> tokenizer, int n_rows, std::vector<TokenId> end_tokens)
      : tokenizer_(std::move(tokenizer)),
        n_rows_(std::max(n_rows, tokenizer_->n_tokens())),
        end_tokens_(std::move(end_tokens)) {}

  Result<std::shared_ptr<const Grammar>> compile(const GrammarSource& source) override;

 private:
  struct Entry {
    GrammarSource source;
    std::shared_ptr<const Grammar> grammar;
  };
  struct Cache {
    std::list<Entry> entries;  // asked for last: first
    std::size_t n_bytes = 0;
  };

  std::shared_ptr<const Grammar> find(const GrammarSource& source);
  void keep(const GrammarSource& source, const std::shared_ptr<const Grammar>& grammar);
  xgrammar::GrammarCompiler& compiler();
  xgrammar::TokenizerInfo vocabulary() const;
  Result<std::shared_ptr<const Grammar>> make(const GrammarSource& source);

  const std::shared_ptr<const Tokenizer> tokenizer_;  // shared with whoever serves the model
  const int n_rows_;
  const std::vector<TokenId> end_tokens_;
  std::once_flag read_;
  std::optional<xgrammar::GrammarCompiler> compiler_;
  Guarded<Cache> cache_;
};

/// Tokens as the bytes they add to a text. One without text, a control token or a row that the tokenizer does not know,
/// is in no grammar.
xgrammar::TokenizerInfo XGrammarCompiler::vocabulary() const {
  std::vector<std::string> texts;
  texts.reserve(to_size(tokenizer_->n_tokens()));
  for (int id = 0; id < tokenizer_->n_tokens(); ++id) texts.push_back(tokenizer_->token_bytes(TokenId(id), false));
  std::vector<std::int32_t> ends;
  for (const TokenId token : end_tokens_) ends.push_back(token.value);
  return xgrammar::TokenizerInfo(texts, xgrammar::VocabType::RAW, n_rows_, ends, false);
}

xgrammar::GrammarCompiler& XGrammarCompiler::compiler() {
  std::call_once(read_, [&] { compiler_.emplace(vocabulary(), /*max_threads=*/1, true, kSharedMaskBytes, true); });
  return *compiler_;
}

/// Texts of a bounded length are built of letters among which XGrammar 0.2.9 counts control characters, which JSON has
/// only escaped. The class stands in the printed grammar as nothing else can: no JSON text has a bare carriage return.
xgrammar::Grammar without_control_characters(const xgrammar::Grammar& grammar) {
  constexpr std::string_view kLetter = R"([^\"\\\r\n])";
  std::string text = grammar.ToString();
  for (std::size_t at = 0; (at = text.find(kLetter, at)) != std::string::npos;) {
    text.replace(at, kLetter.size(), R"([^\"\\\0-\x1f])");
  }
  return xgrammar::Grammar::FromEBNF(text);
}

Result<xgrammar::Grammar> parse_part(const GrammarSource::Part& part) {
  using Form = GrammarSource::Form;
  if (part.text.size() > kMaxGrammarBytes) {
    return Error(Code::kResourceExhausted, "has ", part.text.size(), " bytes, at most ", kMaxGrammarBytes);
  }
  switch (part.form) {
    case Form::kText: return xgrammar::Grammar::FromEBNF("root ::= " + dump_json(part.text));
    case Form::kRegex:
      if (part.text.size() > kMaxRegexBytes)
        return Error(Code::kResourceExhausted, "has ", part.text.size(), " bytes, at most ", kMaxRegexBytes);
      TRY(check_repetitions(part.text, "the expression"));
      return xgrammar::Grammar::FromRegex(part.text);
    case Form::kEbnf:
      TRY(check_ebnf(part.text));
      TRY(check_repetitions(part.text, "the grammar"));
      return xgrammar::Grammar::FromEBNF(part.text);
    case Form::kJsonSchema: break;
  }
  const Json schema = TRY(enforceable_schema(TRY(parse_json(part.text))));
  const std::string text = dump_json(schema);
  const xgrammar::Grammar grammar = xgrammar::Grammar::FromJSONSchema(text, /*any_whitespace=*/true, std::nullopt,
                                                                      std::nullopt, /*strict_mode=*/false, kMaxSpaces);
  const bool has_length = text.find("Length\"") != std::string::npos;
  return has_length ? without_control_characters(grammar) : grammar;
}

Result<xgrammar::Grammar> parse_choice(const std::vector<GrammarSource::Part>& parts) {
  std::vector<xgrammar::Grammar> grammars;
  for (const GrammarSource::Part& part : parts) grammars.push_back(TRY(parse_part(part)));
  return grammars.size() == 1 ? grammars.front() : xgrammar::Grammar::Concat(grammars);
}

/// One literal alternative after the other, as one rule: a grammar for each would be slow to join.
Result<xgrammar::Grammar> parse_texts(const GrammarSource& source) {
  std::string rule = "root ::= ";
  for (const auto& choice : source.choices) rule += (rule.back() == ' ' ? "" : " | ") + dump_json(choice[0].text);
  if (rule.size() > kMaxGrammarBytes) return Error(Code::kResourceExhausted, "the choices have too many bytes");
  return xgrammar::Grammar::FromEBNF(rule);
}

Result<xgrammar::Grammar> parse(const GrammarSource& source) {
  if (source.choices.empty()) return Error(Code::kInvalidArgument, "there is no choice");
  if (source.choices.size() > kMaxGrammarChoices)
    return Error(Code::kResourceExhausted, source.choices.size(), " choices, at most ", kMaxGrammarChoices);
  const auto is_text = [](const auto& choice) {
    return choice.size() == 1 && choice[0].form == GrammarSource::Form::kText;
  };
  if (source.choices.size() > 1 && std::ranges::all_of(source.choices, is_text)) return parse_texts(source);
  std::vector<xgrammar::Grammar> grammars;
  for (const auto& choice : source.choices) grammars.push_back(TRY(parse_choice(choice)));
  return grammars.size() == 1 ? grammars.front() : xgrammar::Grammar::Union(grammars);
}

/// Makes masks until the patience is over; returns how many states there are.
int make_masks(xgrammar::CompiledGrammar& compiled) {
  xgrammar::CompiledGrammar::Impl& impl = *compiled.ImplPtr();
  const auto until = steady_clock::now() + kMaskPatience;
  int n_states = 0;
  for (std::int32_t rule = 0; rule < static_cast<std::int32_t>(impl.grammar->NumRules()); ++rule) {
    const auto& fsm = impl.grammar->per_rule_fsms[to_size(rule)];
    if (!fsm) continue;
    xgrammar::ParserState state(rule, impl.grammar->GetRule(rule).body_expr_id, 0,
                                xgrammar::ParserState::kNoPrevInputPos);
    std::unordered_set<int> reachable;
    fsm->GetFsm().GetReachableStates(&reachable);
    n_states += count_of(reachable);
    for (const int element : reachable) {
      if (steady_clock::now() > until || !fsm->GetFsm().IsScanableState(element)) continue;
      state.element_id = element;
      impl.GetAdaptiveTokenMask(state);
    }
  }
  return n_states;
}

Result<std::shared_ptr<const Grammar>> XGrammarCompiler::make(const GrammarSource& source) {
  XGrammarWarnings warnings;
  const xgrammar::Grammar grammar = TRY(parse(source));
  if (warnings.first()) return Error(Code::kInvalidArgument, without_check(*warnings.first()));
  xgrammar::CompiledGrammar compiled = compiler().CompileGrammar(grammar);
  if (const int n = make_masks(compiled); n > kMaxStates) {
    return Error(Code::kResourceExhausted, "makes ", n, " states, at most ", kMaxStates);
  }
  if (warnings.first()) return Error(Code::kInvalidArgument, without_check(*warnings.first()));
  auto made = std::make_shared<CompiledXGrammar>(std::move(compiled), n_rows_);
  if (!made->match()->mask()) return Error(Code::kInvalidArgument, "no text of this vocabulary is what it asks for");
  return std::shared_ptr<const Grammar>(std::move(made));
}

std::shared_ptr<const Grammar> XGrammarCompiler::find(const GrammarSource& source) {
  return cache_.with([&](Cache& cache) -> std::shared_ptr<const Grammar> {
    const auto found = std::ranges::find(cache.entries, source, &Entry::source);
    if (found == cache.entries.end()) return nullptr;
    cache.entries.splice(cache.entries.begin(), cache.entries, found);
    return found->grammar;
  });
}

void XGrammarCompiler::keep(const GrammarSource& source, const std::shared_ptr<const Grammar>& grammar) {
  cache_.with([&](Cache& cache) {
    cache.entries.push_front({source, grammar});
    cache.n_bytes += grammar->n_bytes();
    while (cache.n_bytes > kMaxCachedGrammarBytes && cache.entries.size() > 1) {
      cache.n_bytes -= cache.entries.back().grammar->n_bytes();
      cache.entries.pop_back();
    }
  });
}

Result<std::shared_ptr<const Grammar>> XGrammarCompiler::compile(const GrammarSource& source) {
  if (auto found = find(source)) return found;
  Result<std::shared_ptr<const Grammar>> made = caught([&] { return make(source); });
  if (!made) return Error(made.error().code(), without_check(made.error().message()));
  keep(source, *made);
  return made;
}

}  // namespace

std::shared_ptr<GrammarCompiler> GrammarCompiler::create(std::shared_ptr<const Tokenizer> tokenizer, int n_rows,
                                                         std::vector<TokenId> end_tokens) {
  xgrammar::RecursionGuard::SetMaxRecursionDepth(kMaxNesting);
  return std::make_shared<XGrammarCompiler>(std::move(tokenizer), n_rows, std::move(end_tokens));
}

}  // namespace commissure
