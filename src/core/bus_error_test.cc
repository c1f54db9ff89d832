#include "core/bus_error.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "support/temp_folder.h"

namespace commissure {
namespace {

constexpr std::size_t kBytes = 64 << 10;

/// A file that is mapped whole and then cut short.
struct CutFile {
  explicit CutFile(const std::string& path) {
    const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    EXPECT_EQ(ftruncate(fd, kBytes), 0);
    memory = static_cast<char*>(mmap(nullptr, kBytes, PROT_READ, MAP_SHARED, fd, 0));
    EXPECT_EQ(ftruncate(fd, 0), 0);
    close(fd);
  }
  ~CutFile() { munmap(memory, kBytes); }
  int touch() const { return static_cast<volatile char*>(memory)[kBytes - 1]; }
  char* memory;
};

TEST(BusErrorDeathTest, NamesTheFileThatWasCutShort) {
  const testing::TempFolder folder;
  const CutFile other(folder.path("other.gguf")), file(folder.path("model.gguf"));
  const NamedMapping other_name(other.memory, kBytes, folder.path("other.gguf"));
  const NamedMapping name(file.memory, kBytes, folder.path("model.gguf"));
  const auto touch = [&] {
    explain_bus_errors();
    file.touch();
  };
  EXPECT_EXIT(touch(), ::testing::ExitedWithCode(1), "/model.gguf can no longer be read: it was cut short");
}

TEST(BusErrorDeathTest, SaysWhatItKnowsOfAMappingWithoutAName) {
  const testing::TempFolder folder;
  const CutFile file(folder.path("model.gguf"));
  {
    const NamedMapping gone(file.memory, kBytes, "gone");
  }
  const auto touch = [&] {
    explain_bus_errors();
    file.touch();
  };
  EXPECT_EXIT(touch(), ::testing::ExitedWithCode(1), "commissure: a mapped file can no longer be read");
}

TEST(BusErrorDeathTest, HoldsMoreMappingsThanItHasNamesFor) {
  std::vector<std::unique_ptr<NamedMapping>> names;
  for (int i = 0; i < 100; ++i) names.push_back(std::make_unique<NamedMapping>(&names, 1, std::string(1000, 'x')));
  names.clear();
  const testing::TempFolder folder;
  const CutFile file(folder.path("model.gguf"));
  const NamedMapping name(file.memory, kBytes, "the last one");
  const auto touch = [&] {
    explain_bus_errors();
    file.touch();
  };
  EXPECT_EXIT(touch(), ::testing::ExitedWithCode(1), "the last one can no longer be read");
}

}  // namespace
}  // namespace commissure
