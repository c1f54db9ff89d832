#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/normaliser.h"
#include "text/piece_model.h"
#include "text/pre_tokenizer.h"
#include "text/special_tokens.h"
#include "text/token_table.h"
#include "text/tokenizer.h"

namespace commissure {

/// How a normal token's spelling stands for bytes.
enum class Spelling {
  kByteLevel,  ///< GPT-2's table
  kSpaceMark,  ///< U+2581 is a space, "<0xXX>" a byte
  kPlain,
};

/// The parts of a tokenizer, whatever file they came from.
struct PipelineParts {
  explicit PipelineParts(std::unique_ptr<TokenTable> table) : vocabulary(std::move(table)) {}

  std::unique_ptr<TokenTable> vocabulary;  // behind a pointer, as the model refers to it
  SpecialTokens specials;                  ///< found in the raw text
  SpecialTokens normalised_specials;       ///< found after normalisation
  Normaliser normaliser;
  PreTokenizer pre_tokenizer;
  std::unique_ptr<PieceModel> model;
  Spelling spelling = Spelling::kByteLevel;
  std::optional<TokenId> bos, eos, unknown;
  std::vector<TokenId> before, behind;  ///< what EncodeOptions::add_special puts around a text
  bool strips_leading_space = false;
  std::vector<TokenId> end_tokens;  ///< any order, may repeat
};

/// Text → special tokens → normaliser → pre-tokenizer → model, as both kinds of files describe it.
class Pipeline : public Tokenizer {
 public:
  explicit Pipeline(PipelineParts parts);

  std::vector<TokenId> encode(std::string_view text, const EncodeOptions& options) const override;
  int n_tokens() const override { return parts_.vocabulary->n_tokens(); }
  std::vector<std::size_t> control_places(std::string_view text) const override;
  bool continues_control(std::string_view text) const override {
    return parts_.specials.continues_control(text) || parts_.normalised_specials.continues_control(text);
  }
  std::string token_bytes(TokenId token, bool show_control) const override;
  std::string_view token_text(TokenId token) const override {
    return contains(token) ? parts_.vocabulary->text(token) : std::string_view();
  }
  bool is_control(TokenId token) const override;
  std::optional<TokenId> bos() const override { return parts_.bos; }
  std::optional<TokenId> eos() const override { return parts_.eos; }
  const std::vector<TokenId>& end_tokens() const override { return parts_.end_tokens; }
  bool strips_leading_space() const override { return parts_.strips_leading_space; }

 private:
  struct Run;  // the state of one encode call
  void encode_raw(std::string_view text, bool is_start, Run& run) const;
  void encode_normalised(std::string text, bool is_start, Run& run) const;

  PipelineParts parts_;
};

/// Texts of tokens that end a turn or a document in the families we know.
bool is_known_end_text(std::string_view text);

/// Marks `parts`' known end texts as end tokens (and control), where they are control or user-defined tokens.
void add_known_end_tokens(PipelineParts& parts);

}  // namespace commissure
