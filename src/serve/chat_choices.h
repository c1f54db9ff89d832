#pragma once

#include <string>

namespace commissure {

/// What a user chose of a model's chat.
struct ChatChoices {
  std::string chat_template = {};         ///< a file, or the name of one of the model's templates; empty: its default
  std::string tool_parser = "auto";       ///< one of tool_parser_names()
  std::string reasoning_parser = "auto";  ///< one of reasoning_parser_names()
};

}  // namespace commissure
