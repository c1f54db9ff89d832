#include "core/core_lease.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <thread>

namespace commissure {
namespace {

class LeaseFile {
 public:
  LeaseFile() : path_(::testing::TempDir() + "lease-" + std::to_string(getpid()) + "-" + std::to_string(counter_++)) {}
  ~LeaseFile() { std::remove(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  static inline int counter_ = 0;
  std::string path_;
};

TEST(CoreLease, LetsOneHolderComputeAtATime) {
  const LeaseFile file;
  std::atomic<int> inside = 0;
  std::atomic<bool> overlapped = false;
  const auto work = [&] {
    const auto lease = *CoreLease::open(file.path());
    for (int i = 0; i < 500; ++i) {
      const auto hold = lease->acquire();
      if (inside.fetch_add(1) != 0) overlapped = true;
      inside.fetch_sub(1);
    }
  };
  {
    const std::jthread a(work), b(work), c(work);
  }
  EXPECT_FALSE(overlapped);
}

TEST(CoreLease, ServesTheWaitingBeforeTheOneThatJustReleased) {
  const LeaseFile file;
  std::atomic<int> served = 0;
  std::jthread other([&](const std::stop_token& stop) {
    const auto lease = *CoreLease::open(file.path());
    while (!stop.stop_requested()) {
      const auto hold = lease->acquire(stop);
      if (hold) ++served;
    }
  });
  while (served == 0) std::this_thread::yield();
  const int before = served;
  const auto lease = *CoreLease::open(file.path());
  for (int i = 0; i < 40; ++i) {
    const auto hold = lease->acquire();  // asked for again right after the release
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_GE(served - before, 20);
}

TEST(CoreLease, ComesBackFromAHolderThatDied) {
  const LeaseFile file;
  const auto lease = *CoreLease::open(file.path());
  const pid_t child = fork();
  if (child == 0) {
    const auto own = CoreLease::open(file.path());
    if (!own) _exit(1);
    const auto hold = (*own)->acquire();
    _exit(hold ? 0 : 1);  // without releasing
  }
  int status = -1;
  waitpid(child, &status, 0);
  ASSERT_EQ(status, 0);
  EXPECT_TRUE(lease->acquire().has_value());
  EXPECT_TRUE(lease->acquire().has_value());
}

TEST(CoreLease, StopsWaitingWhenAsked) {
  const LeaseFile file;
  const auto lease = *CoreLease::open(file.path());
  const auto hold = lease->acquire();
  std::stop_source stop;
  Code code = Code::kOk;
  std::jthread waiting([&] {
    const auto own = *CoreLease::open(file.path());
    const auto result = own->acquire(stop.get_token());
    code = result ? Code::kOk : result.error().code();
  });
  stop.request_stop();
  waiting.join();
  EXPECT_EQ(code, Code::kCancelled);
}

TEST(CoreLease, SaysThatTheDiskIsFull) {
  const LeaseFile file;
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = signal(SIGXFSZ, SIG_IGN);  // what is left is the error of a disk that takes no more
  const rlimit small{8, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const auto lease = CoreLease::open(file.path());
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  signal(SIGXFSZ, handler);
  ASSERT_FALSE(lease.has_value());
  EXPECT_NE(lease.error().message().find(file.path()), std::string::npos) << lease.error().message();
  EXPECT_TRUE(CoreLease::open(file.path()).has_value()) << "later, when there is room";
}

TEST(CoreLease, RefusesAFileThatIsNoLease) {
  const LeaseFile file;
  std::ofstream(file.path()) << "something else";
  const auto lease = CoreLease::open(file.path());
  ASSERT_FALSE(lease.has_value());
  EXPECT_EQ(lease.error().code(), Code::kFailedPrecondition);
}

}  // namespace
}  // namespace commissure
