#include "serve/stage_security.h"

#include <gtest/gtest.h>

#include <map>

namespace commissure {
namespace {

SecuritySettings settings_of(const std::map<std::string, std::string>& values) {
  SecuritySettings settings;
  apply_environment(
      [&](const std::string& name) -> std::optional<std::string> {
        const auto it = values.find(name);
        return it == values.end() ? std::nullopt : std::optional(it->second);
      },
      settings);
  return settings;
}

TEST(StageSecurity, SendsTokensOnCloudRunAndOverTlsOnly) {
  MetadataServer tokens;
  const Endpoint https = parse_endpoint("https://b-1.run.app").value();
  const Endpoint plain = parse_endpoint("127.0.0.1:9000").value();
  const auto identity = [&](const SecuritySettings& settings, const Endpoint& next) {
    const auto security = client_security(settings, next, tokens);
    return security && security->identity ? security->identity->audience() : "";
  };
  EXPECT_EQ(identity(settings_of({{"K_SERVICE", "a"}}), https), "https://b-1.run.app");
  EXPECT_EQ(identity(settings_of({{"COMMISSURE_IDENTITY", "metadata"}}), https), "https://b-1.run.app");
  EXPECT_EQ(identity(settings_of({{"K_SERVICE", "a"}}), plain), "");
  EXPECT_EQ(identity(settings_of({}), https), "");
  EXPECT_EQ(identity(settings_of({{"K_SERVICE", "a"}, {"COMMISSURE_IDENTITY", "none"}}), https), "");
  EXPECT_EQ(client_security(settings_of({{"COMMISSURE_IDENTITY", "metadata"}}), plain, tokens).error().code(),
            Code::kInvalidArgument);
}

TEST(StageSecurity, NamesTheFlagThatIsMissing) {
  const std::map<std::string, std::string> rules = {{"COMMISSURE_REQUIRE_IDENTITY", "https://b, https://b2"},
                                                    {"COMMISSURE_ALLOWED_CALLERS", "a@x"}};
  EXPECT_EQ(settings_of(rules).audiences, (std::vector<std::string>{"https://b", "https://b2"}));
  const auto expect = [](const SecuritySettings& settings, std::string_view what) {
    const Status valid = validate(settings);
    ASSERT_FALSE(valid.has_value()) << what;
    EXPECT_NE(valid.error().message().find(what), std::string::npos) << valid.error().message();
  };
  expect(settings_of(rules), "--identity-keys");
  std::map<std::string, std::string> complete = rules;
  complete["COMMISSURE_IDENTITY_KEYS"] = "https://keys";
  EXPECT_TRUE(validate(settings_of(complete)).has_value());
  complete.erase("COMMISSURE_IDENTITY_KEYS");
  complete["K_SERVICE"] = "b";
  EXPECT_TRUE(validate(settings_of(complete)).has_value());
  expect(settings_of({{"COMMISSURE_REQUIRE_IDENTITY", "https://b"}, {"K_SERVICE", "b"}}), "--allowed-callers");
  expect(settings_of({{"COMMISSURE_IDENTITY_KEYS", "x"}}), "--require-identity");
  expect(settings_of({{"COMMISSURE_TLS_CERT", "x"}}), "--tls-key");
  expect(settings_of({{"COMMISSURE_IDENTITY", "maybe"}}), "auto, none or metadata");
}

}  // namespace
}  // namespace commissure
