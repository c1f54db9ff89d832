#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace commissure {

/// Follows one JSON value as it comes, byte by byte, and gives it on. What models get wrong without leaving a doubt is
/// put right: control characters within texts, halves of surrogate pairs, Python's True, False and None. Work is
/// linear.
class JsonValue {
 public:
  /// Deepest value that is followed.
  static constexpr std::size_t kMaxDepth = 128;

  /// `takes_single_quotes`: around texts, as Python writes them.
  explicit JsonValue(bool takes_single_quotes = false) : takes_single_quotes_(takes_single_quotes) {}

  enum class Took {
    kMore,    ///< the byte is the value's, which goes on
    kLast,    ///< the byte is the value's last one
    kBehind,  ///< the value ended in front of the byte
    kFault,   ///< the byte has no place in JSON
  };
  /// The first byte is no space. What is sure of the value is added to `json`.
  Took take(char c, std::string& json);

 private:
  enum class Wants { kValue, kFirstElement, kFirstKey, kKey, kColon, kNext };

  Took take_in_text(char c, std::string& json);
  Took take_escape(char c, std::string& json);
  Took begin_value(char c, std::string& json);
  Took close(char c, std::string& json);
  Took end_value();
  bool end_word(std::string& json);
  void end_half(std::string& json);

  bool takes_single_quotes_;
  Wants wants_ = Wants::kValue;
  std::string open_;       // brackets
  std::string word_;       // a number, true, false or null so far
  char quote_ = '\0';      // around the current text
  bool is_key_ = false;    // that text is
  std::string escape_;     // that is not complete
  std::string high_half_;  // of a surrogate pair, which waits for its other half
};

/// The text as JSON, put right as above; nothing where it is none.
std::optional<std::string> as_json(std::string_view text, bool takes_single_quotes = false);

/// Text as a JSON string, quotes included; invalid UTF-8 becomes U+FFFD.
std::string json_string(std::string_view text);

}  // namespace commissure
