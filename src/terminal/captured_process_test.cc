#include "terminal/captured_process.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <array>
#include <csignal>
#include <cstdlib>

#include "support/eventually.h"
#include "terminal/stop_signal.h"
#include "terminal/subprocess.h"

namespace commissure {
namespace {

ProgramCall shell(const std::string& script) { return {.arguments = {"sh", "-c", script}}; }

TEST(RunCaptured, KeepsOutputErrorsAndStatusApart) {
  const auto answer = run_captured(shell("echo out; echo err >&2; exit 7"));
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->output, "out\n");
  EXPECT_EQ(answer->errors, "err\n");
  EXPECT_EQ(answer->status, 7);
  EXPECT_FALSE(answer->good());
}

TEST(RunCaptured, TellsADeathByASignal) {
  EXPECT_EQ(run_captured(shell("kill -KILL $$"))->status, 128 + SIGKILL);
  EXPECT_TRUE(run_captured(shell("true"))->good());
}

TEST(RunCaptured, TakesMoreThanAPipeHolds) {
  const std::string large(300'000, 'x');
  const auto answer = run_captured({.arguments = {"sh", "-c", "tee /dev/stderr"}, .input = large});
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->output, large);
  EXPECT_EQ(answer->errors, large);
}

TEST(RunCaptured, GivesItsInputByPathToo) {
  EXPECT_EQ(run_captured({.arguments = {"cat", "/dev/stdin"}, .input = "key\n"})->output, "key\n");
  EXPECT_EQ(run_captured(shell("cat"))->output, "") << "no input is an empty one, never ours";
}

TEST(RunCaptured, HandsOnEachLineOfItsErrors) {
  std::vector<std::string> lines;
  const auto answer = run_captured(shell("printf 'one\\ntwo\\nrest' >&2"), [&](std::string_view line) {
    if (!line.empty()) lines.emplace_back(line);
  });
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(lines, (std::vector<std::string>{"one", "two"})) << "the rest is no line yet";
  EXPECT_EQ(answer->errors, "one\ntwo\nrest");
}

TEST(RunCaptured, NamesAProgramThatIsNotThere) {
  const auto answer = run_captured({.arguments = {"no-such-program"}});
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().code(), Code::kNotFound);
  EXPECT_EQ(answer.error().message(), "cannot start no-such-program: No such file or directory");
}

TEST(RunCaptured, EndsAProgramThatTakesTooLong) {
  ProgramCall call = shell("sleep 1000");
  call.limit = std::chrono::seconds(0);
  const auto answer = run_captured(call);
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().code(), Code::kDeadlineExceeded);
  EXPECT_EQ(answer.error().message(), "no end after 0 s: sh -c 'sleep 1000'");
}

/// A person who may stop the call; afterwards signals do what they did before.
class StoppedCall : public ::testing::Test {
 protected:
  StoppedCall() {
    for (std::size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], nullptr, &before_[i]);
    catch_stop_signals();
  }
  ~StoppedCall() override {
    forget_stop_signal();
    for (std::size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &before_[i], nullptr);
  }

 private:
  static constexpr std::array<int, 3> kSignals = {SIGINT, SIGTERM, SIGHUP};
  std::array<struct sigaction, 3> before_{};
};

TEST_F(StoppedCall, EndsTheProgramAndAllThatItStarted) {
  pid_t grandchild = 0;
  const auto answer = run_captured(shell("sleep 1000 & echo $! >&2; wait"), [&](std::string_view line) {
    if (line.empty()) return;
    grandchild = std::atoi(std::string(line).c_str());
    raise(SIGTERM);
  });
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().code(), Code::kCancelled);
  ASSERT_GT(grandchild, 0);
  EXPECT_TRUE(testing::eventually([&] { return !process_start_time(grandchild); })) << grandchild;
}

TEST_F(StoppedCall, IsNotBegunAgainBeforeTheStopIsForgotten) {
  raise(SIGHUP);
  EXPECT_EQ(stop_signal(), SIGHUP);
  const auto answer = run_captured(shell("echo not seen"));
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().message(), "interrupted; the same command goes on from here");
  forget_stop_signal();
  EXPECT_TRUE(run_captured(shell("true")).has_value());
}

}  // namespace
}  // namespace commissure
