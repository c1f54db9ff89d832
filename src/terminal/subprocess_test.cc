#include "terminal/subprocess.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <fstream>
#include <iterator>

#include "support/environment_guard.h"
#include "support/eventually.h"
#include "support/temp_folder.h"

namespace commissure {
namespace {

/// Programs whose output goes into a file.
class Subprocess : public ::testing::Test {
 protected:
  pid_t start(const std::string& script, std::vector<std::pair<std::string, std::string>> environment = {}) {
    const auto child = start_process(
        {.arguments = {"sh", "-c", script}, .environment = std::move(environment), .output = folder_.path("log")});
    EXPECT_TRUE(child.has_value());
    return *child;
  }
  std::string log() const {
    std::ifstream file(folder_.path("log"));
    return {std::istreambuf_iterator<char>(file), {}};
  }
  static int exit_of(pid_t child) {
    std::optional<int> status;
    testing::eventually([&] { return (status = poll_exit(child)).has_value(); });
    return status.value_or(-1);
  }
  testing::TempFolder folder_;
};

TEST_F(Subprocess, AppendsOutputAndErrorsToItsLog) {
  EXPECT_EQ(exit_of(start("echo one; echo two >&2; exit 3")), 3);
  EXPECT_EQ(exit_of(start("echo three")), 0);
  EXPECT_EQ(log(), "one\ntwo\nthree\n");
}

TEST_F(Subprocess, AddsToOurEnvironmentAndReplacesIt) {
  testing::EnvironmentGuard environment;
  environment.set("COMMISSURE_TEST_KEPT", "kept");
  environment.set("COMMISSURE_TEST_OTHER", "before");
  exit_of(start("echo $COMMISSURE_TEST_KEPT $COMMISSURE_TEST_OTHER; env | grep -c ^COMMISSURE_TEST_OTHER=",
                {{"COMMISSURE_TEST_OTHER", "after"}}));
  EXPECT_EQ(log(), "kept after\n1\n");
}

TEST_F(Subprocess, NamesAProgramThatIsNotThere) {
  const auto child = start_process({.arguments = {folder_.path("none")}, .environment = {}, .output = {}});
  ASSERT_FALSE(child.has_value());
  EXPECT_EQ(child.error().code(), Code::kNotFound);
  EXPECT_EQ(child.error().message(), "cannot start " + folder_.path("none") + ": No such file or directory");
}

TEST_F(Subprocess, LeavesOurSessionWhereItIsToldTo) {
  const auto child =
      start_process({.arguments = {"sleep", "1000"}, .environment = {}, .output = {}, .new_session = true});
  ASSERT_TRUE(child.has_value());
  EXPECT_EQ(getsid(*child), *child);
  end_process(*child, process_start_time(*child).value(), std::chrono::seconds(10));
  const pid_t inside = start("sleep 1000");
  EXPECT_EQ(getsid(inside), getsid(0));
  end_process(inside, process_start_time(inside).value(), std::chrono::seconds(10));
}

TEST_F(Subprocess, IsNamedByPidAndStartAsLongAsItRuns) {
  EXPECT_EQ(process_start_time(getpid()), process_start_time(getpid()));
  EXPECT_FALSE(process_start_time(0));
  const pid_t child = start("exit 0");
  EXPECT_TRUE(testing::eventually([&] { return !process_start_time(child); })) << "a zombie is gone too";
  EXPECT_EQ(exit_of(child), 0);
}

TEST_F(Subprocess, ThatIgnoresTheRequestIsKilled) {
  const pid_t child = start("trap '' TERM; echo ready; while :; do sleep 1; done");
  ASSERT_TRUE(testing::eventually([&] { return log() == "ready\n"; }));
  end_process(child, process_start_time(child).value(), std::chrono::milliseconds(20));
  EXPECT_FALSE(process_start_time(child));
}

TEST_F(Subprocess, WithAnotherStartIsAnotherProcessAndIsLeftAlone) {
  const pid_t child = start("sleep 1000");
  const unsigned long long started = process_start_time(child).value();
  end_process(child, started + 1, std::chrono::seconds(10));
  EXPECT_EQ(process_start_time(child), started);
  end_process(child, started, std::chrono::seconds(10));
  EXPECT_FALSE(process_start_time(child));
}

}  // namespace
}  // namespace commissure
