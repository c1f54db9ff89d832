#include "synth/plain_tokenizer.h"

#include <array>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "core/index.h"
#include "core/json.h"
#include "text/byte_level.h"

namespace commissure {
namespace {

constexpr std::array<std::string_view, 6> kSpecials = {"<|pad|>",    "<|begin|>", "<|end|>",
                                                       "<|system|>", "<|user|>",  "<|assistant|>"};
constexpr int kBytes = 256;
static_assert(kPlainTokens == static_cast<int>(kSpecials.size()) + kBytes);

constexpr std::string_view kTemplate =
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}";

/// As the vocabulary spells it.
std::string token_text(int id) {
  if (has_index(kSpecials, id)) return std::string(kSpecials[to_size(id)]);
  const int byte = id - count_of(kSpecials);
  return spell_bytes(byte < kBytes ? std::string(1, static_cast<char>(byte)) : fmt::format(" w{}", id));
}

}  // namespace

std::string plain_tokenizer_json(int n_vocab) {
  Json added = Json::array();
  for (int id = 0; id < count_of(kSpecials); ++id) {
    added.push_back({{"id", id},
                     {"content", kSpecials[to_size(id)]},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  }
  // Text by text: an object of so many members is slow to build.
  std::string vocabulary = "{";
  for (int id = 0; id < n_vocab; ++id) {
    vocabulary += fmt::format("{}{}:{}", id == 0 ? "" : ",", dump_json(Json(token_text(id))), id);
  }
  constexpr std::string_view kByteLevel =
      R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true})";
  return fmt::format(
      R"({{"version":"1.0","truncation":null,"padding":null,"added_tokens":{},"normalizer":null,"pre_tokenizer":{},)"
      R"("post_processor":null,"decoder":{},"model":{{"type":"BPE","dropout":null,"unk_token":null,)"
      R"("continuing_subword_prefix":null,"end_of_word_suffix":null,"fuse_unk":false,"byte_fallback":false,)"
      R"("ignore_merges":false,"vocab":{}}},"merges":[]}}}})",
      dump_json(added), kByteLevel, kByteLevel, vocabulary);
}

std::string plain_tokenizer_config() {
  return pretty_json({{"tokenizer_class", "PreTrainedTokenizerFast"},
                      {"bos_token", kSpecials[kPlainBegin]},
                      {"eos_token", kSpecials[kPlainEnd]},
                      {"pad_token", kSpecials[kPlainPad]},
                      {"chat_template", kTemplate}});
}

void add_plain_tokenizer(int n_vocab, GgufPairs& keys) {
  constexpr std::int32_t kNormal = 1, kControl = 3;
  std::vector<std::string> texts;
  std::vector<std::int32_t> types;
  for (int id = 0; id < n_vocab; ++id) {
    texts.push_back(token_text(id));
    types.push_back(has_index(kSpecials, id) ? kControl : kNormal);
  }
  keys.text("tokenizer.ggml.model", "gpt2");
  keys.text("tokenizer.ggml.pre", "gpt-2");
  keys.texts("tokenizer.ggml.tokens", texts);
  keys.integers("tokenizer.ggml.token_type", types);
  keys.texts("tokenizer.ggml.merges", {});
  keys.integer("tokenizer.ggml.bos_token_id", kPlainBegin);
  keys.integer("tokenizer.ggml.eos_token_id", kPlainEnd);
  keys.integer("tokenizer.ggml.padding_token_id", kPlainPad);
  keys.flag("tokenizer.ggml.add_bos_token", false);
  keys.text("tokenizer.chat_template", kTemplate);
}

}  // namespace commissure
