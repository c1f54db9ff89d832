#include "text/chat_template.h"

#include <cstddef>

namespace {

// The Rust library's interface: src/text/minijinja/src/lib.rs.
extern "C" {
struct commissure_text {
  char* data;
  std::size_t size;
};
void* commissure_template_compile(const char* source, std::size_t size, commissure_text* error);
bool commissure_template_render(const void* compiled, const char* json, std::size_t size, commissure_text* output);
void commissure_template_free(void* compiled);
void commissure_text_free(commissure_text text);
}

std::string take(commissure_text text) {
  std::string result(text.data, text.size);
  commissure_text_free(text);
  return result;
}

}  // namespace

namespace commissure {

Result<std::unique_ptr<ChatTemplate>> ChatTemplate::compile(std::string_view source) {
  commissure_text error{};
  void* handle = commissure_template_compile(source.data(), source.size(), &error);
  if (handle == nullptr) return Error(Code::kInvalidArgument, "chat template: ", take(error));
  return std::unique_ptr<ChatTemplate>(new ChatTemplate(handle));
}

ChatTemplate::~ChatTemplate() { commissure_template_free(handle_); }

Result<std::string> ChatTemplate::render(const Json& variables) const {
  const std::string json = dump_json(variables);
  commissure_text output{};
  const bool succeeded = commissure_template_render(handle_, json.data(), json.size(), &output);
  std::string text = take(output);
  if (!succeeded) return Error(Code::kInvalidArgument, "chat template: ", text);
  return text;
}

}  // namespace commissure
