#include "jinja/chat_template.h"

#include <gtest/gtest.h>

#include <thread>

#include "support/golden_files.h"

namespace commissure {
namespace {

const std::string kTemplates = std::string(COMMISSURE_SOURCE_DIR) + "/tests/golden/template/";

std::string render(std::string_view source, const Json& variables = Json::object()) {
  const auto compiled = ChatTemplate::compile(source);
  if (!compiled) return compiled.error().message();
  const auto text = (*compiled)->render(variables);
  return text ? *text : text.error().message();
}

TEST(ChatTemplate, RendersAsJinja2Does) {
  const Json cases = parse_json(testing::read_file(kTemplates + "cases.json")).value();
  ASSERT_GT(cases.size(), 100u);
  std::map<std::string, std::unique_ptr<ChatTemplate>> templates;
  int n_different = 0;
  for (const Json& item : cases) {
    if (!item.contains("template")) continue;
    const auto name = item["template"].get<std::string>();
    auto& compiled = templates[name];
    if (!compiled) {
      auto result = ChatTemplate::compile(testing::read_file(kTemplates + name + ".jinja"));
      ASSERT_TRUE(result.has_value()) << name << ": " << result.error().message();
      compiled = std::move(*result);
    }
    const auto text = compiled->render(item["variables"]);
    const bool wants_text = item.contains("text");
    const std::string wanted = wants_text ? item["text"] : Json("chat template: " + item["error"].get<std::string>());
    const std::string got = text ? *text : text.error().message();
    if ((text.has_value() == wants_text && got == wanted) || ++n_different > 4) continue;
    ADD_FAILURE() << dump_json(item["variables"]) << "\n--- wanted from " << name << "\n"
                  << wanted << "\n--- got\n"
                  << got;
  }
  EXPECT_EQ(n_different, 0) << "of " << cases.size() - 1;
}

TEST(ChatTemplate, RendersTheTemplateInsideTheModelFile) {
  const auto path = testing::model_path("SmolLM2-135M-Instruct.Q4_1.gguf");
  if (!path) GTEST_SKIP() << "COMMISSURE_TEST_MODELS names no folder with SmolLM2-135M-Instruct.Q4_1.gguf";
  const Metadata keys = testing::TrustedGgufKeys(*path).read();
  const std::string text =
      render(*keys.text("tokenizer.chat_template"), parse_json(R"({"messages":[{"role":"user","content":"Hi"}],)"
                                                               R"("add_generation_prompt":true})")
                                                        .value());
  EXPECT_EQ(text,
            "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
}

TEST(ChatTemplate, ReportsBrokenTemplatesWithTheirLine) {
  const auto compiled = ChatTemplate::compile("a\n{% if %}");
  ASSERT_FALSE(compiled.has_value());
  EXPECT_EQ(compiled.error().code(), Code::kInvalidArgument);
  EXPECT_NE(compiled.error().message().find(":2"), std::string::npos) << compiled.error().message();
  EXPECT_FALSE(ChatTemplate::compile("{{ \xff }}").has_value());
}

TEST(ChatTemplate, StopsTemplatesThatWorkForEver) {
  for (const char* source : {
           "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
           "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
           "{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
           "{{ 'a' * 999999999999 }}",
           "{{ range(999999999999) | list }}",
       }) {
    const auto compiled = ChatTemplate::compile(source);
    ASSERT_TRUE(compiled.has_value()) << source;
    EXPECT_FALSE((*compiled)->render(Json::object()).has_value()) << source;
  }
  EXPECT_FALSE(ChatTemplate::compile(std::string(100000, '(').insert(0, "{{")).has_value());
}

TEST(ChatTemplate, KnowsTheDate) {
  const std::string date = render("{{ strftime_now('%Y-%m-%d') }}");
  EXPECT_EQ(date.size(), 10u) << date;
  EXPECT_EQ(date.substr(0, 2), "20");
}

TEST(ChatTemplate, RendersOnSeveralThreadsAtOnce) {
  const auto compiled = ChatTemplate::compile("{% for m in messages %}{{ m }},{% endfor %}").value();
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&compiled, i] {
      const Json variables = {{"messages", {i, i + 1}}};
      for (int n = 0; n < 50; ++n) {
        ASSERT_EQ(compiled->render(variables).value(), fmt::format("{},{},", i, i + 1));
      }
    });
  }
}

}  // namespace
}  // namespace commissure
