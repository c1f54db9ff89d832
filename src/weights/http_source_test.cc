#include "weights/http_source.h"

#include <gtest/gtest.h>

#include <atomic>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "core/scarce.h"
#include "support/checkpoint_writer.h"
#include "support/http_server.h"
#include "support/weights_testing.h"
#include "weights/checkpoint.h"
#include "weights/remote_source.h"

namespace commissure {
namespace {

using testing::HttpServer;
using testing::pattern;
using testing::serve_bytes;
using testing::ServedReply;
using testing::ServedRequest;
using testing::text_of;

constexpr std::chrono::milliseconds kNoPause{1};

TEST(HttpSource, ReadsRangesOverOneConnection) {
  const std::string bytes = pattern(100'000);
  const HttpServer server([&](const ServedRequest& request) { return serve_bytes(request, bytes); });
  const auto source = open_byte_source(server.url("/model.gguf?token=secret"), ReadMode::kMap);
  ASSERT_TRUE(source.has_value()) << source.error().message();
  EXPECT_EQ((*source)->size(), bytes.size());
  EXPECT_EQ((*source)->name(), server.url("/model.gguf"));
  EXPECT_FALSE((*source)->is_mapped());
  EXPECT_EQ(text_of((*source)->read(500, 70'000)), bytes.substr(500, 70'000));
  EXPECT_EQ(text_of((*source)->read(99'999, 1)), bytes.substr(99'999));
  EXPECT_EQ((*source)->bytes_read(), 70'001u);
  EXPECT_EQ((*source)->read(99'999, 2).error().code(), Code::kOutOfRange);
  EXPECT_EQ(server.n_connections(), 1);
}

TEST(HttpSource, GoesOnWhereAConnectionBroke) {
  const std::string bytes = pattern(50'000);
  int n_requests = 0;
  const HttpServer server([&](const ServedRequest& request) {
    ServedReply reply = serve_bytes(request, bytes);
    switch (++n_requests) {
      case 2: reply.cut_after = 20'000; break;
      case 3: reply = {.status = 503}; break;
      case 4: reply.cut_after = 0; break;
      default: break;
    }
    return reply;
  });
  const auto source = open_http_source(server.url("/x"), kNoPause);
  ASSERT_TRUE(source.has_value()) << source.error().message();
  EXPECT_EQ(text_of((*source)->read(100, 40'000)), bytes.substr(100, 40'000));
  EXPECT_EQ(server.requests().back().headers.at("range"), "bytes=20100-40099");
}

TEST(HttpSource, GivesUpAfterSomeFailures) {
  const std::string bytes = pattern(100);
  int n_requests = 0;
  const HttpServer server([&](const ServedRequest& request) {
    return ++n_requests == 1 ? serve_bytes(request, bytes) : ServedReply{.status = 500};
  });
  const auto source = open_http_source(server.url("/x"), kNoPause);
  ASSERT_TRUE(source.has_value());
  EXPECT_EQ((*source)->read(0, 10).error().code(), Code::kUnavailable);
  EXPECT_EQ(server.requests().size(), 6u);
}

TEST(HttpSource, NamesWhatTheServerRefuses) {
  ServedReply reply;
  const HttpServer server([&](const ServedRequest&) { return reply; });
  const auto code_of = [&](ServedReply next) {
    reply = std::move(next);
    return open_http_source(server.url("/x"), kNoPause).error().code();
  };
  EXPECT_EQ(code_of({.status = 404}), Code::kNotFound);
  EXPECT_EQ(code_of({.status = 401}), Code::kUnauthenticated);
  EXPECT_EQ(code_of({.status = 403}), Code::kPermissionDenied);
  EXPECT_EQ(code_of({.status = 200, .body = "whole"}), Code::kFailedPrecondition);
  EXPECT_EQ(code_of({.status = 206, .body = "x"}), Code::kFailedPrecondition);
  EXPECT_EQ(code_of({.status = 206, .headers = {{"Content-Range", "bytes 5-5/9"}}, .body = "x"}),
            Code::kFailedPrecondition);
  EXPECT_EQ(code_of({.status = 206, .headers = {{"Content-Range", "bytes 0-3/9"}}, .body = "abcd"}),
            Code::kFailedPrecondition);
}

/// An object whose parts there is no memory for.
class ScarceSource final : public RemoteSource {
 public:
  ScarceSource() : RemoteSource("scarce", kNoPause) { set_size(4 * kPartBytes); }

 private:
  Result<HttpReply> fetch(const HttpFetch&, const HttpReceiver&) override { throw std::bad_alloc(); }
  Error status_error(int) const override { return no_memory(); }
  Status check_version(const HttpReply&, std::uint64_t) override { return {}; }
};

TEST(RemoteSource, APartThatThereIsNoMemoryForFailsTheReadNotTheProcess) {
  ScarceSource source;
  const auto read = source.read(0, 4 * kPartBytes);  // in parts, on threads of its own
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code(), Code::kResourceExhausted);
}

TEST(HttpSource, RefusesAnObjectThatChanges) {
  std::string bytes = pattern(1000);
  const HttpServer server([&](const ServedRequest& request) {
    ServedReply reply = serve_bytes(request, bytes);
    bytes[0] = '!';
    return reply;
  });
  const auto source = open_http_source(server.url("/x"), kNoPause);
  ASSERT_TRUE(source.has_value());
  EXPECT_NE(text_of((*source)->read(0, 10)).find("has changed"), std::string::npos);
}

TEST(HttpSource, ServesSeveralThreads) {
  const std::string bytes = pattern(40'000);
  const HttpServer server([&](const ServedRequest& request) { return serve_bytes(request, bytes); });
  const auto source = open_http_source(server.url("/x"), kNoPause);
  ASSERT_TRUE(source.has_value());
  std::atomic<int> n_right{0};
  {
    std::vector<std::jthread> threads;
    for (std::uint64_t t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (std::uint64_t i = 0; i < 8; ++i) {
          const std::uint64_t offset = (t * 8 + i) * 1000;
          n_right += text_of((*source)->read(offset, 1000)) == bytes.substr(offset, 1000);
        }
      });
    }
  }
  EXPECT_EQ(n_right, 32);
}

TEST(HttpSource, OpensCheckpointsByUrl) {
  testing::GgufWriter writer;
  writer.text("general.architecture", "llama");
  for (unsigned i = 0; i < 4; ++i) {
    writer.tensor(testing::counting_tensor(fmt::format("t{}", i), DType::kF32, {8}, i));
  }
  const auto splits = writer.splits(2);
  const std::vector<testing::ToyTensor> tensors = {testing::counting_tensor("a", DType::kBF16, {4}, 9)};
  const HttpServer server([&](const ServedRequest& request) -> ServedReply {
    if (request.target == "/m-00001-of-00002.gguf?k=1") return serve_bytes(request, splits[0]);
    if (request.target == "/m-00002-of-00002.gguf?k=1") return serve_bytes(request, splits[1]);
    if (request.target == "/st/model.safetensors") return serve_bytes(request, testing::safetensors_bytes(tensors));
    if (request.target == "/st/config.json") return serve_bytes(request, R"({"model_type":"llama"})");
    return {.status = 404};
  });
  const auto split = Checkpoint::open(server.url("/m-00002-of-00002.gguf?k=1"));
  ASSERT_TRUE(split.has_value()) << split.error().message();
  EXPECT_EQ((*split)->tensors().size(), 4u);
  const auto shards = Checkpoint::open(server.url("/st/model.safetensors"));
  ASSERT_TRUE(shards.has_value()) << shards.error().message();
  EXPECT_EQ(text_of((*shards)->load((*shards)->tensors()[0])), tensors[0].bytes);
  EXPECT_EQ((*shards)->read_side_file("tokenizer.json").error().code(), Code::kNotFound);
}

}  // namespace
}  // namespace commissure
