#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "support/fake_chain.h"
#include "support/served_api.h"
#include "support/temp_folder.h"

namespace commissure {
namespace {

using namespace testing;
namespace fs = std::filesystem;

/// A server that knows "poet" from its start and "late" from its folder.
class AdapterApi : public ServedApi {
 protected:
  AdapterApi() {
    for (const char* name : {"late", "deep/one"}) {
      fs::create_directories(root_ / name);
      std::ofstream(root_ / name / "adapter_config.json") << "{}";
    }
  }
  void serve(bool has_folder = true, ApiOptions options = {}) {
    AdapterOptions adapters;
    adapters.known = {{AdapterId(1), "poet", "/adapters/of/verse"}};
    if (has_folder) adapters.folder = root_.string();
    adapters.identify = [](const std::string& path) -> Result<AdapterId> {
      if (path.ends_with("late")) return Error(Code::kNotFound, "no such file");
      return AdapterId(std::hash<std::string>()(path) | 1);
    };
    keeper_ = std::make_unique<AdapterKeeper>(chain_, std::move(adapters));
    engine_.set_adapters(*keeper_);
    start(std::move(options));
  }
  ~AdapterApi() override {
    server_.reset();
    service_.reset();
  }
  std::string load(std::string_view name, std::string_view path, std::string_view headers = "") {
    return ask("POST", "/v1/load_lora_adapter", dump_json({{"lora_name", name}, {"lora_path", path}}), headers);
  }
  static int status_of(const std::string& response) { return std::stoi(response.substr(9, 3)); }

  const TempFolder folder_;
  const fs::path root_ = fs::canonical(folder_.path());
  FakeChain chain_{4};
  std::unique_ptr<AdapterKeeper> keeper_;
};

TEST_F(AdapterApi, AModelsNameMayBeAnAdapterInEveryApi) {
  serve();
  const std::string base = engine_.model().name;
  const Json hi = Json::array({{{"role", "user"}, {"content", "hi"}}});
  const Json bodies[] = {{{"path", "/v1/completions"}, {"prompt", "hi"}},
                         {{"path", "/generate"}, {"prompt", "hi"}},
                         {{"path", "/v1/chat/completions"}, {"messages", hi}},
                         {{"path", "/v1/messages"}, {"messages", hi}, {"max_tokens", 5}},
                         {{"path", "/v1/responses"}, {"input", "hi"}},
                         {{"path", "/api/chat"}, {"messages", hi}, {"stream", false}},
                         {{"path", "/api/generate"}, {"prompt", "hi"}, {"raw", true}, {"stream", false}}};
  for (Json body : bodies) {
    const std::string path = body["path"];
    body.erase("path");
    for (const std::string& model : {std::string("poet"), base + ":poet", base, std::string()}) {
      body["model"] = model;
      const bool is_adapted = model.ends_with("poet");
      body.erase("lora_scale");
      if (is_adapted) body["lora_scale"] = 0.5;
      const std::string response = ask("POST", path, dump_json(body));
      ASSERT_EQ(status_of(response), 200) << path << response;
      EXPECT_EQ(engine_.last_request().adapter, is_adapted ? "poet" : "") << path;
      EXPECT_EQ(engine_.last_request().adapter_scale, is_adapted ? 0.5f : 1.0f) << path;
      if (path.starts_with("/v1") && !model.empty()) EXPECT_EQ(json_of(response)["model"], is_adapted ? "poet" : base);
    }
  }
}

TEST_F(AdapterApi, UnknownNamesAreToldWhatThereIs) {
  serve();
  for (const char* model : {"nobody", "other:poet", "late/", "../late", "deep"}) {
    const std::string response = ask("POST", "/v1/completions", dump_json({{"model", model}, {"prompt", "hi"}}));
    EXPECT_EQ(status_of(response), 404) << model;
    EXPECT_NE(response.find("'poet'"), std::string::npos) << response;
    EXPECT_NE(response.find("'late'"), std::string::npos) << response;
  }
  EXPECT_EQ(status_of(ask("POST", "/v1/completions", R"({"prompt":"hi","lora_scale":2})")), 400);
  for (const char* scale : {"1e300", "101", "\"1\"", "-1000"}) {
    const std::string body = fmt::format(R"({{"model":"poet","prompt":"hi","lora_scale":{}}})", scale);
    EXPECT_EQ(status_of(ask("POST", "/v1/completions", body)), 400) << scale;
  }
}

TEST_F(AdapterApi, ModelsListsThemUnderTheirParent) {
  serve();
  const Json listed = json_of(ask("GET", "/v1/models", ""))["data"];
  ASSERT_EQ(listed.size(), 3u);
  EXPECT_EQ(listed[1]["id"], "late");
  EXPECT_EQ(listed[2]["id"], "poet");
  EXPECT_EQ(listed[2]["root"], "verse") << "the last part of the path";
  EXPECT_EQ(listed[2]["parent"], engine_.model().name);
  EXPECT_EQ(json_of(ask("GET", "/v1/models/poet", ""))["root"], "verse");
  EXPECT_EQ(status_of(ask("GET", "/v1/models/nobody", "")), 404);
}

TEST_F(AdapterApi, LoadsFromBelowItsFolderAlone) {
  serve();
  EXPECT_EQ(status_of(load("one", "deep/one")), 200);
  EXPECT_EQ(status_of(load("two", (root_ / "deep/one").string())), 200);
  EXPECT_EQ(status_of(load("one", "deep/one")), 400) << "the name is taken";
  EXPECT_EQ(status_of(load(engine_.model().name, "deep/one")), 400);
  EXPECT_TRUE(keeper_->has_loaded("one") && keeper_->has_loaded("two"));
  fs::create_directory_symlink("/etc", root_ / "out");
  for (const std::string path : {"/etc", "..", "deep/../..", "out", "absent", "", "."})
    EXPECT_EQ(status_of(load("x", path)), 400) << path;
  for (const std::string name : {"", "a/b", "a\n", "-x", "a:b"})
    EXPECT_EQ(status_of(load(name, "deep/one")), 400) << name;
  EXPECT_EQ(status_of(load("late", "late")), 404) << "its own error";
  EXPECT_FALSE(keeper_->has_loaded("late"));
  const auto unload = [&] { return status_of(ask("POST", "/v1/unload_lora_adapter", R"({"lora_name":"one"})")); };
  EXPECT_EQ(unload(), 200);
  EXPECT_EQ(unload(), 404);
}

TEST_F(AdapterApi, WithoutAFolderNothingIsLoadedAndWithAKeyNobodyElseLoads) {
  serve(false);
  const std::string refused = load("one", "deep/one");
  EXPECT_EQ(status_of(refused), 403);
  EXPECT_NE(refused.find("--adapter-dir"), std::string::npos);
  serve(true, {.api_keys = {"secret"}});
  EXPECT_EQ(status_of(load("one", "deep/one")), 401);
  EXPECT_EQ(status_of(ask("POST", "/v1/unload_lora_adapter", R"({"lora_name":"poet"})")), 401);
  EXPECT_EQ(status_of(load("one", "deep/one", "Authorization: Bearer secret\r\n")), 200);
}

}  // namespace
}  // namespace commissure
