// Ids of the corpus against those that llama.cpp and Hugging Face's tokenizers gave (tools/golden).

#include <gtest/gtest.h>

#include <sstream>

#include "core/json.h"
#include "support/golden_files.h"
#include "text/normaliser.h"
#include "text/tokenizer.h"

namespace commissure {
namespace {

const std::string kTokenizers = std::string(COMMISSURE_SOURCE_DIR) + "/tests/golden/tokenizer/";

const std::vector<std::string>& corpus() {
  static const std::vector<std::string> texts = [] {
    std::vector<std::string> result;
    for (const std::string& line : testing::read_lines(kTokenizers + "corpus.txt")) {
      result.push_back(parse_json(line).value().get<std::string>());
    }
    return result;
  }();
  return texts;
}

std::string spell(const std::vector<TokenId>& tokens) {
  std::ostringstream out;
  for (std::size_t i = 0; i < tokens.size(); ++i) out << (i > 0 ? " " : "") << tokens[i].value;
  return out.str();
}

/// Compares all lines of NAME.ids; reports the first few that differ.
void expect_same_ids(const Tokenizer& tokenizer, const std::string& name, std::size_t step, bool special) {
  const std::vector<std::string> rows = testing::read_lines(kTokenizers + name + ".ids");
  ASSERT_GT(rows.size(), 1000u) << "tests/golden/tokenizer/" << name << ".ids is missing";
  ASSERT_EQ(rows.size() - 1, (corpus().size() + step - 1) / step);
  int n_different = 0;
  for (std::size_t row = 1; row < rows.size(); ++row) {
    const std::string& text = corpus()[(row - 1) * step];
    const std::string ids = spell(tokenizer.encode(text, {.add_special = special, .parse_special = special}));
    if (ids == rows[row] || ++n_different > 8) continue;
    ADD_FAILURE() << dump_json(text) << "\n  wanted " << rows[row] << "\n  got    " << ids;
  }
  EXPECT_EQ(n_different, 0) << "of " << rows.size() - 1;
}

/// Decoding what was encoded gives the text back, where the vocabulary has a token for every byte of it.
void expect_round_trips(const Tokenizer& tokenizer) {
  std::string missing;
  for (int byte = 1; byte < 128; ++byte) {
    const std::string text(1, static_cast<char>(byte));
    if (tokenizer.encode(text, {.add_special = false}).empty()) missing += text;
  }
  int n_checked = 0;
  for (const std::string& text : corpus()) {
    if (text.find_first_of(missing) != std::string::npos) continue;
    ASSERT_EQ(tokenizer.decode(tokenizer.encode(text, {.add_special = true, .parse_special = false})), text);
    ++n_checked;
  }
  EXPECT_GT(n_checked, 5000);
}

std::unique_ptr<Tokenizer> from_gguf(const std::string& path) {
  return Tokenizer::from_metadata(testing::TrustedGgufKeys(path).read()).value();
}

#define NEED_MODEL(path, name)                 \
  const auto path = testing::model_path(name); \
  if (!path) GTEST_SKIP() << "COMMISSURE_TEST_MODELS names no folder with " << name

TEST(TokenizerGolden, PutsAroundATextWhatTransformersPutsThere) {
  const auto lines = testing::read_lines(kTokenizers + "post_processors.json");
  std::string all;
  for (const std::string& line : lines) all += line;
  const Json golden = parse_json(all).value();
  const auto text = golden["text"].get<std::string>();
  ASSERT_GT(golden["cases"].size(), 15u);
  for (const Json& one : golden["cases"]) {
    Json file = golden["tokenizer"];
    file["post_processor"] = one["post_processor"];
    const auto tokenizer = Tokenizer::from_json(file, one["config"]);
    ASSERT_TRUE(tokenizer) << one["name"] << ": " << tokenizer.error().message();
    const auto ids = [&](bool add_special) {
      Json list = Json::array();
      for (const TokenId token : (*tokenizer)->encode(text, {.add_special = add_special})) list.push_back(token.value);
      return list;
    };
    EXPECT_EQ(ids(true), one["ids"]) << one["name"];
    EXPECT_EQ(ids(false), one["plain"]) << one["name"];
  }
}

TEST(TokenizerGolden, GivesLlamaCppsIdsForSmolLm2) {
  NEED_MODEL(path, "SmolLM2-135M-Instruct.Q4_1.gguf");
  const auto tokenizer = from_gguf(*path);
  expect_same_ids(*tokenizer, "smollm2_gguf", 1, true);
  expect_same_ids(*tokenizer, "smollm2_gguf_plain", 4, false);
  expect_round_trips(*tokenizer);
}

TEST(TokenizerGolden, GivesLlamaCppsIdsForGemma3) {
  NEED_MODEL(path, "gemma-3-270m-q4_k_m.gguf");
  const auto tokenizer = from_gguf(*path);
  expect_same_ids(*tokenizer, "gemma3_gguf", 1, true);
  expect_same_ids(*tokenizer, "gemma3_gguf_plain", 4, false);
}

class JsonTokenizerGolden : public ::testing::TestWithParam<const char*> {};

TEST_P(JsonTokenizerGolden, GivesTheIdsOfHuggingFaceTokenizers) {
  const std::string name = GetParam();
  const Json file = parse_json(testing::read_file(kTokenizers + name + ".json")).value();
  const auto tokenizer = Tokenizer::from_json(file, Json());
  ASSERT_TRUE(tokenizer.has_value()) << tokenizer.error().message();
  expect_same_ids(**tokenizer, name, 3, true);
}

INSTANTIATE_TEST_SUITE_P(Families, JsonTokenizerGolden,
                         ::testing::Values("llama3", "qwen2", "qwen35", "tekken", "smollm", "gemma", "mistral",
                                           "metaspace", "real_qwen3", "real_llama3", "real_nemo", "real_gptoss"));

/// The keys that a converter makes of a byte-level tokenizer.json.
Metadata gguf_keys(const Json& file, const std::string& pre, const std::string& bos) {
  std::vector<std::string> tokens, merges;
  std::vector<std::int64_t> types;
  std::int64_t bos_id = -1;
  const auto put = [&](const std::string& text, std::size_t id, std::int64_t type) {
    if (tokens.size() <= id) tokens.resize(id + 1);
    types.resize(tokens.size(), 5);  // unused
    tokens[id] = text;
    types[id] = type;
    if (text == bos) bos_id = static_cast<std::int64_t>(id);
  };
  for (const auto& [text, id] : file["model"]["vocab"].items()) put(text, id.get<std::size_t>(), 1);
  for (const Json& added : file["added_tokens"]) {
    put(added["content"].get<std::string>(), added["id"].get<std::size_t>(), added["special"].get<bool>() ? 3 : 4);
  }
  for (const Json& merge : file["model"]["merges"]) {
    merges.push_back(merge.is_string() ? merge.get<std::string>()
                                       : merge[0].get<std::string>() + " " + merge[1].get<std::string>());
  }
  Metadata keys;
  keys.set("tokenizer.ggml.model", std::string("gpt2"));
  keys.set("tokenizer.ggml.pre", pre);
  keys.set("tokenizer.ggml.tokens", tokens);
  keys.set("tokenizer.ggml.token_type", types);
  keys.set("tokenizer.ggml.merges", merges);
  keys.set("tokenizer.ggml.add_bos_token", bos_id >= 0);
  if (bos_id >= 0) keys.set("tokenizer.ggml.bos_token_id", bos_id);
  return keys;
}

struct GgufForm {
  const char* name;
  const char* pre;
  const char* bos;
};

class GgufTokenizerGolden : public ::testing::TestWithParam<GgufForm> {};

/// GGUF knows no normaliser: only texts in normal form C are judged where the JSON file has one.
TEST_P(GgufTokenizerGolden, GivesTheIdsOfTheJsonFile) {
  const auto [name, pre, bos] = GetParam();
  const Json file = parse_json(testing::read_file(kTokenizers + name + ".json")).value();
  const auto tokenizer = Tokenizer::from_metadata(gguf_keys(file, pre, bos));
  ASSERT_TRUE(tokenizer.has_value()) << tokenizer.error().message();
  Normaliser composed;
  if (!file["normalizer"].is_null()) composed.add(NormalForm::kNfc);
  const std::vector<std::string> rows = testing::read_lines(kTokenizers + name + ".ids");
  int n_judged = 0, n_different = 0;
  for (std::size_t row = 1; row < rows.size(); ++row) {
    const std::string& text = corpus()[(row - 1) * 3];
    if (composed.run(text) != text) continue;
    ++n_judged;
    const std::string ids = spell((*tokenizer)->encode(text, {.add_special = true, .parse_special = true}));
    if (ids == rows[row] || ++n_different > 8) continue;
    ADD_FAILURE() << dump_json(text) << "\n  wanted " << rows[row] << "\n  got    " << ids;
  }
  EXPECT_EQ(n_different, 0);
  EXPECT_GT(n_judged, 1500);
}

INSTANTIATE_TEST_SUITE_P(Families, GgufTokenizerGolden,
                         ::testing::Values(GgufForm{"real_qwen3", "qwen2", ""},
                                           GgufForm{"real_llama3", "llama-bpe", "<|begin_of_text|>"},
                                           GgufForm{"real_nemo", "tekken", "<s>"},
                                           GgufForm{"real_gptoss", "gpt-4o", ""}));

/// <|end|>, which ends answers of Phi, ends one message of several.
TEST(TokenizerGolden, AnswersOfGptOssEndWhereItsGenerationConfigSays) {
  const std::vector<TokenId> ends = {TokenId(199999), TokenId(200002), TokenId(200012)};
  const Json file = parse_json(testing::read_file(kTokenizers + "real_gptoss.json")).value();
  EXPECT_EQ(Tokenizer::from_json(file, Json()).value()->end_tokens(), ends);
  Metadata keys = gguf_keys(file, "gpt-4o", "");
  keys.set("tokenizer.ggml.eot_token_id", std::int64_t{200007});
  EXPECT_EQ(Tokenizer::from_metadata(keys).value()->end_tokens(), ends);
}

}  // namespace
}  // namespace commissure
