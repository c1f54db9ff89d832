#include "core/base64.h"

#include <gtest/gtest.h>

namespace commissure {
namespace {

std::string encoded(std::string_view bytes) { return encode_base64(std::as_bytes(std::span(bytes))); }

TEST(Base64, TheExamplesOfItsStandardGoBothWays) {  // RFC 4648, section 10
  for (const auto& [bytes, text] : {std::pair("", ""),
                                    {"f", "Zg=="},
                                    {"fo", "Zm8="},
                                    {"foo", "Zm9v"},
                                    {"foob", "Zm9vYg=="},
                                    {"fooba", "Zm9vYmE="},
                                    {"foobar", "Zm9vYmFy"}}) {
    EXPECT_EQ(encoded(bytes), text);
    EXPECT_EQ(decode_base64(text).value_or("error"), bytes);
  }
}

TEST(Base64, EveryByteComesBack) {
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
  EXPECT_EQ(decode_base64(encoded(bytes)).value_or("error"), bytes);
}

TEST(Base64, NothingElseIsRead) {
  for (const char* text :
       {"Zg", "Zg=", "Zg===", "=", "====", "Z===", "Zg==Zg==", "Zm9v\n", "Zm9 v", "Zm-_", "Zh==", "Zm9=", "\xFFm9v"}) {
    EXPECT_FALSE(decode_base64(text).has_value()) << text;
  }
}

}  // namespace
}  // namespace commissure
