#include "serve/stage_settings.h"

#include <gtest/gtest.h>

#include <map>

#include "support/temp_folder.h"

namespace commissure {
namespace {

Environment environment_of(std::map<std::string, std::string> values) {
  return [values = std::move(values)](const std::string& name) -> std::optional<std::string> {
    const auto it = values.find(name);
    return it == values.end() ? std::nullopt : std::optional(it->second);
  };
}

TEST(StageSettings, ReadsTheDeploymentContract) {
  StageSettings settings;
  ASSERT_TRUE(apply_environment(environment_of({{"STAGE", "B"},
                                                {"K1", "20"},
                                                {"K2", "44"},
                                                {"MODEL_DIR", "/m"},
                                                {"C_ENDPOINT", "https://c.example"},
                                                {"COMMISSURE_PRECISION", "exact"},
                                                {"COMMISSURE_KV_DTYPE", "int8"},
                                                {"PORT", "9000"}}),
                                settings)
                  .has_value());
  EXPECT_TRUE(validate(settings).has_value());
  EXPECT_EQ(settings.index(), 1);
  EXPECT_EQ(settings.cuts, (std::vector<int>{20, 44}));
  EXPECT_EQ(settings.next, "https://c.example");
  EXPECT_EQ(settings.port, 9000);
  EXPECT_EQ(settings.precision, "exact");
  EXPECT_EQ(settings.kv_dtype, "int8");
}

TEST(StageSettings, AdaptersAreNamesAndPaths) {
  StageSettings settings;
  settings.model = "/m";
  ASSERT_TRUE(apply_environment(environment_of({{"COMMISSURE_ADAPTERS", "poet=/a/one,clerk=/a/two.gguf"},
                                                {"COMMISSURE_ADAPTER_DIR", "/a"},
                                                {"COMMISSURE_ADAPTER_BYTES", "4096"}}),
                                settings));
  EXPECT_EQ(settings.adapters.named, (std::vector<std::string>{"poet=/a/one", "clerk=/a/two.gguf"}));
  EXPECT_EQ(settings.adapters.folder, "/a");
  EXPECT_EQ(settings.adapters.bytes, 4096u);
  EXPECT_TRUE(validate(settings));
  for (const char* named : {"poet", "=/a", "poet=", "a/b=/c", "poet=/x"}) {
    StageSettings wrong = settings;
    wrong.adapters.named.push_back(named);
    const Status refused = validate(wrong);
    ASSERT_FALSE(refused) << named;
    EXPECT_NE(refused.error().message().find("--adapter (COMMISSURE_ADAPTERS)"), std::string::npos);
  }
  for (const char* bytes : {"", "-1", "many", "99999999999999999999"}) {
    EXPECT_FALSE(apply_environment(environment_of({{"COMMISSURE_ADAPTER_BYTES", bytes}}), settings)) << bytes;
  }
}

TEST(StageSettings, NextEndpointWinsOverTheLetterForm) {
  StageSettings settings;
  ASSERT_TRUE(
      apply_environment(environment_of({{"CUTS", "1"}, {"B_ENDPOINT", "x:1"}, {"NEXT_ENDPOINT", "y:2"}}), settings)
          .has_value());
  EXPECT_EQ(settings.next, "y:2");
}

TEST(StageSettings, RefusesGapsBetweenBoundaries) {
  StageSettings settings;
  const Status status = apply_environment(environment_of({{"K1", "3"}, {"K3", "9"}}), settings);
  ASSERT_FALSE(status.has_value());
  EXPECT_NE(status.error().message().find("K3 is set but K2 is not"), std::string::npos) << status.error().message();
}

TEST(StageSettings, TakesOnlyParsersThatThereAre) {
  StageSettings settings;
  ASSERT_TRUE(apply_environment(
      environment_of(
          {{"MODEL_DIR", "/m"}, {"COMMISSURE_TOOL_PARSER", "qwen3_xml"}, {"COMMISSURE_REASONING_PARSER", "gemma4"}}),
      settings));
  EXPECT_TRUE(validate(settings));
  EXPECT_EQ(settings.chat.tool_parser, "qwen3_xml");
  EXPECT_EQ(settings.chat.reasoning_parser, "gemma4");
  settings.chat.tool_parser = "pythonic";
  EXPECT_NE(validate(settings).error().message().find("--tool-parser (COMMISSURE_TOOL_PARSER)"), std::string::npos);
  settings.chat = {.reasoning_parser = "deepseek_r1"};
  EXPECT_NE(validate(settings).error().message().find("--reasoning-parser (COMMISSURE_REASONING_PARSER)"),
            std::string::npos);
}

TEST(StageSettings, NamesTheVariableThatIsNoNumber) {
  StageSettings settings;
  const Status status = apply_environment(environment_of({{"PORT", "eighty"}}), settings);
  ASSERT_FALSE(status.has_value());
  EXPECT_NE(status.error().message().find("PORT=\"eighty\""), std::string::npos);
}

TEST(StageSettings, RefusesNumbersThatDoNotFit) {
  for (const auto& [name, text] :
       std::vector<std::pair<std::string, std::string>>{{"PORT", "4294975376"},
                                                        {"COMMISSURE_THREADS", "4294967297"},
                                                        {"COMMISSURE_MAX_STREAM_AGE", "2147483648"},
                                                        {"K1", "4294967306"},
                                                        {"PORT", "99999999999999999999999"}}) {
    StageSettings settings;
    const Status status = apply_environment(environment_of({{name, text}}), settings);
    ASSERT_FALSE(status.has_value()) << name << "=" << text;
    EXPECT_NE(status.error().message().find(name + "=\"" + text), std::string::npos) << status.error().message();
  }
}

TEST(StageSettings, ReadsWhetherSpelledControlTokensArePlainText) {
  for (const auto& [text, expected] : {std::pair("1", true), std::pair("0", false)}) {
    StageSettings settings;
    ASSERT_TRUE(apply_environment(environment_of({{"COMMISSURE_SANITIZE", text}}), settings));
    EXPECT_EQ(settings.sanitize, expected) << text;
  }
  EXPECT_FALSE(StageSettings().sanitize) << "as llama.cpp and vLLM have it";
}

TEST(StageSettings, ReadsNamesAndOrigins) {
  StageSettings settings;
  ASSERT_TRUE(
      apply_environment(environment_of({{"MODEL_DIR", "/m"},
                                        {"COMMISSURE_SERVED_MODEL_NAME", "one,two"},
                                        {"COMMISSURE_CORS_ORIGINS", "https://a.example, http://b.example:3000"}}),
                        settings));
  EXPECT_EQ(settings.served_names, (std::vector<std::string>{"one", "two"}));
  EXPECT_EQ(settings.cors_origins, (std::vector<std::string>{"https://a.example", "http://b.example:3000"}));
  EXPECT_TRUE(validate(settings));
  for (const char* origin : {"a.example", "https://a.example/"}) {
    settings.cors_origins = {origin};
    EXPECT_FALSE(validate(settings)) << origin;
  }
}

TEST(StageSettings, ReadsAllowedHosts) {
  StageSettings settings;
  ASSERT_TRUE(apply_environment(
      environment_of({{"MODEL_DIR", "/m"}, {"COMMISSURE_ALLOWED_HOSTS", "llm.example, [2001:db8::1],*"}}), settings));
  EXPECT_EQ(settings.allowed_hosts, (std::vector<std::string>{"llm.example", "[2001:db8::1]", "*"}));
  EXPECT_TRUE(validate(settings));
  for (const char* host : {"http://llm.example", "llm.example:8080", "llm.example/", "2001:db8::1"}) {
    settings.allowed_hosts = {host};
    const Status status = validate(settings);
    ASSERT_FALSE(status) << host;
    EXPECT_NE(status.error().message().find("--allowed-hosts"), std::string::npos);
  }
}

TEST(StageSettings, NamesTheRangeOfANumber) {
  const auto problem = [](void (*change)(StageSettings&)) {
    StageSettings settings;
    settings.model = "/m";
    change(settings);
    const Status status = validate(settings);
    return status ? std::string() : status.error().message();
  };
  EXPECT_EQ(problem([](StageSettings& s) { s.port = 65536; }), "--port (PORT) is 65536; it must be 0 to 65535");
  EXPECT_EQ(problem([](StageSettings& s) { s.max_sequences = 0; }), "--max-num-seqs is 0; it must be 1 to 1024");
  EXPECT_EQ(problem([](StageSettings& s) { s.max_step_rows = 4097; }),
            "--max-num-batched-tokens is 4097; it must be 1 to 4096");
  EXPECT_EQ(problem([](StageSettings& s) { s.step_deadline = 86'400; }), "");
  EXPECT_EQ(problem([](StageSettings& s) { s.queue_limit = 1'000'001; }),
            "--queue-limit is 1000001; it must be 0 to 1000000");
}

TEST(StageSettings, RefusesStepsThatNoFrameHolds) {
  StageSettings settings;
  settings.cuts = {10};
  settings.max_step_rows = 4096;
  EXPECT_TRUE(check_step_bytes(settings, 5120));
  const Status status = check_step_bytes(settings, 16384);
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message().find("--max-num-batched-tokens is 4096"), std::string::npos);
  EXPECT_NE(status.error().message().find("16384 values"), std::string::npos) << status.error().message();
  settings.cuts = {};
  EXPECT_TRUE(check_step_bytes(settings, 16384)) << "nothing is sent";
}

TEST(StageSettings, ChecksTheWhole) {
  StageSettings settings;
  settings.model = "/m";
  EXPECT_TRUE(validate(settings).has_value());
  settings.stage = "c";
  settings.cuts = {4};
  EXPECT_FALSE(validate(settings).has_value());
  settings.cuts = {4, 8};
  EXPECT_TRUE(validate(settings).has_value());
  settings.next = "d:1";
  EXPECT_FALSE(validate(settings).has_value());
  settings.stage = "b";
  EXPECT_TRUE(validate(settings).has_value());
  settings.next.clear();
  EXPECT_NE(validate(settings).error().message().find("C_ENDPOINT"), std::string::npos);
}

TEST(StageSettings, NamesTheLimitThatIsOutOfRange) {
  const auto problem = [](const auto& change) {
    StageSettings settings;
    settings.model = "/m";
    change(settings);
    const Status status = validate(settings);
    return status ? "" : status.error().message();
  };
  const auto says = [](const std::string& text, const char* name) { return text.find(name) != std::string::npos; };
  EXPECT_TRUE(says(problem([](StageSettings& s) { s.device = "tpu"; }), "cpu, cuda or auto"));
  EXPECT_TRUE(says(problem([](StageSettings& s) { s.device = "cuda", s.isa = "avx2"; }), "--device cuda"));
  EXPECT_EQ(problem([](StageSettings& s) { s.device = "auto"; }), "");
  EXPECT_TRUE(says(problem([](StageSettings& s) { s.queue_limit = -1; }), "--queue-limit"));
  EXPECT_TRUE(says(problem([](StageSettings& s) { s.step_deadline = 0; }), "COMMISSURE_STEP_DEADLINE"));
  EXPECT_TRUE(says(problem([](StageSettings& s) { s.max_sequences = 0; }), "--max-num-seqs"));
  EXPECT_TRUE(says(problem([](StageSettings& s) { s.max_step_rows = 5000; }), "--max-num-batched-tokens"));
  EXPECT_TRUE(says(problem([](StageSettings& s) { s.max_partial_prefills = 0; }), "--max-num-partial-prefills"));
  EXPECT_TRUE(says(problem([](StageSettings& s) { s.max_model_len = -5; }), "--max-model-len"));
  EXPECT_TRUE(says(problem([](StageSettings& s) { s.kv_tokens = -64; }), "--kv-tokens"));
  EXPECT_TRUE(says(problem([](StageSettings& s) { s.kv_dtype = "fp8"; }), "--kv-dtype"));
  EXPECT_TRUE(says(problem([](StageSettings& s) { s.kv_tokens = s.kv_memory = 1 << 20; }), "--kv-memory"));
  EXPECT_EQ(problem([](StageSettings& s) { s.queue_limit = 0; }), "");
}

TEST(StageSettings, ListensOnThisMachineAloneUnlessSomethingSaysOtherwise) {
  const auto address = [](const std::map<std::string, std::string>& values, bool allow_plaintext = false) {
    StageSettings settings;
    EXPECT_TRUE(apply_environment(environment_of(values), settings).has_value());
    settings.allow_plaintext = allow_plaintext;
    return settings.address();
  };
  EXPECT_EQ(address({}), "127.0.0.1");
  EXPECT_EQ(address({{"PORT", "9000"}, {"STAGE", "b"}}), "127.0.0.1");
  EXPECT_EQ(address({{"K_SERVICE", "b"}}), "0.0.0.0");
  EXPECT_EQ(address({{"COMMISSURE_TLS_CERT", "b.pem"}}), "0.0.0.0");
  EXPECT_EQ(address({}, true), "0.0.0.0");
  EXPECT_EQ(address({{"COMMISSURE_HOST", "10.0.0.5"}}), "10.0.0.5");
  EXPECT_EQ(address({{"COMMISSURE_HOST", "127.0.0.1"}, {"K_SERVICE", "b"}}), "127.0.0.1");
}

TEST(StageSettings, ReadsOneKeyALineWithoutCommentsAndBlanks) {
  const testing::TempFolder folder;
  const std::string path = folder.write("keys", "# for the web\nsk-one\r\n\n  sk-two \t\n  # sk-old\nsk#three\n");
  StageSettings settings;
  ASSERT_TRUE(apply_environment(environment_of({{"COMMISSURE_API_KEY_FILE", path}}), settings).has_value());
  EXPECT_EQ(settings.api_keys, (std::vector<std::string>{"sk-one", "sk-two", "sk#three"}));
  const std::string none = folder.write("none", "# nothing\n \n");
  EXPECT_FALSE(apply_environment(environment_of({{"COMMISSURE_API_KEY_FILE", none}}), settings).has_value());
}

TEST(StageSettings, ShowsNoSecret) {
  StageSettings settings;
  settings.api_keys = {"sk-secret"};
  for (const auto& [name, value] : describe(settings)) EXPECT_EQ(value.find("sk-secret"), std::string::npos) << name;
}

}  // namespace
}  // namespace commissure
