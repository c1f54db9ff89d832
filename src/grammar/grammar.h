#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/ids.h"
#include "core/json.h"
#include "core/result.h"
#include "step/token_mask.h"
#include "text/tokenizer.h"

namespace commissure {

/// Bytes of one schema, expression or grammar.
inline constexpr std::size_t kMaxGrammarBytes = 128 << 10;
inline constexpr std::size_t kMaxRegexBytes = 8 << 10;
/// Texts of one choice.
inline constexpr std::size_t kMaxGrammarChoices = 4096;
/// What is remembered of one answer's text, so as to know how its grammar may go on: the ways to read it, which are
/// many for some grammars.
inline constexpr std::size_t kMaxFollowedBytes = std::size_t{64} << 20;
/// Compiled grammars that are kept for requests to come, together.
inline constexpr std::size_t kMaxCachedGrammarBytes = std::size_t{64} << 20;

/// What an answer's text has to be.
struct GrammarSource {
  enum class Form {
    kText,        ///< exactly this text
    kJsonSchema,  ///< a JSON value that the schema accepts
    kRegex,       ///< a text that the regular expression matches as a whole
    kEbnf,        ///< a text of the rule "root", in llama.cpp's notation (GBNF)
  };
  struct Part {
    Form form;
    std::string text;
    bool operator==(const Part&) const = default;
  };
  /// Any one of these; each is its parts, one behind the other.
  std::vector<std::vector<Part>> choices;
  bool operator==(const GrammarSource&) const = default;

  std::size_t n_bytes() const {
    std::size_t n = 0;
    for (const auto& choice : choices) {
      for (const Part& part : choice) n += part.text.size();
    }
    return n;
  }
  static GrammarSource of(Form form, std::string text) { return {{{{form, std::move(text)}}}}; }
};

/// Follows one answer token by token. Threading: one thread at a time.
class GrammarMatcher {
 public:
  virtual ~GrammarMatcher() = default;

  /// The tokens that may come next, never none; the text stays UTF-8. Errors: kInvalidArgument, there are none;
  /// kResourceExhausted, to find them takes too much memory or work.
  virtual Result<TokenMask> mask() = 0;
  /// Errors: kInvalidArgument, the grammar has no place for this token here.
  virtual Status accept(TokenId token) = 0;
  /// The same for a text before the first token.
  virtual Status accept_text(const std::string& text) = 0;
  /// Whether the answer is whole; it may still go on.
  virtual bool may_end() const = 0;
};

/// A compiled grammar. Threading: any thread.
class Grammar {
 public:
  virtual ~Grammar() = default;
  /// From the beginning of an answer. The grammar must be kept for as long.
  virtual std::unique_ptr<GrammarMatcher> match() const = 0;
  /// With the masks that were made so far.
  virtual std::size_t n_bytes() const = 0;
};

/// What a test sets otherwise.
struct GrammarBounds {
  std::function<double()> seconds = {};  ///< that the calling thread has worked; empty: by the system's clock
  std::size_t followed_bytes = kMaxFollowedBytes;
};

/// Compiles grammars for one vocabulary, and keeps those that were asked for last. What would be ignored is refused.
/// Threading: any thread. A compilation takes milliseconds to seconds, so it is for threads that nobody else waits for.
class GrammarCompiler {
 public:
  /// Whether nobody waits for the result any more; asked now and then.
  using Unwanted = std::function<bool()>;

  /// Null where the program was built without (COMMISSURE_GRAMMAR=OFF). The vocabulary is read when the first grammar
  /// is asked for.
  ///   n_rows      ids of the model, those without a token included: these are never allowed
  ///   end_tokens  end an answer, and are allowed where it is whole
  static std::shared_ptr<GrammarCompiler> create(std::shared_ptr<const Tokenizer> tokenizer, int n_rows,
                                                 std::vector<TokenId> end_tokens, GrammarBounds bounds = {});
  virtual ~GrammarCompiler() = default;

  /// Errors: kInvalidArgument, what is wrong with it, or which keyword no answer can be held to; kResourceExhausted, it
  /// is too large, or takes too long; kCancelled, it became unwanted.
  virtual Result<std::shared_ptr<const Grammar>> compile(const GrammarSource& source, const Unwanted& is_unwanted) = 0;
  Result<std::shared_ptr<const Grammar>> compile(const GrammarSource& source) { return compile(source, {}); }
};

/// What the schemas of one source ask for, together: their limits hold for the sum.
struct SchemaWork {
  std::size_t n_parts = 0;                 ///< schemas, required names and values of enumerations
  std::size_t n_expanded_bytes = 0;        ///< of what references stand for, where a copy of it is needed
  std::uint64_t n_unfolded = 0;            ///< parts of patterns
  std::size_t n_looks = 0;                 ///< names and places that were passed on the way to what references name
  std::vector<std::string> patterns = {};  ///< as they stand in the result
};

/// A JSON schema in the form that the compiler enforces as a whole, for any schema that it can. Errors:
/// kInvalidArgument and kResourceExhausted, naming the keyword and where it stands.
Result<Json> enforceable_schema(const Json& schema, SchemaWork& work);
Result<Json> enforceable_schema(const Json& schema);

}  // namespace commissure
