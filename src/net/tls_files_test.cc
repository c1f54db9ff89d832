#include "net/tls_files.h"

#include <gtest/gtest.h>

#include "support/temp_folder.h"
#include "support/test_ca.h"

namespace commissure {
namespace {

TEST(TlsFiles, ReadsAPairThatBelongsTogether) {
  const testing::TempFolder folder;
  const auto ca = testing::TestCa::make();
  const auto pair = read_tls_pair(folder.write("cert.pem", ca.certificate), folder.write("key.pem", ca.key));
  ASSERT_TRUE(pair.has_value()) << pair.error().message();
  EXPECT_EQ(pair->certificates, ca.certificate);
  EXPECT_EQ(pair->key, ca.key);
}

TEST(TlsFiles, TellsWhichFileIsWrongAndNotWhatIsInIt) {
  const testing::TempFolder folder;
  const auto ca = testing::TestCa::make();
  const auto certificate = folder.write("cert.pem", ca.certificate);
  const auto key = folder.write("key.pem", ca.key);
  const auto expect = [](const Result<TlsPair>& pair, std::string_view what) {
    ASSERT_FALSE(pair.has_value());
    EXPECT_NE(pair.error().message().find(what), std::string::npos) << pair.error().message();
    EXPECT_EQ(pair.error().message().find("BEGIN"), std::string::npos);
  };
  expect(read_tls_pair(certificate, "/nowhere/key.pem"), "cannot read /nowhere/key.pem");
  expect(read_tls_pair(key, key), "no PEM certificate");
  expect(read_tls_pair(certificate, certificate), "no PEM private key");
  expect(read_tls_pair(certificate, folder.write("other.pem", testing::TestCa::make().key)), "is not the key");
  const auto old = testing::TestCa::make(-1);
  expect(read_tls_pair(folder.write("old.pem", old.certificate), folder.write("old.key", old.key)), "has expired");
}

}  // namespace
}  // namespace commissure
