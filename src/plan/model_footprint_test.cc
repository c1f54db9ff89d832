#include "plan/model_footprint.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>

#include "support/temp_folder.h"

namespace commissure::testing {
namespace {

Result<MeasuredModel> measure(const std::string& more) {
  const TempFolder folder;
  const std::string path = folder.write("config.json", R"({"model_type":"gpt_oss","hidden_size":2880,
      "intermediate_size":2880,"num_attention_heads":64,"vocab_size":201088,)" +
                                                           more + "}");
  return measure_model(path, "", KvType::kBF16);
}

double all_bytes(const ModelFootprint& model) {
  double sum = model.head_bytes + model.embedding_bytes;
  for (const LayerFootprint& layer : model.layers) sum += layer.weight_bytes;
  return sum;
}

TEST(ModelFootprint, OfGptOssIsThatOfItsPublishedFiles) {
  struct Size {
    int n_layers, n_experts;
    double bytes, row_parameters;
  };
  for (const Size& size : {Size{24, 32, 13761264768.0, 3.6e9}, Size{36, 128, 65248815744.0, 5.1e9}}) {
    const std::string layers =
        fmt::format("\"num_hidden_layers\":{},\"num_local_experts\":{}", size.n_layers, size.n_experts);
    const auto model = measure(layers + R"(,"quantization_config":{"quant_method":"mxfp4"})");
    ASSERT_TRUE(model.has_value()) << model.error().message();
    EXPECT_EQ(all_bytes(model->footprint), size.bytes);
    EXPECT_EQ(model->footprint.weights, "MXFP4");
    double row_parameters = model->footprint.head_parameters;
    for (const LayerFootprint& layer : model->footprint.layers) row_parameters += layer.row_parameters();
    EXPECT_NEAR(row_parameters, size.row_parameters, 0.05e9) << "for speed: four experts of a layer";
    // Attention and what else every row reads, and four experts with their biases.
    EXPECT_NEAR(model->footprint.layers[0].read_bytes(model->footprint.layers[0].unread_experts(1)),
                2.0 * 26555904 + 4 * (3.0 * 2880 * 2880 * 17 / 32 + 3 * 2880 * 2), 1e6)
        << "what one row reads";
    const auto floats = measure(layers);
    EXPECT_GT(all_bytes(floats->footprint), 3.0 * size.bytes);
    EXPECT_EQ(floats->footprint.weights, "BF16");
  }
}

TEST(ModelFootprint, CountsRecurrentStatesWhereOthersHaveKeysAndValues) {
  const TempFolder folder;
  const std::string path = folder.write("config.json", R"({"model_type":"qwen3_5_text","hidden_size":1024,
      "intermediate_size":3584,"num_hidden_layers":24,"num_attention_heads":8,"num_key_value_heads":2,
      "vocab_size":248320,"linear_num_value_heads":16,"tie_word_embeddings":true})");
  const auto model = measure_model(path, "", KvType::kBF16);
  ASSERT_TRUE(model.has_value()) << model.error().message();
  double states = 0, keys = 0;
  for (const LayerFootprint& layer : model->footprint.layers) {
    states += layer.state_bytes;
    keys += layer.kv_position_bytes;
    EXPECT_EQ(layer.state_bytes > 0, layer.kv_position_bytes == 0);
  }
  EXPECT_EQ(keys, 12288);
  EXPECT_EQ(states, 2.0 * 18 * 4 * (3 * 6144 + 16 * 128 * 128));
  EXPECT_EQ(static_cast<std::int64_t>(all_bytes(model->footprint) - model->footprint.head_bytes), 1504786048 - 2 * 1024)
      << "the published size, without the last norm, which counts as the head's";
  Machine machine;
  machine.bytes_per_second = machine.ops_per_second = 1e12;
  const PlanWish few = {.streams = 1, .sequences = 4}, many = {.streams = 1, .sequences = 16};
  EXPECT_EQ(plan_stage(model->footprint, {0, 24}, machine, many, 1).kv_bytes -
                plan_stage(model->footprint, {0, 24}, machine, few, 1).kv_bytes,
            12 * states);
}

}  // namespace
}  // namespace commissure::testing
