#include "client/event_reader.h"

#include <gtest/gtest.h>

namespace commissure {
namespace {

TEST(EventReader, GivesTheSameEventsForAnyPieces) {
  const std::string body = ": ping\r\n\r\ndata: {\"a\":1}\n\ndata:{\"a\":2}\r\n\r\ndata: [DONE]\n\n";
  for (std::size_t piece = 1; piece <= body.size(); ++piece) {
    std::vector<int> seen;
    EventReader events([&](const Json& event) -> Status {
      seen.push_back(event.at("a").get<int>());
      return {};
    });
    for (std::size_t i = 0; i < body.size(); i += piece) ASSERT_TRUE(events.push(body.substr(i, piece)).has_value());
    EXPECT_EQ(seen, (std::vector<int>{1, 2})) << "pieces of " << piece;
  }
}

TEST(EventReader, RefusesWhatIsNotJson) {
  EventReader events([](const Json&) -> Status { return {}; });
  EXPECT_FALSE(events.push("data: {\"a\":\n").has_value());
}

TEST(ChoiceText, KnowsBothEndpointsAndReasoning) {
  EXPECT_EQ(choice_text({{"text", "x"}}), "x");
  EXPECT_EQ(choice_text({{"delta", {{"content", "y"}}}}), "y");
  EXPECT_EQ(choice_text({{"delta", {{"reasoning_content", "z"}}}}), "");
  EXPECT_EQ(choice_text({{"delta", {{"reasoning_content", "z"}}}}, true), "z");
  EXPECT_EQ(choice_text({{"delta", {{"content", nullptr}}}}), "");
  EXPECT_EQ(choice_thought({{"delta", {{"reasoning", "z"}, {"content", "y"}}}}), "z");
  EXPECT_EQ(choice_thought({{"text", "x"}}), "");
}

}  // namespace
}  // namespace commissure
