#include "net/span_exporter.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "support/failing_new.h"

namespace commissure {
namespace {

TEST(SpanExporter, WritesTheProtocolsJson) {
  Span span{.trace_id = std::string(32, 'a'), .span_id = std::string(16, 'b'), .name = "stage b"};
  span.start_unix_ns = 1'700'000'000'000'000'001;
  span.end_unix_ns = 1'700'000'000'000'000'009;
  span.attributes = {{"rows", 3}, {"stage", "b"}};
  const Json body = otlp_body({span}, "commissure", "stage b");
  const Json& resource = body["resourceSpans"][0];
  EXPECT_EQ(resource["resource"]["attributes"][0]["value"]["stringValue"], "commissure");
  EXPECT_EQ(resource["resource"]["attributes"][1]["value"]["stringValue"], "stage b");
  const Json& written = resource["scopeSpans"][0]["spans"][0];
  EXPECT_EQ(written["startTimeUnixNano"], "1700000000000000001");
  EXPECT_EQ(written["kind"], 1);
  EXPECT_EQ(written["attributes"][0]["value"]["intValue"], "3");
  EXPECT_EQ(written["attributes"][1]["value"]["stringValue"], "b");
  EXPECT_EQ(written["status"]["code"], 0);
}

TEST(SpanExporter, NeverWaitsForACollectorThatIsAway) {
  SpanExporter exporter("http://127.0.0.1:1/v1/traces", "commissure", "stage a");
  for (int i = 0; i < 2000; ++i) exporter.add({Span{.trace_id = "t", .span_id = "s", .name = "n"}});
}

#ifdef COMMISSURE_FAILING_NEW
TEST(SpanExporter, SpansThatThereIsNoMemoryForAreLostAndNothingElse) {
  SpanExporter exporter("http://127.0.0.1:1/v1/traces", "commissure", "stage a");
  {
    const FailingNew failing(1);  // for its thread
    exporter.add({Span{.trace_id = "t", .span_id = "s", .name = "n"}});
    for (int i = 0; i < 2000 && failing.n_failed() == 0; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    EXPECT_GT(failing.n_failed(), 0);
  }
  const FailingNew failing(1, FailingNew::Where::kHere);
  exporter.add({});  // the caller's own work goes on
}
#endif

}  // namespace
}  // namespace commissure
