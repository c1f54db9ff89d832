#include "core/trace_parent.h"

#include <gtest/gtest.h>

namespace commissure {
namespace {

constexpr std::string_view kText = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

TEST(TraceParent, ReadsWhatItWrites) {
  const auto parent = parse_traceparent(kText);
  ASSERT_TRUE(parent.has_value());
  EXPECT_EQ(parent->trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
  EXPECT_EQ(parent->span_id, "00f067aa0ba902b7");
  EXPECT_TRUE(parent->sampled);
  EXPECT_EQ(to_traceparent(*parent), kText);
  const TraceParent unsampled{parent->trace_id, parent->span_id, false};
  EXPECT_EQ(parse_traceparent(to_traceparent(unsampled)), unsampled);
}

TEST(TraceParent, TakesALaterVersionAsFarAsItIsKnown) {
  EXPECT_TRUE(parse_traceparent("01" + std::string(kText.substr(2)) + "-more").has_value());
  EXPECT_FALSE(parse_traceparent("01" + std::string(kText.substr(2)) + "more").has_value());
}

TEST(TraceParent, RefusesEveryCharacterThatIsOutOfPlace) {
  for (std::size_t at = 0; at < kText.size(); ++at) {
    std::string text(kText);
    text[at] = 'G';
    EXPECT_FALSE(parse_traceparent(text).has_value()) << text;
  }
  EXPECT_FALSE(parse_traceparent(kText.substr(1)).has_value());
  EXPECT_FALSE(parse_traceparent("").has_value());
}

TEST(TraceParent, NewSpansHaveIdsOfTheirOwn) {
  EXPECT_EQ(new_span_id().size(), 16u);
  EXPECT_NE(new_span_id(), new_span_id());
}

}  // namespace
}  // namespace commissure
