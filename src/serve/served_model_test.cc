#include "serve/served_model.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "hub/catalogue.h"
#include "support/temp_folder.h"
#include "support/toy_model.h"

namespace commissure::testing {
namespace {

constexpr const char* kTokenizer = R"({"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []},
    "added_tokens": [{"id": 2, "content": "<s>", "special": true}, {"id": 3, "content": "</s>", "special": true},
                     {"id": 4, "content": "<pad>", "special": true}]})";

/// A folder with a small safetensors model, to which a test adds files.
class ServedModelTest : public ::testing::Test {
 protected:
  ServedModelTest() {
    folder_.write("config.json", toy_config({}));
    folder_.write("model.safetensors", toy_safetensors({}));
    folder_.write("tokenizer.json", kTokenizer);
  }

  Result<ServedModel> read(const std::string& chat_template = "", const GenerationDefaults& known = {},
                           const std::string& location = "toy") {
    const auto checkpoint = Checkpoint::open(folder_.path(""), ReadMode::kMap, Vocabulary::kKeep);
    if (!checkpoint) return Error(checkpoint.error());
    return read_served_model(**checkpoint, {"toy", location, known}, 512, {.chat_template = chat_template});
  }
  /// What the model's chat template renders, or why there is none.
  std::string rendered(const std::string& chat_template = "") {
    const auto model = read(chat_template);
    if (!model) return model.error().message();
    if (model->chat_template == nullptr) return "none: " + model->chat_template_problem;
    return model->chat_template->render(Json::object()).value();
  }

  const TempFolder folder_;
};

TEST_F(ServedModelTest, SpecialTokensOfOlderModelsStandInAMapOfTheirOwn) {
  folder_.write("special_tokens_map.json", R"({"bos_token": {"content": "<s>"}, "eos_token": "</s>",
      "pad_token": "<pad>", "additional_special_tokens": ["a"], "unk_token": 7})");
  auto model = read();
  ASSERT_TRUE(model) << model.error().message();
  EXPECT_EQ(model->tokenizer->bos(), TokenId(2));
  EXPECT_EQ(model->tokenizer->eos(), TokenId(3));
  EXPECT_EQ(model->tokenizer->end_tokens(), std::vector<TokenId>{TokenId(3)});
  EXPECT_EQ(model->special_tokens, (Json{{"bos_token", "<s>"}, {"eos_token", "</s>"}, {"pad_token", "<pad>"}}));

  // The newer file counts where both name a role.
  folder_.write("tokenizer_config.json", R"({"eos_token": "<pad>", "pad_token": null})");
  model = read();
  EXPECT_EQ(model->tokenizer->bos(), TokenId(2));
  EXPECT_EQ(model->tokenizer->eos(), TokenId(4));
  EXPECT_EQ(model->special_tokens["eos_token"], "<pad>");

  folder_.write("special_tokens_map.json", "[broken");
  EXPECT_FALSE(read()->tokenizer->bos()) << "a broken map is none";
}

TEST_F(ServedModelTest, ChatTemplatesAreFoundWhereModelsKeepThem) {
  EXPECT_EQ(rendered(), "none: ");
  folder_.write("tokenizer_config.json", R"({"chat_template": "in the config"})");
  EXPECT_EQ(rendered(), "in the config");
  folder_.write("chat_template.jinja", "in a file");
  EXPECT_EQ(rendered(), "in a file") << "the newer place";
}

TEST_F(ServedModelTest, AnotherTemplateIsTakenByNameOrFromAFile) {
  folder_.write("tokenizer_config.json", R"({"chat_template": [{"name": "default", "template": "plain"},
      {"name": "tool_use", "template": "with tools"}]})");
  EXPECT_EQ(rendered(), "plain");
  EXPECT_EQ(rendered("default"), "plain");
  EXPECT_EQ(rendered("tool_use"), "with tools");
  std::filesystem::create_directory(folder_.path("additional_chat_templates"));
  folder_.write("additional_chat_templates/rag.jinja", "with documents");
  EXPECT_EQ(rendered("rag"), "with documents");

  const std::string file = folder_.write("own.jinja", "my own");
  EXPECT_EQ(rendered(file), "my own");
  EXPECT_NE(rendered("none_of_them").find("--chat-template none_of_them"), std::string::npos);
  EXPECT_EQ(read("none_of_them").error().code(), Code::kNotFound);
}

TEST_F(ServedModelTest, ParsersAreThoseThatWereAskedFor) {
  folder_.write("chat_template.jinja", "<tool_call> {{ tools }} </think>");
  const auto checkpoint = Checkpoint::open(folder_.path(""), ReadMode::kMap, Vocabulary::kKeep).value();
  const auto syntax = [&](const ChatChoices& chat) {
    return read_served_model(*checkpoint, {"toy", "toy", {}}, 512, chat).value().answer_syntax;
  };
  EXPECT_EQ(syntax({}).calls.at(0).open, "<tool_call>");
  EXPECT_EQ(syntax({}).think_open, "<think>");
  const AnswerSyntax other = syntax({.tool_parser = "mistral", .reasoning_parser = "gemma4"});
  EXPECT_EQ(other.calls.at(0).open, "[TOOL_CALLS]");
  EXPECT_EQ(other.think_close, "<channel|>");
  EXPECT_TRUE(syntax({.tool_parser = "none"}).calls.empty());
}

TEST_F(ServedModelTest, ABrokenTemplateStopsTheServerOnlyWhereItWasAskedFor) {
  folder_.write("chat_template.jinja", "{% if %}");
  EXPECT_TRUE(rendered().starts_with("none: ") && rendered().size() > 10) << rendered();
  EXPECT_EQ(rendered(folder_.write("own.jinja", "my own")), "my own") << "the cure";
  EXPECT_NE(rendered("default").find("--chat-template default"), std::string::npos) << rendered("default");
}

TEST_F(ServedModelTest, FilesAdviseFirstThenTheCatalogue) {
  GenerationDefaults known;
  known.temperature = 0.0f;
  known.dry = DryParams{.multiplier = 0.8f};
  known.source = "catalogue";
  EXPECT_EQ(read("", known)->defaults.source, "catalogue");
  const std::string of_its_name = "https://x.example/" + std::string(known_models().front().file) + "?key=1";
  EXPECT_EQ(read("", known, of_its_name)->defaults.source, "") << "another file of a known one's name";
  folder_.write("generation_config.json", R"({"eos_token_id": 4})");
  auto model = read("", known);
  EXPECT_EQ(model->defaults.source, "catalogue");
  EXPECT_EQ(model->defaults.end_tokens, std::vector<TokenId>{TokenId(4)});
  folder_.write("generation_config.json", R"({"temperature": 0.6, "top_p": -5})");
  model = read("", known);
  EXPECT_EQ(model->defaults.source, "generation_config.json");
  EXPECT_EQ(model->defaults.temperature, 0.6f);
  EXPECT_FALSE(model->defaults.top_p) << "out of range";
  EXPECT_FALSE(model->defaults.dry) << "it stands for the catalogue's other values";
}

}  // namespace
}  // namespace commissure::testing
