#include "weights/cloud_source.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>

#include "core/crc32c.h"
#include "support/checkpoint_writer.h"
#include "support/http_server.h"
#include "support/weights_testing.h"
#include "weights/checkpoint.h"
#include "weights/remote_source.h"
#include "weights/tensor_reader.h"

namespace commissure {
namespace {

using testing::HttpServer;
using testing::pattern;
using testing::serve_bytes;
using testing::ServedReply;
using testing::ServedRequest;
using testing::text_of;

constexpr std::uint64_t kMiB = 1u << 20;

/// The sum as Cloud Storage writes it.
std::string sum_of(const std::string& bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const std::uint64_t bits = static_cast<std::uint64_t>(crc32c(std::as_bytes(std::span(bytes)))) << 4;
  std::string text;
  for (int shift = 30; shift >= 0; shift -= 6) text += kDigits[bits >> shift & 63];
  return text + "==";
}

/// Bucket "b" of Cloud Storage's JSON API, with any fault a test scripts.
struct FakeCloud {
  std::map<std::string, std::string> objects;  ///< by percent-encoded name
  std::string generation = "17";
  std::string sum;                    ///< of every object; else the right one
  std::map<std::string, Json> pages;  ///< of the listing, by page token
  std::function<std::optional<ServedReply>(const ServedRequest&)> fault = [](const auto&) { return std::nullopt; };
  HttpServer server{[this](const ServedRequest& request) { return answer(request); }};

  CloudOptions options() const {
    CloudOptions options;
    options.base_url = server.url("");
    options.first_pause = std::chrono::milliseconds(1);
    return options;
  }

  Result<std::unique_ptr<ByteSource>> open(const std::string& location = "gs://b/x") const {
    return open_cloud_source(location, options());
  }

  ServedReply answer(const ServedRequest& request) {
    if (auto reply = fault(request)) return *reply;
    const auto query = std::min(request.target.find('?'), request.target.size());
    const std::string path = request.target.substr(0, query);
    if (path == "/storage/v1/b/b/o") {
      const auto token = request.target.find("&pageToken=");
      return {.body = dump_json(pages[token == std::string::npos ? "" : request.target.substr(token + 11)])};
    }
    const bool is_media = path.starts_with("/download");
    const std::string prefix = is_media ? "/download/storage/v1/b/b/o/" : "/storage/v1/b/b/o/";
    const auto object = path.starts_with(prefix) ? objects.find(path.substr(prefix.size())) : objects.end();
    if (object == objects.end()) return {.status = 404};
    if (is_media) {
      return request.target.ends_with("generation=" + generation) ? serve_bytes(request, object->second)
                                                                  : ServedReply{.status = 404};
    }
    return {.body = dump_json(Json{{"size", std::to_string(object->second.size())},
                                   {"generation", generation},
                                   {"crc32c", sum.empty() ? sum_of(object->second) : sum}})};
  }
};

bool is_media(const ServedRequest& request) { return request.target.starts_with("/download"); }

TEST(CloudSource, ReadsLongRangesInParallelParts) {
  const std::string bytes = pattern(3 * kPartBytes + 12'345);
  FakeCloud cloud;
  cloud.objects["models%2Fa%20b.gguf"] = bytes;
  const auto source = cloud.open("gs://b/models/a b.gguf");
  ASSERT_TRUE(source.has_value()) << source.error().message();
  EXPECT_EQ((*source)->size(), bytes.size());
  EXPECT_TRUE(text_of((*source)->read(100, bytes.size() - 200)) == bytes.substr(100, bytes.size() - 200));
  EXPECT_EQ((*source)->bytes_read(), bytes.size() - 200);
  EXPECT_EQ(cloud.server.requests().size(), 5u);  // the facts and four parts
  EXPECT_TRUE(text_of((*source)->read(0, bytes.size())) == bytes);
  EXPECT_EQ((*source)->read(bytes.size(), 1).error().code(), Code::kOutOfRange);
}

TEST(PartSize, FollowsTheLineBetweenItsBounds) {
  using std::chrono::duration;
  constexpr std::uint64_t kLong = 10u * kMaxPartBytes;
  PartSize size;
  EXPECT_EQ(size.next(kLong), kPartBytes);
  size.took(kPartBytes, duration<double>(0.4));  // 20 MiB/s: 10 MiB in half a second
  EXPECT_EQ(size.next(kLong), 10 * kMiB);
  for (int i = 0; i < 5; ++i) size.took(kMaxPartBytes, duration<double>(0.01));
  EXPECT_EQ(size.next(kLong), kMaxPartBytes);
  EXPECT_EQ(size.next(kMaxPartBytes), kPartBytes) << "the end is shared out";
  EXPECT_EQ(size.next(5), 5u);
  size.took(kMiB, duration<double>(10));
  EXPECT_EQ(size.next(kLong), kMaxPartBytes) << "a short part tells nothing";
  size.broke();
  EXPECT_EQ(size.next(kLong), kMaxPartBytes / 2);
  size.took(kMaxPartBytes, duration<double>(60));
  EXPECT_EQ(size.next(kLong), kPartBytes);
  size.broke();
  EXPECT_EQ(size.next(kLong), kPartBytes);
}

TEST(CloudSource, GoesOnWhereAPartBroke) {
  const std::string bytes = pattern(2 * kPartBytes);
  FakeCloud cloud;
  cloud.objects["x"] = bytes;
  int n_media = 0;
  cloud.fault = [&](const ServedRequest& request) -> std::optional<ServedReply> {
    if (!is_media(request)) return std::nullopt;
    switch (++n_media) {
      case 1: return ServedReply{.status = 503};
      case 2: return ServedReply{.status = 429};
      case 3: {
        ServedReply reply = serve_bytes(request, bytes);
        reply.cut_after = kMiB;
        return reply;
      }
      default: return std::nullopt;
    }
  };
  const auto source = cloud.open();
  ASSERT_TRUE(source.has_value()) << source.error().message();
  EXPECT_TRUE(text_of((*source)->read(0, bytes.size())) == bytes);
  EXPECT_EQ((*source)->bytes_read(), bytes.size());
  EXPECT_EQ(n_media, 5);
}

TEST(CloudSource, TriesTheFactsAgain) {
  FakeCloud cloud;
  cloud.objects["x"] = "abc";
  int n_requests = 0;
  cloud.fault = [&](const ServedRequest&) -> std::optional<ServedReply> {
    return ++n_requests < 3 ? std::optional(ServedReply{.status = 500}) : std::nullopt;
  };
  const auto source = cloud.open();
  ASSERT_TRUE(source.has_value()) << source.error().message();
  EXPECT_EQ(text_of((*source)->read(0, 3)), "abc");
}

TEST(CloudSource, OnePartThatFailsForGoodFailsTheRead) {
  const std::string bytes = pattern(3 * kPartBytes);
  FakeCloud cloud;
  cloud.objects["x"] = bytes;
  cloud.fault = [&](const ServedRequest& request) -> std::optional<ServedReply> {
    if (!is_media(request) || request.headers.at("range").starts_with("bytes=0-")) return std::nullopt;
    return ServedReply{.status = 403};
  };
  const auto source = cloud.open();
  ASSERT_TRUE(source.has_value()) << source.error().message();
  EXPECT_EQ((*source)->read(0, bytes.size()).error().code(), Code::kPermissionDenied);
  EXPECT_EQ((*source)->bytes_read(), 0u);
}

TEST(CloudSource, ARefusedTokenIsReplacedOnce) {
  int n_tokens = 0;
  const HttpServer metadata([&](const ServedRequest&) -> ServedReply {
    return {.body = fmt::format(R"({{"access_token":"secret-{}","expires_in":3600}})", ++n_tokens)};
  });
  FakeCloud cloud;
  cloud.objects["x"] = "abc";
  std::string good = "Bearer secret-1";
  cloud.fault = [&](const ServedRequest& request) -> std::optional<ServedReply> {
    const auto token = request.headers.find("authorization");
    if (token != request.headers.end() && token->second == good) return std::nullopt;
    return ServedReply{.status = 401, .body = "no"};
  };
  CloudOptions options = cloud.options();
  options.asks_metadata_server = true;
  options.metadata_host = metadata.url("").substr(7);
  const auto source = open_cloud_source("gs://b/x", options);
  ASSERT_TRUE(source.has_value()) << source.error().message();
  good = "Bearer secret-2";
  EXPECT_EQ(text_of((*source)->read(0, 2)), "ab");
  EXPECT_EQ(n_tokens, 2);
  good = "none";
  const auto refused = (*source)->read(0, 2);
  EXPECT_EQ(refused.error().code(), Code::kUnauthenticated);
  EXPECT_EQ(refused.error().message().find("secret"), std::string::npos);
  EXPECT_EQ(n_tokens, 3);
}

TEST(CloudSource, AMachineWithoutAServiceAccountIsNotAMissingObject) {
  const HttpServer metadata([](const ServedRequest&) -> ServedReply { return {.status = 404}; });
  FakeCloud cloud;
  CloudOptions options = cloud.options();
  options.asks_metadata_server = true;
  options.metadata_host = metadata.url("").substr(7);
  EXPECT_EQ(open_cloud_source("gs://b/x", options).error().code(), Code::kUnauthenticated);
}

TEST(CloudSource, RefusesAnObjectThatChanges) {
  FakeCloud cloud;
  cloud.objects["x"] = "abcdef";
  const auto source = cloud.open();
  ASSERT_TRUE(source.has_value()) << source.error().message();
  cloud.generation = "18";
  const auto gone = (*source)->read(0, 3);
  EXPECT_EQ(gone.error().code(), Code::kFailedPrecondition);
  EXPECT_EQ(gone.error().message(),
            "gs://b/x: was replaced or deleted while it was being read (generation 17 is gone); start again");
  cloud.fault = [](const ServedRequest& request) -> std::optional<ServedReply> {
    ServedReply reply = serve_bytes(request, "abcdef");  // a server that ignores the generation asked for
    reply.headers.emplace_back("X-Goog-Generation", "18");
    return reply;
  };
  EXPECT_EQ((*source)->read(0, 3).error().code(), Code::kFailedPrecondition);
}

TEST(CloudSource, AWholeObjectMustHaveItsSum) {
  FakeCloud cloud;
  cloud.objects["x"] = "abcdef";
  cloud.sum = sum_of("abcdeg");
  const auto source = cloud.open();
  ASSERT_TRUE(source.has_value()) << source.error().message();
  EXPECT_EQ(text_of((*source)->read(1, 5)), "bcdef");
  EXPECT_EQ((*source)->read(0, 6).error().code(), Code::kDataLoss);
}

TEST(CloudSource, NamesWhatIsRefusedAndTheCure) {
  FakeCloud cloud;
  int status = 0;
  cloud.fault = [&](const ServedRequest&) { return std::optional(ServedReply{.status = status}); };
  const auto error_of = [&](int next, const std::string& token) {
    status = next;
    CloudOptions options = cloud.options();
    options.token = token;
    return open_cloud_source("gs://b/x", options).error();
  };
  EXPECT_EQ(error_of(403, ""), Error(Code::kPermissionDenied,
                                     "gs://b/x: access is denied (HTTP 403); give the account "
                                     "roles/storage.objectViewer on the bucket"));
  EXPECT_EQ(error_of(404, ""), Error(Code::kNotFound,
                                     "gs://b/x: does not exist (HTTP 404); check the name with: gcloud "
                                     "storage ls"));
  EXPECT_NE(error_of(401, "").message().find("set COMMISSURE_GCS_TOKEN"), std::string::npos);
  const Error expired = error_of(401, "secret");
  EXPECT_NE(expired.message().find("COMMISSURE_GCS_TOKEN is wrong or has expired"), std::string::npos);
  EXPECT_EQ(expired.message().find("secret"), std::string::npos);
  EXPECT_EQ(cloud.server.requests().back().headers.at("authorization"), "Bearer secret");
}

TEST(CloudSource, RefusesFactsThatMakeNoSense) {
  FakeCloud cloud;
  Json facts;
  cloud.fault = [&](const ServedRequest&) { return std::optional(ServedReply{.body = dump_json(facts)}); };
  const auto code_of = [&](Json next) {
    facts = std::move(next);
    return cloud.open().error().code();
  };
  EXPECT_EQ(code_of({{"size", "-1"}, {"generation", "1"}}), Code::kDataLoss);
  EXPECT_EQ(code_of({{"size", "99999999999999999999"}, {"generation", "1"}}), Code::kDataLoss);
  EXPECT_EQ(code_of({{"size", "9999999999999999"}, {"generation", "1"}}), Code::kDataLoss);
  EXPECT_EQ(code_of({{"size", 5}, {"generation", "1"}}), Code::kDataLoss);
  EXPECT_EQ(code_of({{"size", "5 "}, {"generation", "1"}}), Code::kDataLoss);
  EXPECT_EQ(code_of({{"size", "5"}}), Code::kDataLoss);
  EXPECT_EQ(code_of({{"size", "5"}, {"generation", "1&alt=json"}}), Code::kDataLoss);
  EXPECT_EQ(code_of({{"size", "5"}, {"generation", "1"}, {"crc32c", "AAA="}}), Code::kDataLoss);
  EXPECT_EQ(code_of({{"size", "0"}, {"generation", "1"}}), Code::kInvalidArgument);
  EXPECT_EQ(code_of(Json::array()), Code::kInvalidArgument);
}

TEST(CloudSource, RefusesWhatIsNoLocation) {
  const FakeCloud cloud;
  for (const std::string location : {"gs://", "gs:///x", "gs://b", "gs://b/", "gs://UP/x", "gs://b@c/x"}) {
    EXPECT_EQ(cloud.open(location).error().code(), Code::kInvalidArgument) << location;
  }
  EXPECT_TRUE(cloud.server.requests().empty());
}

TEST(CloudSource, ListsAFolderPageByPage) {
  FakeCloud cloud;
  cloud.pages[""] = {{"nextPageToken", "a/b"}};
  cloud.pages["a%2Fb"] = {{"items", {{{"name", "m/"}}, {{"name", "m/x.gguf"}}, {{"name", 5}}}}, {"nextPageToken", "c"}};
  cloud.pages["c"] = {{"items", {{{"name", "m/config.json"}}, {{"name", "other"}}, {{"name", "m/deep/y"}}}}};
  CloudAccess access(cloud.options());
  const auto names = list_cloud_folder(access, "gs://b/m/");
  ASSERT_TRUE(names.has_value()) << names.error().message();
  EXPECT_EQ(*names, (std::vector<std::string>{"x.gguf", "config.json"}));
  EXPECT_NE(cloud.server.requests()[0].target.find("prefix=m%2F"), std::string::npos);
}

TEST(CloudSource, AListingWithoutEndIsRefused) {
  FakeCloud cloud;
  cloud.pages[""] = cloud.pages["again"] = {{"nextPageToken", "again"}};
  CloudAccess access(cloud.options());
  EXPECT_EQ(list_cloud_folder(access, "gs://b/m/").error().code(), Code::kInvalidArgument);
  Json items = Json::array();
  for (int i = 0; i <= 10'000; ++i) items.push_back({{"name", fmt::format("m/{}", i)}});
  cloud.pages[""] = {{"items", items}};
  EXPECT_EQ(list_cloud_folder(access, "gs://b/m/").error().code(), Code::kInvalidArgument);
}

/// The environment of one test.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) { ::setenv(name, value.c_str(), 1); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;
  ~Variable() { ::unsetenv(name_); }

 private:
  const char* name_;
};

TEST(CloudSource, AFolderOpensLikeALocalOne) {
  const std::vector<testing::ToyTensor> tensors = {testing::counting_tensor("a", DType::kBF16, {4}, 9)};
  FakeCloud cloud;
  cloud.objects["st%2Fmodel.safetensors"] = testing::safetensors_bytes(tensors);
  cloud.objects["st%2Fconfig.json"] = R"({"model_type":"llama"})";
  cloud.pages[""] = {{"items", {{{"name", "st/config.json"}}, {{"name", "st/model.safetensors"}}}}};
  const Variable host("STORAGE_EMULATOR_HOST", cloud.server.url("/").substr(7));
  const Variable token("COMMISSURE_GCS_TOKEN", "secret");
  for (const std::string location : {"gs://b/st", "gs://b/st/", "gs://b/st/model.safetensors"}) {
    const auto checkpoint = Checkpoint::open(location);
    ASSERT_TRUE(checkpoint.has_value()) << checkpoint.error().message();
    EXPECT_EQ(text_of((*checkpoint)->load((*checkpoint)->tensors()[0])), tensors[0].bytes);
    EXPECT_EQ((*checkpoint)->read_side_file("tokenizer.json").error().code(), Code::kNotFound);
  }
  for (const ServedRequest& request : cloud.server.requests()) EXPECT_FALSE(request.headers.contains("authorization"));
  cloud.pages[""] = Json::object();
  EXPECT_EQ(Checkpoint::open("gs://b/st/").error().code(), Code::kNotFound);
}

TEST(TensorReader, ReadsAheadAndHandsOutInOrder) {
  std::vector<testing::ToyTensor> tensors;
  for (int i = 0; i < 40; ++i) {
    tensors.push_back(testing::counting_tensor(fmt::format("t{:02}", i), DType::kBF16, {4 + i}, i));
  }
  FakeCloud cloud;
  cloud.objects["st%2Fmodel.safetensors"] = testing::safetensors_bytes(tensors);
  cloud.objects["st%2Fconfig.json"] = R"({"model_type":"llama"})";
  cloud.pages[""] = {{"items", {{{"name", "st/config.json"}}, {{"name", "st/model.safetensors"}}}}};
  const Variable host("STORAGE_EMULATOR_HOST", cloud.server.url("/").substr(7));
  const auto checkpoint = Checkpoint::open("gs://b/st");
  ASSERT_TRUE(checkpoint.has_value()) << checkpoint.error().message();
  TensorReader reader(**checkpoint, (*checkpoint)->tensors());
  std::atomic<int> n_media = 0;
  cloud.fault = [&](const ServedRequest& request) -> std::optional<ServedReply> {
    if (is_media(request)) ++n_media;
    return std::nullopt;
  };
  for (const TensorInfo& tensor : (*checkpoint)->tensors()) {
    const auto same = std::ranges::find(tensors, tensor.name, &testing::ToyTensor::name);
    EXPECT_EQ(text_of(reader.next()), same->bytes) << tensor.name;
  }
  EXPECT_EQ(n_media, 40) << "each once";
  cloud.fault = [](const ServedRequest&) { return std::optional(ServedReply{.status = 403}); };
  TensorReader refused(**checkpoint, (*checkpoint)->tensors());
  EXPECT_EQ(refused.next().error().code(), Code::kPermissionDenied);
}

TEST(TensorReader, CountsWhatItReadsNotWhatIsMadeOfIt) {
  std::vector<testing::ToyTensor> tensors;
  for (int i = 0; i < 8; ++i) {
    tensors.push_back(testing::float_tensor(fmt::format("t{}", i), {4, 64}, std::vector<float>(256, 0.5f)));
  }
  FakeCloud cloud;
  cloud.objects["st%2Fmodel.safetensors"] = testing::safetensors_bytes(tensors);
  cloud.objects["st%2Fconfig.json"] = R"({"model_type":"llama"})";
  cloud.pages[""] = {{"items", {{{"name", "st/config.json"}}, {{"name", "st/model.safetensors"}}}}};
  const Variable host("STORAGE_EMULATOR_HOST", cloud.server.url("/").substr(7));
  const auto checkpoint = Checkpoint::open("gs://b/st");
  ASSERT_TRUE(checkpoint.has_value()) << checkpoint.error().message();
  for (const testing::ToyTensor& tensor : tensors) (*checkpoint)->quantise(tensor.name, DType::kNF4);
  EXPECT_EQ((*checkpoint)->stored_bytes((*checkpoint)->tensors()[0]), 1024u);
  TensorReader reader(**checkpoint, (*checkpoint)->tensors(), 2 * 1024);
  ASSERT_TRUE(reader.next().has_value());
  EXPECT_EQ(reader.n_ahead(), 2u) << "1 KiB each, though only 136 bytes of it are kept";
  for (int i = 1; i < 8; ++i) EXPECT_TRUE(reader.next().has_value());
  EXPECT_EQ(reader.n_ahead(), 0u);
}

}  // namespace
}  // namespace commissure
