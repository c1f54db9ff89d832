#include "client/wait_notice.h"

#include <gtest/gtest.h>

namespace commissure {
namespace {

TEST(AwaitedText, NamesTheFirstStageThatIsNotReadyAndWhatIsWithIt) {
  const Json loading = {{"stage", "b"}, {"state", "loading"}, {"weight_bytes", 200}, {"loaded_bytes", 86}};
  const Json gone = {{"stage", "c"}, {"state", "unreachable"}, {"problem", "connection refused"}};
  const Json ready = {{"stage", "a"}, {"state", "ready"}};
  EXPECT_EQ(awaited_text(Json{{"stages", {ready, loading, gone}}}), "stage b: loading 43%");
  EXPECT_EQ(awaited_text(Json{{"stages", {ready, gone}}}), "stage c: unreachable, connection refused");
  EXPECT_EQ(awaited_text(Json{{"stages", Json::array({ready})}}), "");
  EXPECT_EQ(awaited_text(Json{{"status", "ok"}}), "") << "another program's endpoint";
  EXPECT_EQ(awaited_text(Error(Code::kUnavailable, "nothing answers there")), "nothing answers there");
}

}  // namespace
}  // namespace commissure
