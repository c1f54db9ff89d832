#include "client/stage_table.h"

#include <gtest/gtest.h>

#include <sstream>

namespace commissure {
namespace {

const Json kReady = {{"stage", "a"},
                     {"layers", {0, 10}},
                     {"state", "ready"},
                     {"weight_bytes", 123456789012},
                     {"resident_bytes", 234567890123},
                     {"private_bytes", 123456789},
                     {"load_ms", 3599000},
                     {"isa", "avx512"},
                     {"device", "cpu"},
                     {"kv_dtype", "bf16"},
                     {"problem", ""}};

TEST(StageTable, HasAHeaderAndFitsEightyColumns) {
  const Json loading = {
      {"stage", "b"}, {"layers", {100, 120}}, {"state", "loading"}, {"weight_bytes", 200}, {"loaded_bytes", 200}};
  const std::string table = stage_table(Json::array({kReady, loading}));
  std::istringstream lines(table);
  std::string line;
  std::getline(lines, line);
  EXPECT_EQ(line.find("STAGE"), 0u) << table;
  while (std::getline(lines, line)) EXPECT_LE(line.size(), 80u) << line;
  EXPECT_NE(table.find("loading 100%"), std::string::npos) << table;
  EXPECT_NE(table.find("0-9"), std::string::npos) << "the last layer is inside";
}

TEST(StageTable, PutsAProblemBelowItsStage) {
  const Json dead = {
      {"stage", "b"}, {"layers", {10, 20}}, {"state", "dead"}, {"problem", "killed by signal 9 (Killed)"}};
  const std::string table = stage_table(Json::array({dead}));
  EXPECT_NE(table.find("dead"), std::string::npos);
  EXPECT_NE(table.find("\n  killed by signal 9"), std::string::npos) << table;
}

}  // namespace
}  // namespace commissure
