#include "synth/plain_tokenizer.h"

#include <array>
#include <map>
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

/// Images in messages as Gemma 3's template writes them.
constexpr std::string_view kImageTemplate =
    "{% for message in messages %}<|{{ message['role'] }}|>{% if message['content'] is string %}{{ message['content'] "
    "}}"
    "{% else %}{% for item in message['content'] %}{% if item['type'] == 'image' %}<start_of_image>"
    "{% else %}{{ item['text'] }}{% endif %}{% endfor %}{% endif %}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}";

/// As the vocabulary spells it.
std::string token_text(int id) {
  if (has_index(kSpecials, id)) return std::string(kSpecials[to_size(id)]);
  const int byte = id - count_of(kSpecials);
  return spell_bytes(byte < kBytes ? std::string(1, static_cast<char>(byte)) : fmt::format(" w{}", id));
}

}  // namespace

std::string plain_tokenizer_json(int n_vocab, const std::optional<ImageTokens>& images) {
  std::map<int, std::string> specials;
  for (int id = 0; id < count_of(kSpecials); ++id) specials.emplace(id, kSpecials[to_size(id)]);
  if (images) {
    specials[images->begin] = "<start_of_image>";
    specials[images->end] = "<end_of_image>";
    specials[images->row] = "<image_soft_token>";
  }
  Json added = Json::array();
  for (const auto& [id, content] : specials) {
    added.push_back({{"id", id},
                     {"content", content},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  }
  // Text by text: an object of so many members is slow to build.
  std::string vocabulary = "{";
  for (int id = 0; id < n_vocab; ++id) {
    const auto special = specials.find(id);
    const std::string text = special == specials.end() ? token_text(id) : special->second;
    vocabulary += fmt::format("{}{}:{}", id == 0 ? "" : ",", dump_json(Json(text)), id);
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

std::string plain_tokenizer_config(bool has_images) {
  return pretty_json({{"tokenizer_class", "PreTrainedTokenizerFast"},
                      {"bos_token", kSpecials[kPlainBegin]},
                      {"eos_token", kSpecials[kPlainEnd]},
                      {"pad_token", kSpecials[kPlainPad]},
                      {"chat_template", has_images ? kImageTemplate : kTemplate}});
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
