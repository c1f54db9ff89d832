#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace commissure {

/// How far a text has come within a character of UTF-8, and whether it still can be one.
class Utf8State {
 public:
  static constexpr int kCount = 8;
  static constexpr int kStart = 0;  ///< between two characters
  static constexpr int kBroken = -1;

  /// Behind one more byte.
  static int next(int state, unsigned char byte);
  static int next(int state, std::string_view text);
};

/// Which tokens may follow a text so that it stays UTF-8: no surrogates, nothing overlong, nothing beyond U+10FFFF. A
/// client would get other letters in their place, more of them than the grammar has counted.
/// Threading: any thread.
class Utf8Tokens {
 public:
  /// One text for each token; an empty one may follow anywhere.
  explicit Utf8Tokens(const std::vector<std::string>& texts);

  /// Clears the bits of all other tokens; bit t % 32 of word t / 32 is token t.
  ///   state  of the text so far, >= 0
  void keep(int state, std::vector<std::uint32_t>& words) const;

 private:
  std::array<std::vector<std::uint32_t>, Utf8State::kCount> allowed_;
};

}  // namespace commissure
