#include <gtest/gtest.h>

#include <future>
#include <initializer_list>

#include "api/api_service.h"
#include "api/chat_request.h"
#include "api/image_worker.h"
#include "api/messages_request.h"
#include "api/ollama_request.h"
#include "api/responses_request.h"
#include "core/base64.h"
#include "http/http_server.h"
#include "support/eventually.h"
#include "support/fake_engine.h"
#include "support/fake_image_encoder.h"
#include "support/http_server.h"
#include "support/raw_client.h"

namespace commissure {
namespace {

using testing::body_of;
using testing::FakeEngine;
using testing::FakeImageEncoder;
using testing::http_request;
using testing::RawClient;

constexpr std::string_view kPartsTemplate =
    "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{% if m.content is string %}{{ m.content }}{% else %}"
    "{% for p in m.content %}{% if p.type == 'image' %}<image>{% else %}{{ p.text }}{% endif %}{% endfor %}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}";

std::string data_url(std::string_view file) {
  return "data:image/png;base64," + encode_base64(std::as_bytes(std::span(file)));
}

Json text_part(std::string_view text) { return {{"type", "text"}, {"text", text}}; }
Json image_part(std::string_view file) { return {{"type", "image_url"}, {"image_url", {{"url", data_url(file)}}}}; }
Json image_block(std::string_view file) {
  const std::string data = encode_base64(std::as_bytes(std::span(file)));
  return {{"type", "image"}, {"source", {{"type", "base64"}, {"media_type", "image/png"}, {"data", data}}}};
}
Json chat_with(const Json& content) { return {{"messages", Json::array({{{"role", "user"}, {"content", content}}})}}; }
Json chat_of(std::initializer_list<Json> parts) {
  Json content = Json::array();
  for (const Json& part : parts) content.push_back(part);
  return chat_with(content);
}

class ImageRequestTest : public ::testing::Test {
 protected:
  ImageRequestTest() {
    engine_.mutable_model().image_encoder = encoder_;
    set_template(kPartsTemplate);
  }
  void set_template(std::string_view text) {
    engine_.mutable_model().chat_template = ChatTemplate::compile(text).value();
  }
  ApiResult<ChatRequest> chat(Json body) {
    const auto images = take_images(body, engine_.model());
    if (!images) return tl::unexpected(images.error());
    return parse_chat_request(body, engine_.model(), options_, {}, *images);
  }
  /// The prompt with # for each row of an image; an error's message where there is none.
  std::string prompt_of(const Json& body) {
    const auto request = chat(body);
    return request ? shown(request->fields.request) : request.error().message;
  }
  static std::string shown(const GenerationRequest& request) {
    std::string text;
    std::size_t i = 0;
    for (const PlacedImage& image : request.images) {
      for (; i < static_cast<std::size_t>(image.first_position); ++i) text += piece(request.prompt[i]);
      for (int row = 0; row < image.rows->n_rows; ++row, ++i) {
        EXPECT_EQ(request.prompt[i], TokenId(256));
        text += '#';
      }
    }
    for (; i < request.prompt.size(); ++i) text += piece(request.prompt[i]);
    return text;
  }
  static std::string piece(TokenId token) { return testing::ByteTokenizer().token_bytes(token, true); }

  const std::shared_ptr<FakeImageEncoder> encoder_ = std::make_shared<FakeImageEncoder>();
  FakeEngine engine_;
  ApiOptions options_;
};

TEST_F(ImageRequestTest, StandsWhereItsPartStands) {
  const Json body = chat_of({text_part("a"), image_part("3x"), text_part("b")});
  EXPECT_EQ(prompt_of(body), "<bos>[user]a(###)b[assistant]");
  const GenerationRequest request = chat(body)->fields.request;
  ASSERT_EQ(request.images.size(), 1u);
  EXPECT_EQ(request.images[0].rows->key, "3x");
  EXPECT_EQ(request.prompt[static_cast<std::size_t>(request.images[0].first_position) - 1], TokenId('('));
}

TEST_F(ImageRequestTest, TheInputOfTheResponsesApiHasThemToo) {
  Json body = {
      {"input", Json::array({{{"role", "user"},
                              {"content",
                               {{{"type", "input_text"}, {"text", "a"}},
                                {{"type", "input_image"}, {"image_url", data_url("3x")}, {"detail", "low"}}}}}})}};
  const auto images = take_images(body, engine_.model(), ImagePlace::kInput);
  ASSERT_TRUE(images.has_value()) << images.error().message;
  ASSERT_EQ(images->size(), 1u);
  EXPECT_EQ((*images)[0].where, "input[0].content[1]");
  const auto read = read_responses(body);
  ASSERT_TRUE(read.has_value()) << read.error().message;
  const auto parsed = parse_chat_request(read->chat, engine_.model(), options_, {}, *images);
  ASSERT_TRUE(parsed.has_value()) << parsed.error().message;
  EXPECT_EQ(shown(parsed->fields.request), "<bos>[user]a(###)[assistant]");

  body = {{"input", Json::array({{{"role", "user"}, {"content", {{{"type", "input_image"}, {"file_id", "f"}}}}}})}};
  const auto refused = take_images(body, engine_.model(), ImagePlace::kInput);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().param, "input");
  EXPECT_NE(refused.error().message.find("'input[0].content[0].image_url' is missing"), std::string::npos);
}

TEST_F(ImageRequestTest, WhatAFunctionPutOutMayBeAnImage) {
  Json body = {{"input", Json::array({{{"type", "function_call"}, {"call_id", "1"}, {"name", "f"}, {"arguments", "{}"}},
                                      {{"type", "function_call_output"},
                                       {"call_id", "1"},
                                       {"output",
                                        {{{"type", "input_text"}, {"text", "a"}},
                                         {{"type", "input_image"}, {"image_url", data_url("2x")}}}}}})}};
  const auto images = take_images(body, engine_.model(), ImagePlace::kInput);
  ASSERT_TRUE(images) << images.error().message;
  ASSERT_EQ(images->size(), 1u);
  EXPECT_EQ((*images)[0].where, "input[1].output[1]");
  const auto read = read_responses(body);
  ASSERT_TRUE(read) << read.error().message;
  const auto parsed = parse_chat_request(read->chat, engine_.model(), options_, {}, *images);
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(shown(parsed->fields.request), "<bos>[assistant][tool]a(##)[assistant]");
}

TEST_F(ImageRequestTest, TheRouteSaysWhereImagesAre) {
  Json body = chat_of({image_part("2")});
  body["input"] = body["messages"];
  Json other = body;
  EXPECT_EQ(take_images(body, engine_.model())->at(0).where, "messages[0].content[0]");
  EXPECT_EQ(take_images(other, engine_.model(), ImagePlace::kInput)->at(0).where, "input[0].content[0]");
}

TEST_F(ImageRequestTest, OllamasMessagesHaveThemInAList) {
  const std::string first = encode_base64(std::as_bytes(std::span(std::string_view("3x"))));
  Json body = {{"messages", Json::array({{{"role", "user"}, {"content", "a"}, {"images", {first, data_url("1y")}}}})}};
  const auto read_chat = [&](OllamaUse use) {
    const auto images =
        take_images(body, engine_.model(), use == OllamaUse::kChat ? ImagePlace::kMessageLists : ImagePlace::kList);
    if (!images) return images.error().message;
    const auto read = read_ollama(body, use);
    if (!read) return read.error().message;
    const auto parsed = parse_chat_request(read->body, engine_.model(), options_, {}, *images);
    return parsed ? shown(parsed->fields.request) : parsed.error().message;
  };
  EXPECT_EQ(read_chat(OllamaUse::kChat), "<bos>[user](###)(#)a[assistant]");
  body = {{"prompt", "b"}, {"images", {first}}};
  EXPECT_EQ(read_chat(OllamaUse::kGenerate), "<bos>[user](###)b[assistant]");
  body["messages"] = Json::array();  // no field of this route
  body["images"] = {first};
  EXPECT_EQ(read_chat(OllamaUse::kGenerate), "<bos>[user](###)b[assistant]");
  body = {{"prompt", "b"}, {"images", {"?"}}};
  EXPECT_NE(read_chat(OllamaUse::kGenerate).find("'images[0]' is no valid base64"), std::string::npos);
  body = {{"messages", Json::array({{{"role", "user"}, {"content", "a"}, {"images", {7}}}})}};
  EXPECT_NE(read_chat(OllamaUse::kChat).find("'messages[0].images' must be an array of images"), std::string::npos);
  engine_.mutable_model().image_encoder = nullptr;
  body = {{"prompt", "b"}, {"images", {first}}};
  EXPECT_NE(read_chat(OllamaUse::kGenerate).find("takes text only"), std::string::npos);
}

TEST_F(ImageRequestTest, SeveralKeepTheirOrderOverMessages) {
  const Json body = {{"messages", Json::array({{{"role", "user"}, {"content", {image_part("1a"), image_part("2b")}}},
                                               {{"role", "assistant"}, {"content", "yes"}},
                                               {{"role", "user"}, {"content", {text_part("c"), image_part("1d")}}}})}};
  EXPECT_EQ(prompt_of(body), "<bos>[user](#)(##)[assistant]yes[user]c(#)[assistant]");
  const auto request = chat(body);
  EXPECT_EQ(request->fields.request.images[1].rows->key, "2b");
  EXPECT_EQ(request->fields.request.images[2].rows->key, "1d");
}

TEST_F(ImageRequestTest, EveryDialectOfAPartIsRead) {
  for (const Json& part :
       {Json{{"type", "image_url"}, {"image_url", data_url("2")}},
        Json{{"type", "image_url"}, {"image_url", {{"url", data_url("2")}, {"detail", "high"}}}},
        Json{{"type", "input_image"}, {"image_url", data_url("2")}}, Json{{"type", "image"}, {"image", data_url("2")}},
        Json{{"type", "image"}, {"url", data_url("2")}},
        Json{{"type", "image_url"}, {"image_url", "DATA:;Base64,Mg=="}}, image_block("2")}) {
    EXPECT_EQ(prompt_of(chat_of({part})), "<bos>[user](##)[assistant]") << dump_json(part);
  }
}

TEST_F(ImageRequestTest, ATemplateWithoutPartsGetsTheMarkInPlace) {
  set_template("{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}");
  EXPECT_EQ(prompt_of(chat_of({text_part("a"), image_part("2"), text_part("<image>")})), "[user]a(##)<image>");
}

TEST_F(ImageRequestTest, AMarkThatAUserSpellsIsNoImage) {
  for (const bool sanitize : {false, true}) {
    options_.sanitize = sanitize;
    EXPECT_EQ(prompt_of(chat_of({text_part("<image>"), image_part("2"), text_part("x<image>y")})),
              "<bos>[user]<image>(##)x<image>y[assistant]");
    // Nor one that two parts spell together.
    EXPECT_EQ(prompt_of(chat_of({text_part("<im"), text_part("age>"), image_part("1")})),
              "<bos>[user]<image>(#)[assistant]");
    EXPECT_EQ(prompt_of(chat_of({text_part("<im"), image_part("1"), text_part("age>")})),
              "<bos>[user]<im(#)age>[assistant]");
    EXPECT_EQ(prompt_of(chat_of({text_part("<"), text_part("image"), text_part(">"), image_part("1")})),
              "<bos>[user]<image>(#)[assistant]");
  }
}

TEST_F(ImageRequestTest, ImagesThatTheTemplateDropsAreAnError) {
  set_template("{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endfor %}");
  EXPECT_NE(
      prompt_of(chat_of({text_part("a"), image_part("2")})).find("have 1 images, but the model's chat template has"),
      std::string::npos);
  set_template("{% for m in messages %}{% for p in m.content %}<image>{% endfor %}{% endfor %}");
  EXPECT_NE(prompt_of(chat_of({text_part("a"), image_part("2")})).find("has shown 2 of them"), std::string::npos);
}

TEST_F(ImageRequestTest, WhatIsNoImageIsRefusedByItsPlace) {
  const auto expect_refused = [&](const Json& part, std::string_view what) {
    const auto result = chat(chat_of({text_part("a"), part}));
    ASSERT_FALSE(result) << dump_json(part);
    EXPECT_EQ(result.error().status, 400);
    EXPECT_EQ(result.error().param, "messages");
    EXPECT_NE(result.error().message.find("'messages[0].content[1]"), std::string::npos) << result.error().message;
    EXPECT_NE(result.error().message.find(what), std::string::npos) << result.error().message;
  };
  const auto url = [](const Json& text) { return Json{{"type", "image_url"}, {"image_url", {{"url", text}}}}; };
  expect_refused(url("file:///etc/passwd"), "must be a URL of the form data:");
  expect_refused(url("data:image/png;base64"), "must be a URL of the form data:");
  expect_refused(url("data:image/png,abc"), "not in base64");
  expect_refused(url("data:text/html;base64,Mg=="), "type 'text/html'");
  expect_refused(url("data:image/png;base64,Mg="), "no valid base64");
  expect_refused(url("data:image/png;base64,M!=="), "no valid base64");
  expect_refused(url("data:image/png;base64,"), "without a byte");
  expect_refused(url(5), "must be a string");
  expect_refused({{"type", "image_url"}}, "is missing");
  expect_refused({{"type", "image"}}, "is missing");
  expect_refused({{"type", "input_image"}, {"file_id", "f"}}, "is missing");
  expect_refused({{"type", "image"}, {"source", {{"type", "file"}}}}, "\"base64\" or \"url\"");
  expect_refused({{"type", "image"}, {"source", {{"type", "base64"}, {"data", 5}}}}, "must be a string");
  expect_refused(image_part("no"), "the file is no image");
  expect_refused(url("data:;base64," + std::string(kMaxImageBytes / 3 * 4 + 8, 'A')), "may have at most 20971520");
}

TEST_F(ImageRequestTest, AModelWithoutEyesSaysSo) {
  engine_.mutable_model().image_encoder = nullptr;
  EXPECT_EQ(prompt_of(chat_of({text_part("a"), image_part("2")})),
            "'messages[0].content[1]' is an image, but the model 'fake/model' takes text only");
}

TEST_F(ImageRequestTest, ThereMayBeSixteen) {
  Json parts = Json::array();
  for (std::size_t i = 0; i < kMaxImages; ++i) parts.push_back(image_part("1"));
  EXPECT_TRUE(chat(chat_with(parts)));
  parts.push_back(image_part("1"));
  EXPECT_NE(prompt_of(chat_with(parts)).find("one image more than the 16"), std::string::npos);
}

TEST_F(ImageRequestTest, ItsRowsCountForTheContext) {
  // <bos>[user] ( rows ) [assistant]: 24 tokens beside the rows, and one of the answer.
  engine_.mutable_model().context_length = 31;
  EXPECT_TRUE(chat(chat_of({image_part("6")})));
  const auto result = chat(chat_of({image_part("7")}));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, "context_length_exceeded");
  // A text that is too long by itself is found out before an image is encoded.
  const int n_calls = encoder_->n_calls();
  EXPECT_FALSE(chat(chat_of({text_part("1234567"), image_part("1")})));
  EXPECT_EQ(encoder_->n_calls(), n_calls);
}

TEST_F(ImageRequestTest, AFullEncoderIsNotTheClientsFault) {
  const auto result = chat(chat_of({image_part("full")}));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().status, 429);
}

TEST_F(ImageRequestTest, NoFurtherImageIsEncodedForAClientThatLeft) {
  Json body = chat_of({image_part("1"), image_part("2"), image_part("3")});
  const auto images = take_images(body, engine_.model());
  const auto result =
      parse_chat_request(body, engine_.model(), options_, [&] { return encoder_->n_calls() == 1; }, *images);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().status, 499);
  EXPECT_EQ(encoder_->n_calls(), 1);
}

TEST_F(ImageRequestTest, ToolsThatAreExplainedLeaveImagesInPlace) {
  engine_.mutable_model().answer_syntax = answer_syntax(kPartsTemplate);
  ASSERT_TRUE(engine_.model().answer_syntax.explains_tools);
  Json body = chat_of({text_part("a"), image_part("2")});
  body["tools"] = Json::array({{{"type", "function"}, {"function", {{"name", "f"}}}}});
  EXPECT_NE(prompt_of(body).find("[user]a(##)[assistant]"), std::string::npos) << prompt_of(body);
}

TEST_F(ImageRequestTest, BlocksOfTheMessagesApiAreRead) {
  Json body = {
      {"max_tokens", 5},
      {"messages",
       Json::array(
           {{{"role", "user"}, {"content", {text_part("a"), image_block("2"), text_part("b")}}},
            {{"role", "user"}, {"content", "c"}},
            {{"role", "assistant"},
             {"content", {{{"type", "tool_use"}, {"id", "1"}, {"name", "f"}, {"input", Json::object()}}}}},
            {{"role", "user"},
             {"content",
              {{{"type", "tool_result"}, {"tool_use_id", "1"}, {"content", {text_part("d"), image_block("1")}}}}}}})}};
  const auto images = take_images(body, engine_.model());
  ASSERT_TRUE(images);
  ASSERT_EQ(images->size(), 2u);
  EXPECT_EQ((*images)[1].where, "messages[3].content[0].content[1]");
  const auto chat = chat_from_messages(body, MessagesUse::kAnswer);
  ASSERT_TRUE(chat) << chat.error().message;
  const auto request = parse_chat_request(*chat, engine_.model(), options_, {}, *images);
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_EQ(shown(request->fields.request), "<bos>[user]a(##)b\n\nc[assistant][tool]d(#)[assistant]");
}

TEST(ImageWorker, RefusesWhatItHasNoRoomFor) {
  std::promise<void> go, began;
  ImageWorker worker;
  ASSERT_TRUE(worker.submit({[&] {
    began.set_value();
    go.get_future().wait();
  }}));
  began.get_future().wait();
  std::atomic<int> n_run = 0;
  for (std::size_t i = 0; i < ImageWorker::kMaxWaiting; ++i) ASSERT_TRUE(worker.submit({[&] { ++n_run; }}));
  EXPECT_EQ(worker.submit({[] {}}).error().code(), Code::kResourceExhausted);
  go.set_value();
  EXPECT_TRUE(testing::eventually([&] { return n_run == static_cast<int>(ImageWorker::kMaxWaiting); }));
}

TEST(ImageWorker, ThoseWhoLeftMakeRoom) {
  std::promise<void> go, began;
  std::atomic<bool> is_gone = false;
  std::atomic<int> n_run = 0, n_refused = 0;
  ImageWorker worker;
  ASSERT_TRUE(worker.submit({[&] {
    began.set_value();
    go.get_future().wait();
  }}));
  began.get_future().wait();
  for (std::size_t i = 0; i < ImageWorker::kMaxWaiting; ++i) {
    const bool may_leave = i % 2 == 0;
    ASSERT_TRUE(worker.submit({[&] { ++n_run; }, [&, may_leave] { return may_leave && is_gone; },
                               [&](const Error& why) {
                                 EXPECT_EQ(why.code(), Code::kCancelled);
                                 ++n_refused;
                               }}));
  }
  EXPECT_FALSE(worker.submit({[] {}}));
  is_gone = true;
  EXPECT_TRUE(worker.submit({[&] { ++n_run; }}));
  EXPECT_EQ(n_refused, 8);
  go.set_value();
  EXPECT_TRUE(testing::eventually([&] { return n_run == 9; }));
}

TEST(ImageWorker, TellsThoseWhoWaitThatItStops) {
  std::promise<void> go, began;
  std::atomic<bool> is_refused = false;
  ImageWorker worker;
  ASSERT_TRUE(worker.submit({[&] {
    began.set_value();
    go.get_future().wait();
  }}));
  began.get_future().wait();
  ASSERT_TRUE(worker.submit({[] { ADD_FAILURE() << "it ran"; },
                             {},
                             [&](const Error& why) {
                               EXPECT_EQ(why.code(), Code::kUnavailable);
                               is_refused = true;
                             }}));
  auto stopped = std::async(std::launch::async, [&] { worker.stop(); });
  EXPECT_TRUE(testing::eventually([&] { return is_refused.load(); }));
  go.set_value();
  stopped.wait();
  worker.stop();
  EXPECT_EQ(worker.submit({[] {}}).error().code(), Code::kUnavailable);
}

/// The routes on a real socket.
class ImageServiceTest : public ImageRequestTest {
 protected:
  void start() {
    service_ = std::make_unique<ApiService>(engine_, options_);
    auto started = HttpServer::start({.port = 0, .n_workers = 1}, service_->handler());
    ASSERT_TRUE(started);
    server_ = std::move(*started);
  }
  ~ImageServiceTest() override { server_.reset(); }

  std::string ask(std::string_view path, const Json& body) {
    RawClient client(server_->port());
    client.send(body.is_null() ? http_request("GET", path) : http_request("POST", path, dump_json(body)));
    return client.read_response();
  }
  Json answer(std::string_view path, const Json& body) { return parse_json(body_of(ask(path, body))).value_or(Json()); }

  std::unique_ptr<ApiService> service_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(ImageServiceTest, RowsOfImagesArePromptTokens) {
  start();
  const Json body = chat_of({image_part("5")});
  EXPECT_EQ(answer("/v1/chat/completions", body)["usage"]["prompt_tokens"], 29);
  EXPECT_EQ(shown(engine_.last_request()), "<bos>[user](#####)[assistant]");
  Json messages = chat_of({image_block("5")});
  EXPECT_EQ(answer("/v1/messages/count_tokens", messages)["input_tokens"], 29);
  messages["max_tokens"] = 5;
  EXPECT_EQ(answer("/v1/messages", messages)["usage"]["input_tokens"], 29);
  EXPECT_EQ(answer("/tokenize", body)["count"], 29);
  EXPECT_EQ(answer("/apply-template", body)["prompt"], "<bos>[user]<image>[assistant]");
  EXPECT_NE(ask("/v1/chat/completions", chat_of({image_part("no")})).find("400"), std::string::npos);
}

TEST_F(ImageServiceTest, FetchesImagesFromHostsThatAreAllowed) {
  const testing::HttpServer images([](const testing::ServedRequest& request) -> testing::ServedReply {
    return {.status = request.target.starts_with("/5") ? 200 : 404, .body = "5"};
  });
  const auto url_part = [&](const std::string& url) {
    return Json{{"type", "image_url"}, {"image_url", {{"url", url}}}};
  };
  options_.image_urls = FetchPolicy::parse("127.0.0.1").value();
  start();
  const Json body = chat_of({url_part(images.url("/5"))});
  EXPECT_EQ(answer("/v1/chat/completions", body)["usage"]["prompt_tokens"], 29);
  Json messages = chat_of({{{"type", "image"}, {"source", {{"type", "url"}, {"url", images.url("/5")}}}}});
  messages["max_tokens"] = 5;
  EXPECT_EQ(answer("/v1/messages", messages)["usage"]["input_tokens"], 29);
  const Json part = {{"type", "input_image"}, {"image_url", images.url("/5")}};
  const Json input = {{"input", Json::array({{{"role", "user"}, {"content", Json::array({part})}}})}};
  EXPECT_EQ(answer("/v1/responses", input)["usage"]["input_tokens"], 29);

  const Json gone = answer("/v1/chat/completions", chat_of({url_part(images.url("/6?key=hidden"))}))["error"];
  EXPECT_EQ(gone["message"], "'messages[0].content[0]' could not be fetched: 127.0.0.1 answered with HTTP status 404");
  EXPECT_EQ(gone["param"], "messages");
  const std::string refused = ask("/v1/messages", chat_of({url_part("http://10.0.0.1/")}));
  EXPECT_TRUE(refused.starts_with("HTTP/1.1 400")) << refused;
  EXPECT_EQ(answer("/apply-template", body)["prompt"], "<bos>[user]<image>[assistant]");
  EXPECT_EQ(images.requests().size(), 4u) << "a template needs no image";
}

TEST_F(ImageServiceTest, AServerThatEndsWaitsForNoSlowHost) {
  const testing::HttpServer images([](const testing::ServedRequest&) -> testing::ServedReply {
    return {.body = "5", .pause = std::chrono::minutes(1)};
  });
  options_.image_urls = FetchPolicy::parse("127.0.0.1").value();
  start();
  RawClient client(server_->port());
  const Json part = {{"type", "image_url"}, {"image_url", images.url("/")}};
  client.send(http_request("POST", "/v1/chat/completions", dump_json(chat_of({part}))));
  ASSERT_TRUE(testing::eventually([&] { return images.n_connections() > 0; }));
  service_->stop();
  EXPECT_TRUE(client.read_response().starts_with("HTTP/1.1 503"));
}

TEST_F(ImageServiceTest, FetchesNothingWhereThatIsOff) {
  options_.image_urls = FetchPolicy::parse("off").value();
  start();
  const Json part = {{"type", "image_url"}, {"image_url", "https://a.example/b.png"}};
  EXPECT_NE(ask("/v1/chat/completions", chat_of({part})).find("fetches none"), std::string::npos);
}

TEST_F(ImageServiceTest, TheModelTellsWhetherItSees) {
  start();
  EXPECT_EQ(answer("/props", nullptr)["modalities"]["vision"], true);
  EXPECT_EQ(answer("/v1/models", nullptr)["data"][0]["input_modalities"], Json::array({"text", "image"}));
  engine_.mutable_model().image_encoder = nullptr;
  EXPECT_EQ(answer("/props", nullptr)["modalities"]["vision"], false);
  EXPECT_EQ(answer("/v1/models", nullptr)["data"][0]["input_modalities"], Json::array({"text"}));
}

TEST_F(ImageServiceTest, AServerThatTakesNoRequestReadsNoImage) {
  start();
  const Json body = chat_of({image_part("1")});
  engine_.set_health(Error(Code::kUnavailable, "the stages are being recovered: stage b went away"));
  EXPECT_TRUE(ask("/v1/chat/completions", body).starts_with("HTTP/1.1 200"));
  engine_.set_admission(Error(Code::kUnavailable, "the server is shutting down"));
  EXPECT_TRUE(ask("/v1/chat/completions", body).starts_with("HTTP/1.1 503"));
  engine_.set_admission(Error(Code::kResourceExhausted, "the queue is full"));
  EXPECT_TRUE(ask("/v1/chat/completions", body).starts_with("HTTP/1.1 429"));
  EXPECT_EQ(encoder_->n_calls(), 1);
  engine_.set_admission({});
  service_->stop();
  service_->stop();
  EXPECT_TRUE(ask("/v1/chat/completions", body).starts_with("HTTP/1.1 503"));
  EXPECT_TRUE(ask("/v1/chat/completions", chat_with("hi")).starts_with("HTTP/1.1 200"));
}

TEST_F(ImageServiceTest, OtherRequestsDoNotWaitForAnImage) {
  std::promise<void> go;
  const auto held = go.get_future().share();
  encoder_->before = [held] { held.wait(); };
  start();
  RawClient slow(server_->port());
  slow.send(http_request("POST", "/v1/chat/completions", dump_json(chat_of({image_part("1")}))));
  ASSERT_TRUE(testing::eventually([&] { return encoder_->n_calls() > 0; }));
  for (int i = 0; i < 3; ++i) {
    EXPECT_NE(ask("/v1/chat/completions", chat_with("hi")).find("Hello world"), std::string::npos);
  }
  // Those that no room is left for are told so at once, and those whose client leaves are dropped.
  std::vector<std::unique_ptr<RawClient>> waiting;
  for (std::size_t i = 0; i < ImageWorker::kMaxWaiting; ++i) {
    waiting.push_back(std::make_unique<RawClient>(server_->port()));
    waiting.back()->send(http_request("POST", "/v1/chat/completions", dump_json(chat_of({image_part("1")}))));
  }
  std::string refused;
  for (int i = 0; i < 200 && !refused.starts_with("HTTP/1.1 429"); ++i) {
    RawClient late(server_->port());
    late.send(http_request("POST", "/v1/chat/completions", dump_json(chat_of({image_part("1")}))));
    refused = late.read_until("\r\n\r\n", 1, std::chrono::milliseconds(50));
    late.reset();
  }
  EXPECT_TRUE(refused.starts_with("HTTP/1.1 429")) << refused;
  waiting.clear();
  go.set_value();
  EXPECT_NE(slow.read_response().find("Hello world"), std::string::npos);
}

}  // namespace
}  // namespace commissure
