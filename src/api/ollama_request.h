#pragma once

#include <string>

#include "api/api_error.h"
#include "core/json.h"

namespace commissure {

/// Which of Ollama's two ways to ask a body is for.
enum class OllamaUse { kChat, kGenerate };

/// What a body of Ollama's API asks for.
struct OllamaRequest {
  Json body = {};  ///< of a chat (/v1/chat/completions), or, if `is_raw`, of a completion, that asks for the same
  std::string model = {};  ///< as the client calls it; "": it does not say
  bool is_raw = false;     ///< the prompt goes to the model as it is
  bool is_empty = false;   ///< nothing is asked: the client wants the model loaded, or out of memory
  bool is_unload = false;  ///< the latter
  bool stream = true;
};

/// Reads it, once its images are taken out (take_images). Options that say how a machine shall compute (`num_gpu`,
/// `num_ctx`, ...) are passed over. Errors: 400 naming the field as Ollama calls it. Ranges of what both APIs call the
/// same are left to the chat.
ApiResult<OllamaRequest> read_ollama(const Json& body, OllamaUse use);

/// The name without Ollama's tag ":latest", which every name may carry.
std::string without_latest(const std::string& name);

/// A finding of the chat about the translated body, under Ollama's names.
ApiError in_ollama_terms(ApiError error);

}  // namespace commissure
