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

/// The text with DATE in the place of the day's, as in the golden file.
std::string undated(std::string text) {
  constexpr std::string_view kBefore = "Current date: ", kDate = "2026-11-30";
  if (const std::size_t at = text.find(kBefore);
      at != std::string::npos && text.size() > at + kBefore.size() + kDate.size()) {
    text.replace(at + kBefore.size(), kDate.size(), "DATE");
  }
  return text;
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
    const std::string got = text ? undated(*text) : text.error().message();
    if ((text.has_value() == wants_text && got == wanted) || ++n_different > 4) continue;
    ADD_FAILURE() << dump_json(item["variables"]) << "\n--- wanted from " << name << "\n"
                  << wanted << "\n--- got\n"
                  << got;
  }
  EXPECT_EQ(n_different, 0) << "of " << cases.size() - 1;
}

TEST(ChatTemplate, RendersSnippetsAsJinja2Does) {
  const Json cases = parse_json(testing::read_file(kTemplates + "snippets.json")).value();
  ASSERT_GE(cases.size(), 300u);
  for (std::size_t i = 1; i < cases.size(); ++i) {
    const auto source = cases[i]["source"].get<std::string>();
    const auto compiled = ChatTemplate::compile(source);
    const auto text = compiled ? (*compiled)->render(cases[0]["variables"]) : Result<std::string>(compiled.error());
    if (!cases[i].contains("text")) {
      EXPECT_FALSE(text.has_value()) << source << "\n--- Python: " << cases[i]["failed"] << "\n--- got\n" << *text;
    } else if (!text) {
      ADD_FAILURE() << source << "\n--- wanted\n" << cases[i]["text"] << "\n--- got " << text.error().message();
    } else {
      EXPECT_EQ(*text, cases[i]["text"].get<std::string>()) << source;
    }
  }
}

TEST(ChatTemplate, NamesTheLineOfWhatWentWrong) {
  EXPECT_EQ(render("a\n{{ x.y }}"), "chat template: line 2: 'x' is undefined");
  EXPECT_EQ(render("{{ raise_exception('no') }}"), "chat template: no");
  EXPECT_EQ(render("{{ {'a': 1}.b.c }}"), "chat template: line 1: 'dict object' has no attribute 'b'");
}

TEST(ChatTemplate, KnowsWhetherItTakesParts) {
  const auto takes = [](const char* source) { return ChatTemplate::compile(source).value()->takes_parts(); };
  EXPECT_TRUE(takes("{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endfor %}"));
  EXPECT_FALSE(takes("{% for m in messages %}{{ m.content }}{% endfor %}"));
  EXPECT_FALSE(takes("{% for m in messages %}{{ m.content | tojson }}{% endfor %}"));
  EXPECT_FALSE(takes("{% for m in messages %}{{ m.role + m.content }}{% endfor %}"));
}

TEST(ChatTemplate, KnowsWhetherItWritesChannels) {
  const auto writes = [](const std::string& source) { return ChatTemplate::compile(source).value()->has_channels(); };
  EXPECT_TRUE(writes(testing::read_file(kTemplates + "gptoss.jinja")));
  EXPECT_TRUE(writes("{% if x %}<|start|>assistant<|channel|>final<|message|>{% endif %}"));
  EXPECT_FALSE(writes(testing::read_file(kTemplates + "qwen3.jinja")));
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
  EXPECT_NE(compiled.error().message().find("line 2"), std::string::npos) << compiled.error().message();
  EXPECT_FALSE(ChatTemplate::compile("{{ \xff }}").has_value());
}

TEST(ChatTemplate, StopsWhenNobodyWaitsForTheText) {
  const char* const kLong = "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}";
  const auto compiled = ChatTemplate::compile(kLong);
  ASSERT_TRUE(compiled.has_value());
  const auto n_asked_of = [&](int n_most) {
    int n_asked = 0;
    const auto text = (*compiled)->render(Json::object(), {.is_unwanted = [&] { return ++n_asked == n_most; }});
    EXPECT_FALSE(text.has_value());
    EXPECT_EQ(text.error().code(), n_most > 0 ? Code::kCancelled : Code::kResourceExhausted);
    return n_asked;
  };
  EXPECT_EQ(n_asked_of(3), 3) << "it does nothing more";
  const int n_asked = n_asked_of(0);
  EXPECT_GT(n_asked, 100) << "within a hundredth of the work that a template may do";
  EXPECT_LT(n_asked, 1000) << "and not at every step";
}

TEST(ChatTemplate, StopsTemplatesThatWorkForEver) {
  const jinja::Limits kLimits{.fuel = 500'000, .memory_bytes = 8u << 20, .text_bytes = 1u << 20, .depth = 1500};
  for (const char* source : {
           "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
           "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
           "{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
           "{{ 'a' * 999999999999 }}",
           "{{ range(999999999999) | list }}",
           "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}",
           "{% set ns = namespace(l=[]) %}{% for i in range(90000) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l }}",
           "{% set ns = namespace(l=[1]) %}{% for i in range(99) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}",
           "{% set ns = namespace(l=[1], m=[1]) %}{% for i in range(99) %}{% set ns.l = [ns.l, ns.l] %}"
           "{% set ns.m = [ns.m, ns.m] %}{% endfor %}{{ ns.l == ns.m }}",
           "{{ range(99999) | list | tojson(indent='x' * 1000000) }}",
           "{% for i in range(99999) %}{{ ('x' * 1000000).upper() | length }}{% endfor %}",
           "{{ '{:>1000000000}'.format(1) }}",
           "{{ '%1000000000d' % 1 }}",
           "{% for x in [[[]]] recursive %}{{ loop([x, x]) }}{% endfor %}",
       }) {
    const auto compiled = ChatTemplate::compile(source);
    ASSERT_TRUE(compiled.has_value()) << source;
    EXPECT_FALSE((*compiled)->render(Json::object(), kLimits).has_value()) << source;
  }
  const auto repeated = [](std::string_view open, std::string_view part, std::string_view close) {
    std::string source(open);
    for (int i = 0; i < 20'000; ++i) source += part;
    return source.append(close);
  };
  for (const std::string& source :
       {repeated("{{ ", "(", "1 }}"), repeated("{{ ", "not ", "1 }}"), repeated("{{ 1", "+1", " }}"),
        repeated("{{ ", "-", "1 }}"), repeated("{{ x", "|upper", " }}"), repeated("{{ x", ".a", " }}"),
        repeated("{{ x", "()", " }}"), repeated("{{ ", "[", "1 }}"), repeated("", "{% if 1 %}", ""),
        repeated("{{ 1", " if 1 else 1", " }}")}) {
    EXPECT_FALSE(ChatTemplate::compile(source).has_value()) << source.substr(0, 20);
  }
  EXPECT_FALSE(ChatTemplate::compile(std::string(1 << 20, 'x')).has_value());
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
