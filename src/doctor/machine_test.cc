#include "doctor/machine.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "support/temp_folder.h"

namespace commissure {
namespace {

/// A folder with the files of /proc and /sys that the machine is read from.
class MachineTest : public ::testing::Test {
 protected:
  void write(const std::string& file, std::string_view text) {
    std::filesystem::create_directories(std::filesystem::path(root_.path(file)).parent_path());
    root_.write(file, text);
  }

  MachineFacts read() const { return read_machine_facts(root_.path()); }

  testing::TempFolder root_;
};

TEST_F(MachineTest, ReadsWhatTheSystemSays) {
  write("proc/cpuinfo", "processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC 7713 \nmodel\t\t: 1\n");
  write("proc/meminfo", "MemTotal:       24000000 kB\nMemFree:         1000000 kB\nMemAvailable:   20000000 kB\n");
  write("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
  write("sys/fs/cgroup/memory.max", "4294967296\n");
  const MachineFacts machine = read();
  EXPECT_EQ(machine.cpu, "AMD EPYC 7713");
  EXPECT_EQ(machine.memory_bytes, 24'000'000ull * 1024);
  EXPECT_EQ(machine.available_bytes, 20'000'000ull * 1024);
  EXPECT_EQ(machine.huge_pages, "madvise");
  EXPECT_EQ(machine.memory_limit, std::uint64_t{4} << 30);
  EXPECT_EQ(machine.usable_bytes(), std::uint64_t{4} << 30);
}

TEST_F(MachineTest, LeavesUnknownWhatIsAbsentOrMakesNoSense) {
  const MachineFacts nothing = read();
  EXPECT_EQ(nothing.cpu, "");
  EXPECT_EQ(nothing.usable_bytes(), 0u);
  EXPECT_FALSE(nothing.memory_limit);

  write("proc/cpuinfo", "model name\nmodel name :\n: nothing\n");
  write("proc/meminfo", "MemTotal: much kB\nMemAvailable: 99999999999999999999999 kB\n");
  write("sys/kernel/mm/transparent_hugepage/enabled", "]always[\n");
  write("sys/fs/cgroup/memory.max", "max\n");
  const MachineFacts odd = read();
  EXPECT_EQ(odd.cpu, "");
  EXPECT_EQ(odd.memory_bytes, 0u);
  EXPECT_EQ(odd.available_bytes, 0u);
  EXPECT_EQ(odd.huge_pages, "");
  EXPECT_FALSE(odd.memory_limit);
}

TEST_F(MachineTest, AContainersLimitAboveWhatIsFreeGrantsNoMore) {
  MachineFacts machine{.memory_bytes = 8'000, .available_bytes = 3'000, .memory_limit = 5'000};
  EXPECT_EQ(machine.usable_bytes(), 3'000u);
  machine.available_bytes = 0;  // an old kernel does not say
  EXPECT_EQ(machine.usable_bytes(), 5'000u);
}

}  // namespace
}  // namespace commissure
