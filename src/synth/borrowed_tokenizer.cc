#include "synth/borrowed_tokenizer.h"

#include <memory>
#include <string_view>
#include <type_traits>
#include <variant>
#include <vector>

#include "core/json.h"
#include "core/metadata.h"
#include "text/tokenizer.h"
#include "weights/model_writer.h"

namespace commissure {
namespace {

constexpr std::string_view kImages = "preprocessor_config.json";  // of what the model does not have

/// Numbers in the types that converters write: counts and ids as u32, lists of them as i32.
void add_value(const std::string& key, const MetadataValue& value, GgufPairs& keys) {
  std::visit(
      [&](const auto& held) {
        using T = std::decay_t<decltype(held)>;
        if constexpr (std::is_same_v<T, bool>) {
          keys.flag(key, held);
        } else if constexpr (std::is_same_v<T, std::int64_t>) {
          keys.integer(key, static_cast<std::uint32_t>(held));
        } else if constexpr (std::is_same_v<T, double>) {
          keys.number(key, static_cast<float>(held));
        } else if constexpr (std::is_same_v<T, std::string>) {
          keys.text(key, held);
        } else if constexpr (std::is_same_v<T, std::vector<bool>>) {
          keys.flags(key, held);
        } else if constexpr (std::is_same_v<T, std::vector<std::int64_t>>) {
          keys.integers(key, std::vector<std::int32_t>(held.begin(), held.end()));
        } else if constexpr (std::is_same_v<T, std::vector<float>>) {
          keys.numbers(key, held);
        } else {
          keys.texts(key, held);
        }
      },
      value);
}

Result<std::unique_ptr<Tokenizer>> copy_files(const Checkpoint& from, BorrowedTokenizer& borrowed) {
  for (const std::string& name : TRY(side_files(from))) {
    if (name == kImages) continue;
    auto text = from.read_side_file(name);
    if (!text && text.error().code() == Code::kNotFound) continue;
    if (!text) return text.error();
    borrowed.files.emplace(name, *std::move(text));
  }
  const auto tokenizer = borrowed.files.find("tokenizer.json");
  if (tokenizer == borrowed.files.end()) {
    return Error(Code::kInvalidArgument, from.location(), ": has no tokenizer.json to take");
  }
  return Tokenizer::from_json(TRY(parse_json(tokenizer->second)), nullptr);
}

}  // namespace

Result<BorrowedTokenizer> borrow_tokenizer(const Checkpoint& from, CheckpointFormat format, int n_vocab) {
  if (from.format() != format) {
    const bool is_gguf = format == CheckpointFormat::kGguf;
    return Error(Code::kInvalidArgument, "the tokenizer of ", from.location(), " is ",
                 is_gguf ? "a folder's" : "in a GGUF", ", and the model is to be ", is_gguf ? "a GGUF" : "safetensors",
                 "; say format ", is_gguf ? "safetensors" : "gguf");
  }
  BorrowedTokenizer borrowed;
  std::unique_ptr<Tokenizer> tokenizer;
  if (format == CheckpointFormat::kGguf) {
    tokenizer = TRY(Tokenizer::from_metadata(from.metadata()));
    for (const auto& [key, value] : from.metadata().values()) {
      if (key.starts_with("tokenizer.")) add_value(key, value, borrowed.keys);
    }
  } else {
    tokenizer = TRY(copy_files(from, borrowed));
  }
  if (tokenizer->n_tokens() <= n_vocab) return borrowed;
  return Error(Code::kInvalidArgument, "the tokenizer of ", from.location(), " has ", tokenizer->n_tokens(),
               " tokens, the shape has rows for ", n_vocab);
}

}  // namespace commissure
