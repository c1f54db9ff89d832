#include "deployment/hardware.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace commissure {
namespace {

const Machine& machine(const Catalogue& catalogue, const std::string& name) {
  return *std::ranges::find(catalogue.machines, name, &Machine::name);
}

/// By hand from the price list: L4 0.672 an hour, vCPU 0.0648, GiB 0.0072.
TEST(Catalogue, PricesAreThoseOfTheSheet) {
  const Catalogue catalogue = parse_catalogue(built_in_catalogue()).value();
  EXPECT_NEAR(machine(catalogue, "l4").usd_per_hour, 0.672 + 8 * 0.0648 + 32 * 0.0072, 0.02 * 1.42);
  EXPECT_NEAR(machine(catalogue, "rtx-pro-6000").usd_per_hour, 3.187, 0.02 * 3.187);
  EXPECT_NEAR(machine(catalogue, "cpu-8").usd_per_hour, 8 * 0.0648 + 32 * 0.0072, 0.02 * 0.75);
  EXPECT_TRUE(machine(catalogue, "l4").is_in("europe-west1"));
  EXPECT_FALSE(machine(catalogue, "rtx-pro-6000").is_in("europe-west1"));
  EXPECT_TRUE(machine(catalogue, "cpu-8").is_in("anywhere"));
}

TEST(Catalogue, NamesTheLineAndKeyThatAreWrong) {
  for (const auto& [text, part] : std::initializer_list<std::pair<const char*, const char*>>{
           {"[]", "must be a map"},
           {"prices: 3", "prices must be a map"},
           {"prices: {}\nload: {source_gb_s: x}", "line 2"},
           {"a: [", "line"},
           {"prices: {cpu_second: 1, memory_second: 1, storage_month: 1}\nload: {source_gb_s: 1, container_s: 1}\n"
            "hop_ms: 1\nmachines: [{name: m, cpus: 1}]",
            "memory_gib is missing"}}) {
    const auto catalogue = parse_catalogue(text);
    ASSERT_FALSE(catalogue) << text;
    EXPECT_NE(catalogue.error().message().find(part), std::string::npos) << catalogue.error().message();
  }
}

}  // namespace
}  // namespace commissure
