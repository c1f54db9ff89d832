#include "core/crc32c.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace commissure {
namespace {

std::uint32_t sum(const std::string& text, std::uint32_t before = 0) {
  return crc32c(std::as_bytes(std::span(text)), before);
}

TEST(Crc32c, KnowsThePublishedValues) {
  EXPECT_EQ(sum(""), 0u);
  EXPECT_EQ(sum("123456789"), 0xE3069283u);
  EXPECT_EQ(sum(std::string(32, '\0')), 0x8A9136AAu);  // RFC 3720, B.4
  EXPECT_EQ(sum(std::string(32, '\xFF')), 0x62A8AB43u);
}

TEST(Crc32c, GoesOnWhereItStopped) {
  const std::string text = "the same bits, whatever the cut";
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    EXPECT_EQ(sum(text.substr(cut), sum(text.substr(0, cut))), sum(text)) << "cut at " << cut;
  }
}

TEST(Crc32c, EqualsItsSlowTwin) {
  std::vector<std::byte> bytes(300);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 37 + i / 7);
  for (std::size_t begin = 0; begin < 9; ++begin) {
    for (std::size_t n = 0; n + begin <= bytes.size(); n += 1 + n / 9) {
      const auto part = std::span(bytes).subspan(begin, n);
      EXPECT_EQ(crc32c(part, 77), crc32c_by_table(part, 77)) << begin << " " << n;
    }
  }
}

}  // namespace
}  // namespace commissure
