// The pre-tokenizers that GGUF files name. A name stands for one or more patterns, each of which splits what the
// ones before it left.
// Source: the families' tokenizer.json files; llama.cpp, llama-vocab.cpp, for the names.

#include <initializer_list>
#include <utility>

#include "text/pre_tokenizer.h"

namespace commissure {

namespace {

#define CONTRACTIONS R"((?i:'s|'t|'re|'ve|'m|'ll|'d))"
#define WHITE_SPACE R"(\s*[\r\n]+|\s+(?!\S)|\s+)"
#define CASED_WORD                                                                            \
  R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)" CASED_END \
  R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)" CASED_END

constexpr const char* kGpt2 = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr const char* kLlama3 =
    CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|)" WHITE_SPACE;
constexpr const char* kQwen2 = CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|)" WHITE_SPACE;
constexpr const char* kQwen35 =
    CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|)" WHITE_SPACE;
#define CASED_END ""
constexpr const char* kTekken = CASED_WORD R"(|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|)" WHITE_SPACE;
#undef CASED_END
#define CASED_END CONTRACTIONS "?"
constexpr const char* kGpt4o = CASED_WORD R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|)" WHITE_SPACE;
constexpr const char* kDeepseekWords =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)"
    R"(| ?[\p{P}\p{S}]+[\r\n]*|)" WHITE_SPACE;

using Names = std::initializer_list<std::string_view>;
using Patterns = std::initializer_list<const char*>;

struct Rule {
  Names names;
  Patterns patterns;
};

const Rule kRules[] = {
    {{"gpt-2", "gpt2", "phi-2", "olmo", "mpt", "jais", "exaone4"}, {kGpt2}},
    {{"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"}, {R"(\p{N})", kGpt2}},
    {{"llama-bpe", "llama3", "llama-v3", "falcon3", "pixtral", "dbrx", "smaug-bpe", "glm4", "chatglm-bpe"}, {kLlama3}},
    {{"qwen2", "deepseek-r1-qwen", "megrez", "stablelm2", "hunyuan"}, {kQwen2}},
    {{"qwen35"}, {kQwen35}},
    {{"tekken"}, {kTekken}},
    {{"gpt-4o", "llama4"}, {kGpt4o}},
    {{"deepseek-v3", "hunyuan-dense"},
     {R"(\p{N}{1,3})", R"([\x{4e00}-\x{9fa5}\x{3040}-\x{309f}\x{30a0}-\x{30ff}]+)", kDeepseekWords}},
    {{"deepseek-coder"},
     {R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", R"([\x{4e00}-\x{9fa5}\x{0800}-\x{4e00}\x{ac00}-\x{d7ff}]+)",
      R"(\p{N})"}},
    {{"default"}, {R"([\p{P}\$\+<=>\^~\|]+)", kGpt2, R"(\p{N}+)", R"([0-9][0-9][0-9])"}},
    {{"gemma4"}, {R"([^\n]+|[\n]+)"}},
};

}  // namespace

Result<PreTokenizer> PreTokenizer::named(std::string_view name) {
  for (const Rule& rule : kRules) {
    for (const std::string_view known : rule.names) {
      if (known != name) continue;
      PreTokenizer result;
      for (const char* pattern : rule.patterns) result.add(Split{TRY(Regex::compile(pattern))});
      return result;
    }
  }
  return Error(Code::kUnimplemented, "the pre-tokenizer \"", name,
               "\" is not supported; use the model's safetensors with tokenizer.json instead");
}

}  // namespace commissure
