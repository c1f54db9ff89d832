#include "weights/hub_access.h"

#include <gtest/gtest.h>

namespace commissure {
namespace {

TEST(HubAccess, GivesItsTokenToTheHubAlone) {
  const HubAccess access{"https://hub.example", "hf_t"};
  EXPECT_EQ(access.authorization("https://hub.example/acme/toy/resolve/main/model.safetensors"), "Bearer hf_t");
  for (const char* other : {"https://hub.example.evil/acme", "http://hub.example/acme", "https://cdn.example/acme"}) {
    EXPECT_EQ(access.authorization(other), "") << other;
  }
  EXPECT_EQ(HubAccess({"https://hub.example", ""}).authorization("https://hub.example/acme"), "");
}

}  // namespace
}  // namespace commissure
