#pragma once

#include <optional>
#include <string>

#include "synth/synth_vision.h"
#include "weights/write_header.h"

/// The tokenizer of a made-up model that is given none: a token for every byte, and made-up words (" w512") for all
/// other rows of the embedding, so that whatever is drawn has a text.
namespace commissure {

inline constexpr int kPlainPad = 0, kPlainBegin = 1, kPlainEnd = 2;
/// The least vocabulary that holds it.
inline constexpr int kPlainTokens = 262;

/// `images`: tokens that stand for images, or none.
std::string plain_tokenizer_json(int n_vocab, const std::optional<ImageTokens>& images = std::nullopt);
std::string plain_tokenizer_config(bool has_images = false);
/// The same as keys of a GGUF.
void add_plain_tokenizer(int n_vocab, GgufPairs& keys);

}  // namespace commissure
