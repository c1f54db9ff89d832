#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace commissure::jinja {

enum class TokenKind : std::uint8_t {
  kData,
  kBlockBegin,
  kBlockEnd,
  kVariableBegin,
  kVariableEnd,
  kName,
  kText,
  kInteger,
  kFloat,
  kOperator,
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::uint32_t line = 1;
  std::string text;  ///< of a text: its value; of an operator: its spelling
};

/// `source` as Jinja2 reads it with trim_blocks and lstrip_blocks: newlines are "\n", the last one is dropped.
/// Errors: kInvalidArgument with the line.
Result<std::vector<Token>> read_tokens(std::string_view source);

/// "line 7: ..."
Error at_line(std::uint32_t line, std::string_view message);

}  // namespace commissure::jinja
