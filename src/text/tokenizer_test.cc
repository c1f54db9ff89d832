#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>

#include "support/golden_files.h"
#include "text/byte_level.h"
#include "text/detokenizer.h"
#include "text/normaliser.h"
#include "text/token_table.h"
#include "text/utf8.h"

namespace commissure {
namespace {

using Texts = std::vector<std::string>;

std::string byte_name(int byte) { return fmt::format("<0x{:02X}>", byte); }

/// An SPM vocabulary: <unk> <s> </s>, the bytes, then `texts`, of which earlier ones merge first.
Metadata spm_metadata(const Texts& texts) {
  Texts tokens = {"<unk>", "<s>", "</s>"};
  std::vector<std::int64_t> types = {2, 3, 3};
  for (int byte = 0; byte < 256; ++byte) {
    tokens.push_back(byte_name(byte));
    types.push_back(6);
  }
  std::vector<float> scores(tokens.size(), 0.0f);
  for (const std::string& text : texts) {
    scores.push_back(-static_cast<float>(tokens.size()));
    tokens.push_back(text);
    types.push_back(1);
  }
  Metadata gguf;
  gguf.set("tokenizer.ggml.model", std::string("llama"));
  gguf.set("tokenizer.ggml.tokens", tokens);
  gguf.set("tokenizer.ggml.scores", scores);
  gguf.set("tokenizer.ggml.token_type", types);
  gguf.set("tokenizer.ggml.bos_token_id", std::int64_t{1});
  gguf.set("tokenizer.ggml.eos_token_id", std::int64_t{2});
  return gguf;
}

/// A byte-level vocabulary: <|endoftext|>, <|im_end|>, the bytes, then what the merges make.
Metadata bpe_metadata(const Texts& merges, const std::string& pre = "gpt-2") {
  Texts tokens = {"<|endoftext|>", "<|im_end|>"};
  std::vector<std::int64_t> types = {3, 3};
  for (int byte = 0; byte < 256; ++byte) tokens.push_back(spell_bytes(std::string(1, static_cast<char>(byte))));
  for (const std::string& merge : merges) {
    const std::size_t space = merge.find(' ');
    tokens.push_back(merge.substr(0, space) + merge.substr(space + 1));
  }
  types.resize(tokens.size(), 1);
  Metadata gguf;
  gguf.set("tokenizer.ggml.model", std::string("gpt2"));
  gguf.set("tokenizer.ggml.pre", pre);
  gguf.set("tokenizer.ggml.tokens", tokens);
  gguf.set("tokenizer.ggml.token_type", types);
  gguf.set("tokenizer.ggml.merges", merges);
  return gguf;
}

std::unique_ptr<Tokenizer> make(const Metadata& gguf) { return Tokenizer::from_metadata(gguf).value(); }

Texts spellings(const Tokenizer& tokenizer, std::string_view text, const EncodeOptions& options = {}) {
  Texts result;
  for (const TokenId token : tokenizer.encode(text, options)) result.emplace_back(tokenizer.token_text(token));
  return result;
}

Error refusal(const Metadata& gguf) {
  auto made = Tokenizer::from_metadata(gguf);
  return made ? Error(Code::kOk) : made.error();
}

TEST(Tokenizer, SpmMergesTheBestScoreFirst) {
  const auto tokenizer = make(spm_metadata({"\u2581", "a", "b", "c", "bc", "ab"}));
  EXPECT_EQ(spellings(*tokenizer, "abc"), (Texts{"<s>", "\u2581", "a", "bc"}));
  EXPECT_EQ(spellings(*tokenizer, "\u00e9"), (Texts{"<s>", "\u2581", "<0xC3>", "<0xA9>"}));
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("abc \u00e9", {})), "abc \u00e9");
}

TEST(Tokenizer, SpmPutsTheSpaceInFrontUnlessTheModelSaysNo) {
  Metadata gguf = spm_metadata({"\u2581", "a"});
  EXPECT_TRUE(make(gguf)->strips_leading_space());
  gguf.set("tokenizer.ggml.add_space_prefix", false);
  EXPECT_EQ(spellings(*make(gguf), "a"), (Texts{"<s>", "a"}));
  EXPECT_FALSE(make(gguf)->strips_leading_space());
}

TEST(Tokenizer, ControlTokensMatchOnlyWhenAsked) {
  const auto tokenizer = make(bpe_metadata({"i m"}));
  EXPECT_EQ(spellings(*tokenizer, "a<|im_end|>"), (Texts{"a", "<|im_end|>"}));
  EXPECT_GT(tokenizer->encode("<|im_end|>", {.parse_special = false}).size(), 5u);
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("a<|im_end|>b", {})), "ab");
  EXPECT_EQ(tokenizer->end_tokens(), (std::vector<TokenId>{TokenId(0), TokenId(1)}));
}

TEST(Tokenizer, AControlTokenIsPlainTextWhereTheCallerSaysSo) {
  const auto tokenizer = make(bpe_metadata({"i m"}));
  const std::string text = "<|im_end|>a<|im_end|>";
  const std::vector<std::size_t> first = {0};
  const auto tokens = tokenizer->encode(text, {.add_special = false, .plain_at = first});
  EXPECT_EQ(std::ranges::count(tokens, TokenId(1)), 1);
  EXPECT_EQ(tokens.back(), TokenId(1));
  std::string bytes;
  for (const TokenId token : tokens) bytes += tokenizer->token_bytes(token, true);
  EXPECT_EQ(bytes, text);
  const std::vector<std::size_t> both = {0, 11};
  EXPECT_EQ(tokenizer->encode(text, {.plain_at = both}), tokenizer->encode(text, {.parse_special = false}));
}

TEST(Tokenizer, ControlPlacesAreWhereverASpellingBeginsOrMayBeCompleted) {
  const auto tokenizer = make(bpe_metadata({}));
  const auto places = [&](std::string_view text) { return tokenizer->control_places(text); };
  using Places = std::vector<std::size_t>;
  EXPECT_EQ(places("no < token <|im_ends|>"), Places{});
  EXPECT_EQ(places("<|im_end|><|endoftext|>"), (Places{0, 10}));
  EXPECT_EQ(places("a<|im_"), Places{1}) << "text that follows could complete it";
  EXPECT_EQ(places("<<|im_end|>"), Places{1});
  // One spelling inside another: it would count once the outer one is plain text.
  Metadata gguf = bpe_metadata({});
  auto texts = *gguf.find<Texts>("tokenizer.ggml.tokens");
  texts[0] = "|im_end|>!";
  gguf.set("tokenizer.ggml.tokens", texts);
  const auto nested = make(gguf);
  const std::string text = "<|im_end|>!";
  const Places all = nested->control_places(text);
  EXPECT_EQ(all, (Places{0, 1}));
  EXPECT_EQ(nested->encode(text, {.plain_at = all}), nested->encode(text, {.parse_special = false}));
}

TEST(Tokenizer, AControlTokenIsPlainTextWhereItCoversWhatTheCallerSays) {
  const auto tokenizer = make(bpe_metadata({"i m"}));
  const std::string text = "<|im_end|>";
  for (std::size_t place = 0; place < text.size(); ++place) {
    const std::vector<std::size_t> covered = {place};
    EXPECT_EQ(tokenizer->encode(text, {.plain_at = covered}), tokenizer->encode(text, {.parse_special = false}));
  }
  const std::vector<std::size_t> behind = {text.size()};
  EXPECT_EQ(tokenizer->encode(text + "a", {.plain_at = behind}), tokenizer->encode(text + "a", {}));
  for (const char* rest : {"|im_end|>", "|im_end|>b", ">", "im_", "endoftext|>"})
    EXPECT_TRUE(tokenizer->continues_control(rest)) << rest;
  for (const char* other : {"", "<|im_end|>", "im_x", "a>", "im_end|x"})
    EXPECT_FALSE(tokenizer->continues_control(other)) << other;
}

TEST(Tokenizer, OrdinaryTokensThatLookLikeAnEndDoNotEnd) {
  Metadata gguf = spm_metadata({"<|im_end|>", "<end_of_turn>"});
  EXPECT_EQ(make(gguf)->end_tokens(), (std::vector<TokenId>{TokenId(2)}));
}

TEST(Tokenizer, EncodesInvalidUtf8ByteByByte) {
  const std::string junk("\xff\xc3(\xe2\x82\xf0\x9f", 7);
  for (const auto& tokenizer : {make(bpe_metadata({"a b"})), make(spm_metadata({"\u2581", "("}))}) {
    std::string bytes;
    for (const TokenId token : tokenizer->encode(junk, {.add_special = false})) {
      bytes += tokenizer->token_bytes(token, false);
    }
    EXPECT_EQ(bytes.substr(bytes.size() - junk.size()), junk);
  }
}

TEST(Tokenizer, RefusesBrokenData) {
  Metadata gguf = bpe_metadata({"a b"});
  gguf.set("tokenizer.ggml.merges", Texts{"a b", "x yz"});
  EXPECT_NE(refusal(gguf).message().find("merge 1"), std::string::npos) << refusal(gguf).message();
  gguf.set("tokenizer.ggml.merges", Texts{"ab"});
  EXPECT_EQ(refusal(gguf).code(), Code::kInvalidArgument);
  gguf = bpe_metadata({});
  gguf.set("tokenizer.ggml.token_type", std::vector<std::int64_t>{3});
  EXPECT_EQ(refusal(gguf).code(), Code::kInvalidArgument);
  gguf = spm_metadata({"a", "a"});
  EXPECT_NE(refusal(gguf).message().find("same text"), std::string::npos);
  gguf = spm_metadata({"a"});
  gguf.set("tokenizer.ggml.scores", std::vector<float>{1.0f});
  EXPECT_EQ(refusal(gguf).code(), Code::kInvalidArgument);
  EXPECT_EQ(refusal(Metadata()).code(), Code::kInvalidArgument);
}

TEST(Tokenizer, NamesWhatItDoesNotSupport) {
  EXPECT_EQ(refusal(bpe_metadata({}, "klingon")).code(), Code::kUnimplemented);
  EXPECT_NE(refusal(bpe_metadata({}, "klingon")).message().find("klingon"), std::string::npos);
  Metadata gguf = spm_metadata({});
  gguf.set("tokenizer.ggml.model", std::string("bert"));
  EXPECT_EQ(refusal(gguf).code(), Code::kUnimplemented);
  const auto unigram = Tokenizer::from_json(parse_json(R"({"model":{"type":"Unigram","vocab":[]}})").value(), Json());
  EXPECT_EQ(unigram.error().code(), Code::kUnimplemented);
}

TEST(Tokenizer, IgnoresIdsOutOfRange) {
  Metadata gguf = spm_metadata({"a"});
  gguf.set("tokenizer.ggml.bos_token_id", std::int64_t{1} << 40);
  gguf.set("tokenizer.ggml.eot_token_id", std::int64_t{-7});
  EXPECT_FALSE(make(gguf)->bos().has_value());
}

TEST(Tokenizer, KnowsEveryNamedPreTokenizer) {
  for (const char* pre : {"gpt-2", "smollm", "llama-bpe", "llama3", "qwen2", "qwen35", "tekken", "gpt-4o",
                          "deepseek-v3", "deepseek-coder", "deepseek-r1-qwen", "default"}) {
    const auto tokenizer = Tokenizer::from_metadata(bpe_metadata({"a b", "ab c"}, pre));
    ASSERT_TRUE(tokenizer.has_value()) << pre << ": " << tokenizer.error().message();
    const std::string text = "It's 12345 abc\u00e9\u4e16 \t\n\n x_1 == \u00bd!";
    EXPECT_EQ((*tokenizer)->decode((*tokenizer)->encode(text, {})), text) << pre;
  }
}

TEST(Tokenizer, StaysFastOnTextsWithoutBorders) {
  const auto bpe = make(bpe_metadata({"a a", "aa aa", "aaaa aaaa", "= ="}));
  const auto spm = make(spm_metadata({"\u2581", "a", "aa", "aaaa", "aaaaaaaa", "\u2581\u2581"}));
  for (const char c : {'a', ' ', '\n', '=', '\xff'}) {
    const std::string text(200'000, c);
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_FALSE(bpe->encode(text, {}).empty());
    EXPECT_FALSE(spm->encode(text, {}).empty());
    const auto seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    EXPECT_LT(seconds, 60.0) << int{c};  // quadratic work would take many minutes
  }
}

TEST(Tokenizer, GivesUpOnPatternsThatBacktrackForEver) {
  const Json file = parse_json(R"J({"model":{"type":"BPE","vocab":{"a":0,"b":1},"merges":[]},"pre_tokenizer":
    {"type":"Split","pattern":{"Regex":"(a+)+$"},"behavior":"Isolated"}})J")
                        .value();
  const auto tokenizer = Tokenizer::from_json(file, Json()).value();
  EXPECT_EQ(tokenizer->encode(std::string(3000, 'a') + "b", {}).size(), 3001u);
}

TEST(Tokenizer, SurvivesHostileJson) {
  for (
      const char* text : {
          R"({})",
          R"([])",
          R"({"model":[]})",
          R"({"model":{"vocab":{"a":-1}}})",
          R"({"model":{"vocab":{"a":99999999}}})",
          R"({"model":{"vocab":{"a":0,"b":0}}})",
          R"({"model":{"vocab":{"a":0},"merges":[["a"]]}})",
          R"({"model":{"vocab":{"a":0},"merges":[["a","b"]]}})",
          R"({"model":{"vocab":{}},"added_tokens":[{"id":-1}]})",
          R"({"model":{"vocab":{}},"pre_tokenizer":{"type":"Split","pattern":{"Regex":"(("}}})",
          R"({"model":{"vocab":{}},"normalizer":{"type":"Precompiled"}})",
          R"({"model":{"vocab":{}},"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"x"}}]}})",
          R"({"model":{"vocab":{}},"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":5},{"Sequence":{}}]}})",
          R"({"model":{"vocab":{}},"post_processor":{"type":"TemplateProcessing","single":[]}})",
          R"({"model":{"vocab":{"a":0}},"post_processor":{"type":"BertProcessing","cls":["a",0]}})",
          R"({"model":{"vocab":{"a":0}},"post_processor":{"type":"BertProcessing","cls":["a",0],"sep":["b",1]}})",
          R"({"model":{"vocab":{"a":0}},"post_processor":{"type":"Sequence","processors":[
              {"type":"BertProcessing","cls":["a",0],"sep":["a",0]},{"type":"BertProcessing","cls":["a",0],"sep":["a",0]}]}})",
      }) {
    EXPECT_FALSE(Tokenizer::from_json(parse_json(text).value(), Json()).has_value()) << text;
  }
}

TEST(Detokenizer, LetsOnlyWholeCodePointsOut) {
  const auto tokenizer = make(bpe_metadata({}));
  const std::string text = "a\u00e9\u4e16\U0001F600!";
  Detokenizer detokenizer(*tokenizer);
  std::string all;
  for (const TokenId token : tokenizer->encode(text, {})) {
    const std::string piece = detokenizer.push(token);
    EXPECT_EQ(valid_utf8_prefix(piece), piece.size());
    EXPECT_EQ(piece.find(kReplacement), std::string::npos);
    all += piece;
  }
  EXPECT_EQ(all + detokenizer.finish(), text);
}

TEST(Detokenizer, ReplacesWhatNeverBecomesACodePoint) {
  const auto tokenizer = make(bpe_metadata({}));
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("\xf0\x9f"
                                                "a\xff\xe4\xb8",
                                                {})),
            "\uFFFDa\uFFFD\uFFFD");
}

TEST(Detokenizer, KeepsTheFirstSpaceWhenTextGoesOn) {
  const auto tokenizer = make(spm_metadata({"\u2581", "a", "\u2581a"}));
  const auto token = tokenizer->encode("a", {.add_special = false}).front();
  EXPECT_EQ(Detokenizer(*tokenizer).push(token), " a");
  EXPECT_EQ(Detokenizer(*tokenizer, false).push(token), "a");
}

TEST(Tokenizer, HasNoTextForRowsBeyondItsVocabulary) {
  const auto tokenizer = make(spm_metadata({"a"}));
  const TokenId beyond(tokenizer->n_tokens() + 7);
  EXPECT_EQ(tokenizer->token_bytes(beyond, true), "");
  EXPECT_EQ(tokenizer->token_text(beyond), "");
  EXPECT_FALSE(tokenizer->is_control(beyond));
}

TEST(Normaliser, KeepsRulesThatMultiplyTextWithinBounds) {
  Normaliser normaliser;
  for (int i = 0; i < 12; ++i) normaliser.add(Normaliser::ReplaceRegex{Regex::compile("a").value(), "aaaaaaaaaa"});
  EXPECT_LE(normaliser.run(std::string(58, 'a')).size(), 10'000u);
}

TEST(Normaliser, LowersTheDottedI) {
  Normaliser normaliser;
  normaliser.add(Normaliser::Lowercase{});
  EXPECT_EQ(normaliser.run("\u0130A"), "i\u0307a");
}

TEST(Regex, TakesMarksForPartsOfWords) {
  const std::string text = "cafe\u0301!";
  std::vector<std::string> words;
  Regex::compile("\\w+").value().split(text, [&](std::size_t begin, std::size_t end, bool is_match) {
    if (is_match) words.push_back(text.substr(begin, end - begin));
  });
  EXPECT_EQ(words, Texts{"cafe\u0301"});
}

TEST(TokenTable, HashesAnotherWayEachTime) {
  // Two seeds give two orders, so that no file can be made for slots that collide.
  EXPECT_NE(hash_bytes("a longer text", 1), hash_bytes("a longer text", 2));
  EXPECT_EQ(hash_bytes("abc", 5), hash_bytes("abc", 5));
}

TEST(Utf8, ReplacesMaximalSubparts) {
  EXPECT_EQ(replace_invalid_utf8("\xe1\x80\xe2\xf0\x91\x92\xf1\xbf"
                                 "A"),
            "\uFFFD\uFFFD\uFFFD\uFFFDA");
  EXPECT_EQ(replace_invalid_utf8("\xed\xa0\x80\xc0\xaf"), "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD");
}

}  // namespace
}  // namespace commissure
