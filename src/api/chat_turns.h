#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "core/json.h"

namespace commissure {

/// The messages of a chat (/v1/chat/completions), put together part by part: what neighbours of one role say becomes
/// one message, as templates want it.
class ChatTurns {
 public:
  /// What is added from here on is a message of `role`.
  void begin(std::string_view role);

  /// Texts of one message are one text as they stand; what another message adds to it is set apart. An empty
  /// text behind an image is nothing.
  void add_text(std::string_view text);
  void add_thought(std::string_view thought);
  /// An image of the current message, whose bytes were taken out before (take_images); its texts are parts from here
  /// on.
  void add_image();
  /// A call of the assistant; `arguments` are an object, or its text.
  void add_call(const std::string& id, const std::string& name, Json arguments);
  /// What a function answered, a message of its own: a text, or a list of parts. Without a `name` it has that of the
  /// call of this id.
  void add_result(const std::string& id, Json content, std::string name = "");

  Json take() { return std::move(messages_); }

 private:
  Json& turn();

  Json messages_ = Json::array();
  std::string role_;
  bool begins_text_ = false, begins_thought_ = false;  // nothing of the current message is there yet
  std::map<std::string, std::string> called_;          // functions, by the ids of their calls
};

}  // namespace commissure
