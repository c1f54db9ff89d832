#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

// Harmony, the format of gpt-oss: an answer is a row of messages,
//   <|start|>assistant<|channel|>CHANNEL to=RECIPIENT <|constrain|>TYPE<|message|>TEXT<|end|>
// whose header names the channel alone as a rule, and whose last one ends with <|return|> or <|call|>. The prompt ends
// with the first message's "<|start|>assistant".

namespace commissure {

inline constexpr std::string_view kHarmonyStart = "<|start|>", kHarmonyChannel = "<|channel|>";
inline constexpr std::string_view kHarmonyConstrain = "<|constrain|>", kHarmonyMessage = "<|message|>";
inline constexpr std::string_view kHarmonyEnd = "<|end|>", kHarmonyReturn = "<|return|>", kHarmonyCall = "<|call|>";
/// All of them, which are control tokens. None begins another one.
inline constexpr std::array<std::string_view, 7> kHarmonyMarks = {
    kHarmonyStart, kHarmonyChannel, kHarmonyConstrain, kHarmonyMessage, kHarmonyEnd, kHarmonyReturn, kHarmonyCall};

/// What precedes a function's name in a recipient.
inline constexpr std::string_view kHarmonyFunctions = "functions.";
/// Headers of a thought and of text that is meant for the user, behind "<|start|>assistant".
inline constexpr std::string_view kHarmonyThought = "<|channel|>analysis<|message|>";
inline constexpr std::string_view kHarmonyFinal = "<|channel|>final<|message|>";

/// What the text begins with.
struct HarmonyHeader {
  enum class Match {
    kNone,   ///< no header
    kBegun,  ///< the beginning of one, perhaps
    kWhole,
  };
  Match match = Match::kNone;
  std::size_t n_bytes = 0;     ///< of a whole one
  std::string channel = {};    ///< "analysis", "commentary" or "final"; empty: none is named
  std::string recipient = {};  ///< as written; empty: none is named, which is the user
};

/// Longest header that is read.
inline constexpr std::size_t kMaxHarmonyHeaderBytes = 256;

/// Reads the header of a message of the assistant. Recipient and channel come in either order, and the type of the text
/// with or without its mark.
///   follows_role  the text may also go on behind "<|start|>assistant"
HarmonyHeader read_harmony_header(std::string_view text, bool follows_role);

}  // namespace commissure
