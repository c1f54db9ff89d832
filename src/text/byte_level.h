#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace commissure {

/// GPT-2's spelling of bytes by printable characters: 33-126, 161-172 and 174-255 stand for themselves, the
/// other 68 are U+0100 onwards in order (so a space is U+0120).
/// Source: Radford et al., "Language Models are Unsupervised Multitask Learners", encoder.py.

/// The character that spells `byte`.
char32_t byte_level_character(unsigned char byte);

/// `bytes` spelled out.
std::string spell_bytes(std::string_view bytes);

/// The bytes that `spelling` stands for; characters outside the table stand for themselves.
std::string unspell_bytes(std::string_view spelling);

}  // namespace commissure
