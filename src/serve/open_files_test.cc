#include "serve/open_files.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

namespace commissure {
namespace {

TEST(OpenFiles, ALowLimitIsRaisedToWhatTheSystemAllows) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit low{256, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
  const int raised = raise_open_file_limit();
  rlimit after{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &after), 0);
  EXPECT_EQ(after.rlim_cur, before.rlim_max);
  EXPECT_EQ(raise_open_file_limit(), raised);
  setrlimit(RLIMIT_NOFILE, &before);
}

TEST(OpenFiles, ConnectionsLeaveFilesForTheProgram) {
  EXPECT_EQ(connections_within(1024), 896);
  EXPECT_EQ(connections_within(100), 50);
  EXPECT_EQ(connections_within(1), 1);
  EXPECT_EQ(connections_within(1 << 20), 8192);
}

}  // namespace
}  // namespace commissure
