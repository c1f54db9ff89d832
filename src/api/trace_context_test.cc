#include "api/trace_context.h"

#include <gtest/gtest.h>

namespace commissure {
namespace {

constexpr const char* kTrace = "4bf92f3577b34da6a3ce929d0e0e4736";

TraceContext read(const std::string& name, const std::string& value) {
  HttpRequest request;
  request.headers = {{name, value}};
  return read_trace_context(request);
}

TEST(TraceContext, ReadsTraceparent) {
  const TraceContext context = read("traceparent", std::string("00-") + kTrace + "-00f067aa0ba902b7-01");
  EXPECT_EQ(context.trace_id, kTrace);
  EXPECT_EQ(context.parent_id, "00f067aa0ba902b7");
  EXPECT_EQ(context.span_id.size(), 16u);
  EXPECT_TRUE(context.sampled);
  EXPECT_FALSE(read("traceparent", std::string("00-") + kTrace + "-00f067aa0ba902b7-00").sampled);
}

TEST(TraceContext, ReadsGooglesHeader) {
  const TraceContext context = read("x-cloud-trace-context", std::string(kTrace) + "/255;o=1");
  EXPECT_EQ(context.trace_id, kTrace);
  EXPECT_EQ(context.parent_id, "00000000000000ff");
  EXPECT_TRUE(context.sampled);
  EXPECT_EQ(read("x-cloud-trace-context", kTrace).trace_id, kTrace);
}

TEST(TraceContext, TakesMalformedHeadersForNone) {
  const std::string trace = kTrace;
  for (const std::string& value :
       {std::string(), std::string("00-nonsense"), "ff-" + trace + "-00f067aa0ba902b7-01",
        "00-" + std::string(32, '0') + "-00f067aa0ba902b7-01", "00-" + trace + "-00f067aa0ba902b7-01-more"}) {
    EXPECT_TRUE(read("traceparent", value).trace_id.empty()) << value;
  }
  for (const std::string& value : {std::string("abc"), trace + "x", trace + "/x", trace + "/1x"}) {
    EXPECT_TRUE(read("x-cloud-trace-context", value).trace_id.empty()) << value;
  }
}

}  // namespace
}  // namespace commissure
