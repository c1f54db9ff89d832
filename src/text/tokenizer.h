#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/ids.h"
#include "core/json.h"
#include "core/metadata.h"
#include "core/result.h"

namespace commissure {

struct EncodeOptions {
  bool add_special = true;    ///< put BOS (and EOS) where the model wants them
  bool parse_special = true;  ///< control tokens written out in the text become their ids
  /// Bytes of the text, ascending, that make a control token's spelling plain text where it covers them: places where
  /// somebody else wrote into a prompt. See Tokenizer::control_places.
  std::span<const std::size_t> plain_at = {};
};

/// Text to token ids and back, as the model's own files define it.
/// Threading: const functions from any thread.
class Tokenizer {
 public:
  /// From GGUF keys tokenizer.ggml.*: models "llama" (SPM) and "gpt2" (byte-level BPE).
  /// Errors: kInvalidArgument, broken or contradictory data; kUnimplemented, another tokenizer model or pre-tokenizer.
  static Result<std::unique_ptr<Tokenizer>> from_metadata(const Metadata& gguf);

  /// From Hugging Face's tokenizer.json and tokenizer_config.json (may be null). What add_special puts around a text is
  /// what the post_processor of tokenizer.json says; add_bos_token and add_eos_token of tokenizer_config.json do not
  /// count, as in transformers 5. Errors: as from_metadata.
  static Result<std::unique_ptr<Tokenizer>> from_json(const Json& tokenizer, const Json& config);

  virtual ~Tokenizer() = default;

  /// Invalid UTF-8 is encoded byte by byte where the vocabulary allows it, else as U+FFFD.
  virtual std::vector<TokenId> encode(std::string_view text, const EncodeOptions& options) const = 0;

  /// The bytes of `text`, ascending, at which the spelling of a control token begins, also one that the end of the text
  /// cuts off: text that follows might complete it.
  virtual std::vector<std::size_t> control_places(std::string_view text) const = 0;

  /// Whether `text` begins with, or is, the rest of a control token's spelling: what stands before it might complete
  /// that.
  virtual bool continues_control(std::string_view text) const = 0;

  virtual int n_tokens() const = 0;
  bool contains(TokenId token) const { return token.value >= 0 && token.value < n_tokens(); }

  /// The bytes one token stands for; may be part of a code point. Control tokens give their text when
  /// `show_control`, else nothing. An id beyond the vocabulary (a padded row of the model) gives nothing.
  virtual std::string token_bytes(TokenId token, bool show_control) const = 0;
  /// The vocabulary's own spelling ("▁the", "<0x0A>", "<bos>").
  virtual std::string_view token_text(TokenId token) const = 0;
  virtual bool is_control(TokenId token) const = 0;

  virtual std::optional<TokenId> bos() const = 0;
  virtual std::optional<TokenId> eos() const = 0;
  /// All tokens that end generation (EOS, end of turn, ...), ascending.
  virtual const std::vector<TokenId>& end_tokens() const = 0;
  /// Whether a leading space of a whole text belongs to the tokenizer, not to the text (dropped when decoding from the
  /// start).
  virtual bool strips_leading_space() const = 0;

  /// Whole-text decoding with control tokens left out; invalid UTF-8 becomes U+FFFD.
  std::string decode(const std::vector<TokenId>& tokens) const;
};

}  // namespace commissure
