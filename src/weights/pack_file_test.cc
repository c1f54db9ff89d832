#include "weights/pack_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "support/temp_folder.h"

namespace commissure {
namespace {

using testing::TempFolder;

std::vector<std::byte> some_bytes(std::size_t n, int seed) {
  std::vector<std::byte> bytes(n);
  for (std::size_t i = 0; i < n; ++i) bytes[i] = static_cast<std::byte>(i * 7 + seed);
  return bytes;
}

struct ToyPack {
  std::vector<std::byte> source = some_bytes(1000, 1), packed = some_bytes(777, 2), other = some_bytes(10, 3);

  Status write(const std::string& path) const {
    const auto writer = TRY(PackWriter::create(path, "r16-1", "f00d"));
    TRY(writer->add("a.weight", source, packed));
    TRY(writer->add("b.weight", other, source));
    return writer->finish();
  }
};

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

Code open_code(const std::string& path, std::string_view layout = "r16-1", const std::string& fingerprint = "f00d") {
  const auto pack = PackFile::open(path, layout, fingerprint);
  return pack ? Code::kOk : pack.error().code();
}

TEST(PackFile, GivesBackWhatWasPackedAligned) {
  const TempFolder folder;
  const ToyPack toy;
  ASSERT_TRUE(toy.write(folder.path("m.pack")).has_value());
  const auto pack = PackFile::open(folder.path("m.pack"), "r16-1", "f00d");
  ASSERT_TRUE(pack.has_value()) << pack.error().message();
  const auto a = (*pack)->find("a.weight", toy.source, 777);
  const auto b = (*pack)->find("b.weight", toy.other, 1000);
  ASSERT_TRUE(a.has_value() && b.has_value());
  EXPECT_TRUE(std::ranges::equal(a->bytes, toy.packed));
  EXPECT_TRUE(std::ranges::equal(b->bytes, toy.source));
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(b->bytes.data()) % 64, 0u);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1) << "a temporary file was left";
}

TEST(PackFile, RefusesATensorPackedFromOtherBytes) {
  const TempFolder folder;
  ToyPack toy;
  ASSERT_TRUE(toy.write(folder.path("m.pack")).has_value());
  const auto pack = PackFile::open(folder.path("m.pack"), "r16-1", "f00d").value();
  EXPECT_EQ(pack->find("c.weight", toy.source, 777).error().code(), Code::kNotFound);
  EXPECT_EQ(pack->find("a.weight", toy.source, 778).error().code(), Code::kFailedPrecondition);
  toy.source.back() ^= std::byte{1};
  EXPECT_EQ(pack->find("a.weight", toy.source, 777).error().code(), Code::kFailedPrecondition);
}

TEST(PackFile, RefusesAnotherModelLayoutVersionOrFile) {
  const TempFolder folder;
  ASSERT_TRUE(ToyPack().write(folder.path("m.pack")).has_value());
  EXPECT_EQ(open_code(folder.path("m.pack")), Code::kOk);
  EXPECT_EQ(open_code(folder.path("m.pack"), "r16-2"), Code::kFailedPrecondition);
  EXPECT_EQ(open_code(folder.path("m.pack"), "r16-1", "beef"), Code::kFailedPrecondition);
  EXPECT_EQ(open_code(folder.path("none.pack")), Code::kNotFound);
  std::string bytes = read_file(folder.path("m.pack"));
  bytes[8] = 9;
  EXPECT_EQ(open_code(folder.write("version.pack", bytes)), Code::kFailedPrecondition);
  EXPECT_EQ(open_code(folder.write("text.pack", std::string(100, 'x'))), Code::kDataLoss);
}

TEST(PackFile, SeesEveryCutAndEveryDamagedByteOfTheTable) {
  const TempFolder folder;
  ASSERT_TRUE(ToyPack().write(folder.path("m.pack")).has_value());
  const std::string whole = read_file(folder.path("m.pack"));
  for (std::size_t n = 1; n < whole.size(); n += 61) {
    EXPECT_EQ(open_code(folder.write("cut.pack", whole.substr(0, n))), Code::kDataLoss) << n;
  }
  for (std::size_t at = whole.size() - 90; at < whole.size(); at += 7) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    EXPECT_EQ(open_code(folder.write("damaged.pack", damaged)), Code::kDataLoss) << at;
  }
}

TEST(PackFile, SeesEveryDamagedBitOfAMatrix) {
  const TempFolder folder;
  const ToyPack toy;
  ASSERT_TRUE(toy.write(folder.path("m.pack")).has_value());
  const std::string whole = read_file(folder.path("m.pack"));
  for (std::size_t at = 64; at < 64 + toy.packed.size(); at += 3) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ (1 << at % 8));
    const auto pack = PackFile::open(folder.write("damaged.pack", damaged), "r16-1", "f00d").value();
    const auto a = pack->find("a.weight", toy.source, 777);
    ASSERT_FALSE(a.has_value()) << at;
    EXPECT_EQ(a.error().code(), Code::kDataLoss);
    EXPECT_NE(a.error().message().find("damaged.pack: tensor a.weight"), std::string::npos) << a.error().message();
    EXPECT_TRUE(pack->find("b.weight", toy.other, 1000).has_value()) << "the others are as they were";
  }
}

TEST(PackFile, AnUnfinishedWriterLeavesNothing) {
  const TempFolder folder;
  {
    const auto writer = PackWriter::create(folder.path("m.pack"), "r16-1", "f00d").value();
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  EXPECT_FALSE(PackWriter::create(folder.path("no/such/folder/m.pack"), "r16-1", "f00d").has_value());
}

}  // namespace
}  // namespace commissure
