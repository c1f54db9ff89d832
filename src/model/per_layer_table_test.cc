#include "model/per_layer_table.h"

#include <gtest/gtest.h>

#include "kernels/quant.h"
#include "support/checkpoint_writer.h"
#include "support/temp_folder.h"

namespace commissure::testing {
namespace {

constexpr int kTableTokens = 300, kTableLayers = 6, kOwnWidth = 32;

/// Layers [first, last) of a table with a row for each of 300 tokens, 32 values for each of six layers.
ExpectedTensor columns(int first, int last) {
  return {TensorRole::kPerLayerTable,
          -1,
          "table",
          {kTableTokens, (last - first) * kOwnWidth},
          {kTableTokens, kTableLayers * kOwnWidth},
          first * kOwnWidth};
}

std::unique_ptr<Checkpoint> checkpoint_with(const TempFolder& folder, DType dtype, ReadMode mode) {
  GgufWriter writer;
  writer.text("general.architecture", "gemma4");
  writer.tensor(counting_tensor("before", DType::kF32, {3}, 5));
  writer.tensor(counting_tensor("table", dtype, {kTableTokens, kTableLayers * kOwnWidth}, 7));
  auto checkpoint = Checkpoint::open(folder.write("model.gguf", writer.bytes()), mode);
  EXPECT_TRUE(checkpoint.has_value()) << checkpoint.error().message();
  return std::move(*checkpoint);
}

TEST(PerLayerTable, GivesItsLayersShareOfATokensRowMappedOrRead) {
  for (const DType dtype : {DType::kBF16, DType::kF32, DType::kQ8_0}) {
    const TempFolder folder;
    for (const ReadMode mode : {ReadMode::kMap, ReadMode::kRead}) {
      const auto checkpoint = checkpoint_with(folder, dtype, mode);
      const TensorInfo& whole = *checkpoint->find("table");
      const ByteRange bytes = *checkpoint->load(whole);
      const auto table = PerLayerTable::load(*checkpoint, columns(2, 5), whole, {});
      ASSERT_TRUE(table.has_value()) << table.error().message();
      ASSERT_EQ(table->n_cols(), 3 * kOwnWidth);
      for (const int token : {0, 1, 255, kTableTokens - 1}) {
        std::vector<float> row(kTableLayers * kOwnWidth), found(3 * kOwnWidth);
        dequantise(dtype, bytes.bytes.data() + to_size(token) * row_bytes(dtype, kTableLayers * kOwnWidth), row);
        table->gather(token, 0.5f, found);
        for (int i = 0; i < 3 * kOwnWidth; ++i) {
          const float expected = 0.5f * row[2 * kOwnWidth + i];
          EXPECT_EQ(std::bit_cast<std::uint32_t>(found[i]), std::bit_cast<std::uint32_t>(expected))
              << token << " " << i;
        }
      }
    }
  }
}

TEST(PerLayerTable, AMappedTableIsNotReadAndACopyHoldsItsColumnsOnly) {
  const TempFolder folder;
  const auto mapped = checkpoint_with(folder, DType::kBF16, ReadMode::kMap);
  std::uint64_t n_reports = 0;
  const auto count = [&](std::uint64_t) { return ++n_reports > 0; };
  ASSERT_TRUE(PerLayerTable::load(*mapped, columns(0, 1), *mapped->find("table"), count).has_value());
  EXPECT_EQ(n_reports, 0u);
  const auto read = checkpoint_with(folder, DType::kBF16, ReadMode::kRead);
  std::uint64_t last = 0;
  const auto note = [&](std::uint64_t done) { return (last = done) > 0; };
  ASSERT_TRUE(PerLayerTable::load(*read, columns(0, 1), *read->find("table"), note).has_value());
  EXPECT_EQ(last, read->find("table")->n_bytes);
  const auto stopped = PerLayerTable::load(*read, columns(0, 1), *read->find("table"), [](auto) { return false; });
  ASSERT_FALSE(stopped.has_value());
  EXPECT_EQ(stopped.error().code(), Code::kCancelled);
}

TEST(PerLayerTable, RefusesColumnsThatWouldCutABlock) {
  const TempFolder folder;
  const auto checkpoint = checkpoint_with(folder, DType::kQ8_0, ReadMode::kMap);
  ExpectedTensor wrong = columns(2, 5);
  wrong.first = 16;
  const auto table = PerLayerTable::load(*checkpoint, wrong, *checkpoint->find("table"), {});
  ASSERT_FALSE(table.has_value());
  EXPECT_NE(table.error().message().find("blocks of 32"), std::string::npos) << table.error().message();
}

}  // namespace
}  // namespace commissure::testing
