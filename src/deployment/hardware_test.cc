#include "deployment/hardware.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

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

/// A catalogue with one machine; `machine` is what its map holds beside name and numbers.
Result<Catalogue> one_machine(const std::string& machine, const std::string& more = "") {
  return parse_catalogue(
      "date: 2026-01-01\nprices: {cpu_second: 0.001, memory_second: 0.0001, storage_month: 0.02}\n"
      "load: {source_gb_s: 0.5, container_s: 3, driver_s: 10}\nhop_ms: 2\n" +
      more + "machines: [{name: m, cpus: 4, memory_gib: 16, usable_gb: 12, read_gb_s: 20, tera_ops: 1, " + machine +
      "}]\n");
}

TEST(Catalogue, TurnsItsUnitsIntoSecondsAndBytes) {
  const Catalogue catalogue = one_machine("efficiency: 0.5, gpu: g, gpu_second: 0.001, regions: [r1, r2]").value();
  EXPECT_EQ(catalogue.date, "2026-01-01");
  EXPECT_DOUBLE_EQ(catalogue.source_bytes_per_second, 5e8);
  EXPECT_DOUBLE_EQ(catalogue.image_bytes_per_second, 5e8) << "as the bucket's where it is not said";
  EXPECT_DOUBLE_EQ(catalogue.hop_seconds, 0.002);
  EXPECT_DOUBLE_EQ(catalogue.usd_per_cpu_hour, 3.6);
  const Machine& machine = catalogue.machines.front();
  EXPECT_DOUBLE_EQ(machine.bytes_per_second, 1e10);
  EXPECT_DOUBLE_EQ(machine.ops_per_second, 1e12);
  EXPECT_DOUBLE_EQ(machine.usable_bytes, 12e9);
  EXPECT_DOUBLE_EQ(machine.usd_per_hour, 4 * 3.6 + 16 * 0.36 + 3.6);
  EXPECT_DOUBLE_EQ(machine.start_seconds, 13) << "a GPU's driver starts behind the container";
  EXPECT_TRUE(machine.is_in("r2"));
  EXPECT_FALSE(machine.is_in("r3"));
}

TEST(Catalogue, RefusesNumbersThatThePlannerWouldDivideBy) {
  for (const auto& [machine, more, part] : std::initializer_list<std::array<const char*, 3>>{
           {"efficiency: 0", "", "above zero"},
           {"efficiency: -1", "", "efficiency must be a number, zero or more"},
           {"efficiency: .inf", "", "efficiency must be a number"},
           {"efficiency: 1, gpu: g", "", "gpu_second is missing"},
           {"efficiency: 1", "shapes: [{cpus: 1, least_gib: 4, most_gib: 2}]\n", "least values below the most"},
           {"efficiency: 1", "shapes: [3]\n", "a shape must be a map"}}) {
    const auto catalogue = one_machine(machine, more);
    ASSERT_FALSE(catalogue) << machine << more;
    EXPECT_NE(catalogue.error().message().find(part), std::string::npos) << catalogue.error().message();
  }
}

TEST(ShapedMachine, IsTheNearestInProportion) {
  const Catalogue catalogue = parse_catalogue(built_in_catalogue()).value();
  const Machine& eight = machine(catalogue, "cpu-8");
  const Machine six = shaped_machine(catalogue, "", 6, 24).value();
  EXPECT_EQ(six.name, "cpu-6");
  EXPECT_EQ(six.cpus, 6);
  EXPECT_DOUBLE_EQ(six.usd_per_hour, 6 * catalogue.usd_per_cpu_hour + 24 * catalogue.usd_per_gib_hour);
  const Machine same = shaped_machine(catalogue, "", 8, 32).value();
  EXPECT_DOUBLE_EQ(same.bytes_per_second, eight.bytes_per_second);
  EXPECT_NEAR(same.usd_per_hour, eight.usd_per_hour, 1e-9);
  const Machine half = shaped_machine(catalogue, "", 8, 16).value();
  EXPECT_DOUBLE_EQ(half.usable_bytes, eight.usable_bytes / 2);
  EXPECT_DOUBLE_EQ(half.bytes_per_second, eight.bytes_per_second) << "memory does not make it faster";
}

TEST(ShapedMachine, KeepsTheSpeedOfItsGpu) {
  const Catalogue catalogue = parse_catalogue(built_in_catalogue()).value();
  const Machine& l4 = machine(catalogue, "l4");
  const Machine shaped = shaped_machine(catalogue, "nvidia-l4", 4, 16).value();
  EXPECT_EQ(shaped.name, "l4");
  EXPECT_EQ(shaped.bytes_per_second, l4.bytes_per_second);
  EXPECT_EQ(shaped.usable_bytes, l4.usable_bytes);
  EXPECT_LT(shaped.usd_per_hour, l4.usd_per_hour);
  const auto none = shaped_machine(one_machine("efficiency: 1").value(), "nvidia-h100", 4, 16);
  EXPECT_EQ(none.error().message(), "the catalogue of 2026-01-01 has no GPU nvidia-h100; its GPUs: none");
}

}  // namespace
}  // namespace commissure
