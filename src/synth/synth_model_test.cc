#include "synth/synth_model.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "core/sha256.h"
#include "model/decoder_spec.h"
#include "model/tensor_names.h"
#include "support/published_models.h"
#include "support/spec_text.h"
#include "support/temp_folder.h"
#include "synth/plain_tokenizer.h"
#include "synth/synth_config.h"
#include "text/tokenizer.h"
#include "weights/model_writer.h"

namespace commissure::testing {
namespace {

std::unique_ptr<Checkpoint> make(const std::string& name, const Checkpoint* tokenizer = nullptr) {
  const auto request = parse_synth_name(name);
  EXPECT_TRUE(request.has_value()) << (request ? "" : request.error().message());
  auto model = make_synth_model(*request, tokenizer);
  EXPECT_TRUE(model.has_value()) << name << ": " << (model ? "" : model.error().message());
  return *std::move(model);
}

std::string bytes_of(const Checkpoint& model, const TensorInfo& tensor) {
  const auto range = model.load(tensor);
  EXPECT_TRUE(range.has_value());
  return {reinterpret_cast<const char*>(range->bytes.data()), range->bytes.size()};
}

std::string sha_of_tensors(const Checkpoint& model) {
  Sha256 hash;
  for (const TensorInfo& tensor : model.tensors()) hash.update(bytes_of(model, tensor));
  return hash.finish();
}

/// "model.layers.3.x" and "blk.3.x" with `by` more.
std::string moved(const std::string& name, int by) {
  for (const std::string mark : {"layers.", "blk."}) {
    const std::size_t at = name.find(mark);
    if (at == std::string::npos) continue;
    std::size_t end = 0;
    const int layer = std::stoi(name.substr(at + mark.size()), &end);
    return name.substr(0, at) + mark + std::to_string(layer + by) + name.substr(at + mark.size() + end);
  }
  return name;
}

/// Layers `first` to `first` + n - 1.
struct Part {
  const char* shape;
  int first = 4, n = 3;
};

TEST(SynthModel, LayersAloneHaveTheBytesThatTheyHaveInTheWhole) {
  for (const Part& part_of : std::initializer_list<Part>{{"gemma-3-270m"},
                                                         {"phi-3-mini"},
                                                         {"llama-3.2-1b"},
                                                         {"qwen3-30b-a3b"},
                                                         {"gpt-oss-20b"},
                                                         {"gemma-4-26b-a4b", 4, 2},
                                                         {"gemma-4-e2b", 12, 8}}) {
    for (const std::string format : {"safetensors", "gguf"}) {
      const std::string options = "?seed=5&scale-down=64&format=" + format, shape = part_of.shape;
      const std::string span = fmt::format("@{}-{}", part_of.first, part_of.first + part_of.n - 1);
      const auto whole = make("synth:" + shape + options), part = make("synth:" + shape + span + options);
      EXPECT_LT(part->tensors().size(), whole->tensors().size());
      for (const TensorInfo& tensor : part->tensors()) {
        if (tensor.name.find("per_layer_model") != std::string::npos) continue;  // one for all layers, as the next
        if (tensor.name.find("per_layer_token") != std::string::npos) continue;
        if (tensor.name.find("tokens_per_layer") != std::string::npos) continue;
        const TensorInfo* same = whole->find(moved(tensor.name, part_of.first));
        ASSERT_NE(same, nullptr) << tensor.name;
        ASSERT_EQ(bytes_of(*part, tensor), bytes_of(*whole, *same)) << tensor.name;
      }
      EXPECT_NE(part->fingerprint(), whole->fingerprint());
      EXPECT_EQ(read_decoder_spec(*part)->n_layers(), part_of.n);
    }
  }
}

TEST(SynthModel, PerLayerEmbeddingsOfSomeLayersAreTheirShareOfThoseOfAll) {
  constexpr std::size_t kFirst = 12, kLayers = 8, kAll = 35, kWidth = 32;
  for (const std::string format : {"safetensors", "gguf"}) {
    const std::string options = "?scale-down=32&format=" + format;
    const auto whole = make("synth:gemma-4-e2b" + options), part = make("synth:gemma-4-e2b@12-19" + options);
    const auto find = [](const Checkpoint& model, bool is_table) {
      const DecoderSpec spec = *read_decoder_spec(model);
      for (const ExpectedTensor& tensor : expected_tensors(spec, {0, spec.n_layers(), true, true})) {
        if (!is_table && tensor.role == TensorRole::kPerLayerProjection)
          return bytes_of(model, *model.find(tensor.name));
      }
      return bytes_of(model, *model.find(expected_table(spec, {0, spec.n_layers(), true, true})->name));
    };
    const std::string rows = find(*whole, false), few_rows = find(*part, false);
    const std::size_t row_bytes = rows.size() / (kAll * kWidth);
    EXPECT_EQ(few_rows, rows.substr(kFirst * kWidth * row_bytes, kLayers * kWidth * row_bytes));
    const std::string table = find(*whole, true), few = find(*part, true);
    const std::size_t all_bytes = kAll * kWidth * 2, few_bytes = kLayers * kWidth * 2;
    ASSERT_EQ(few.size() / few_bytes, table.size() / all_bytes);
    for (std::size_t token = 0; token < few.size() / few_bytes; ++token) {
      ASSERT_EQ(few.substr(token * few_bytes, few_bytes),
                table.substr(token * all_bytes + kFirst * kWidth * 2, few_bytes))
          << token;
    }
  }
}

TEST(SynthModel, LayersThatCannotStandAloneAreRefusedWithThoseThatCan) {
  const auto refusal = [](const std::string& name) {
    const auto model = make_synth_model(*parse_synth_name(name));
    return model ? "made" : model.error().message();
  };
  for (const char* name : {"synth:gemma-4-e2b@20-34", "synth:gemma-4-e2b@14-19", "synth:gemma-4-e2b@15-15"}) {
    EXPECT_NE(refusal(name).find("begin at 13 or before"), std::string::npos) << refusal(name);
  }
  EXPECT_NE(refusal("synth:gemma-4-e4b@0-20?scale-down=32").find("end at 23, or say format gguf"), std::string::npos)
      << refusal("synth:gemma-4-e4b@0-20?scale-down=32");
  const auto gguf = make("synth:gemma-4-e4b@0-20?scale-down=32&format=gguf");
  EXPECT_EQ(read_decoder_spec(*gguf)->n_layers(), 21);
  EXPECT_EQ(read_decoder_spec(*make("synth:gemma-4-e2b@13-19?scale-down=32"))->layers[2].kv_owner, 0);
}

TEST(SynthModel, GptOssIsAsLargeAsItsPublishedFiles) {
  for (const auto& [name, n_bytes] :
       {std::pair{"synth:gpt-oss-20b", kGptOss20BBytes}, std::pair{"synth:gpt-oss-120b", kGptOss120BBytes}}) {
    const auto model = make(name);
    std::int64_t sum = 0;
    for (const TensorInfo& tensor : model->tensors()) sum += static_cast<std::int64_t>(tensor.n_bytes);
    EXPECT_EQ(sum, n_bytes) << name;
    EXPECT_EQ(*synth_bytes(*parse_synth_name(name)), static_cast<std::uint64_t>(n_bytes)) << name;
  }
}

// What these models are made of: other numbers here are other bytes for everybody who compares with earlier ones.
// Raise kSynthRule when one of them changes.
TEST(SynthModel, TheSameSeedIsTheSameBytesOnEveryMachine) {
  EXPECT_EQ(sha_of_tensors(*make("synth:tiny")), "4abdd7f6737770f3ca0bc91ad2c9e9c0df8ffb242797932035d2fbbad305b180");
  EXPECT_EQ(sha_of_tensors(*make("synth:tiny?format=gguf&dtype=q8_0")),
            "bd30e76407b5f305c1963417e343938e7f8f73420a558c311f4f03a08089ec9d");
  EXPECT_EQ(sha_of_tensors(*make("synth:gemma-3-1b@3-6?seed=9&scale-down=16")),
            "77455b74d942af36f72e3d614bec79971b85db5ab20bda220d54be4cd65f15ff");
  EXPECT_EQ(sha_of_tensors(*make("synth:gpt-oss-20b-tiny")),
            "83975be80f498d1e95324e1544dc004976128ed16818f5973e44c95260c3f89e");
  EXPECT_EQ(sha_of_tensors(*make("synth:gemma-4-e2b@12-19?scale-down=64")),
            "53c96a9fc091ffe2cafb07a0e411152ba17704a2a1ff366c09546e39dfa6a485");
}

TEST(SynthModel, OtherSeedsAreOtherModels) {
  const auto one = make("synth:tiny"), other = make("synth:tiny?2");
  EXPECT_NE(sha_of_tensors(*one), sha_of_tensors(*other));
  EXPECT_NE(one->fingerprint(), other->fingerprint());
}

TEST(SynthModel, FilesSayByWhichRuleTheyWereMade) {
  const std::string mark = fmt::format("synth:tiny@1-2?seed=4 by rule {}", kSynthRule);
  EXPECT_EQ(make("synth:tiny@1-2?4")->config()["commissure_synth"], mark);
  const auto gguf = make("synth:tiny@1-2?seed=4&format=gguf");
  EXPECT_EQ(*gguf->metadata().text("commissure.synth"),
            fmt::format("synth:tiny@1-2?seed=4&format=gguf by rule {}", kSynthRule));
  EXPECT_EQ(*gguf->metadata().text("general.name"), "synth-tiny-layers-1-2-seed-4-gguf");
}

TEST(SynthModel, EveryShapeIsReadInBothFormatsAlike) {
  for (const Shape& shape : known_shapes()) {
    for (const std::string options : {"", "&scale-down=64"}) {
      if (options.empty() && shape.n_vocab > 60000 && shape.name != "gemma-3-27b") continue;  // words take their time
      const auto tiny = request_for(std::string(shape.name) + "-tiny")->layers;
      const std::string name = fmt::format("synth:{}@0-{}?dtype=f32{}", shape.name, tiny->last, options);
      const auto folder = read_decoder_spec(*make(name)), gguf = read_decoder_spec(*make(name + "&format=gguf"));
      ASSERT_TRUE(folder.has_value()) << folder.error().message();
      ASSERT_TRUE(gguf.has_value()) << gguf.error().message();
      for (int layer = 0; layer < folder->n_layers(); ++layer) {
        EXPECT_EQ(text_of(folder->layers[layer]), text_of(gguf->layers[layer])) << name;
      }
      EXPECT_EQ(text_of(*folder), text_of(*gguf)) << name;
      EXPECT_FLOAT_EQ(folder->embedding_scale, gguf->embedding_scale) << name;
      ASSERT_EQ(folder->ropes.size(), gguf->ropes.size()) << name;
      for (std::size_t rope = 0; rope < folder->ropes.size(); ++rope) {
        ASSERT_EQ(folder->ropes[rope].frequencies.size(), gguf->ropes[rope].frequencies.size()) << name;
        for (std::size_t i = 0; i < folder->ropes[rope].frequencies.size(); ++i) {
          const float turn = folder->ropes[rope].frequencies[i];  // in a GGUF what does not turn is 1e-30
          ASSERT_NEAR(gguf->ropes[rope].frequencies[i], turn, 1e-6f * turn + 1e-25f) << name;
        }
      }
    }
  }
}

TEST(SynthModel, LayersKeepTheirWindowsAndRotations) {
  const auto spec = [](const std::string& name) { return *read_decoder_spec(*make(name)); };
  const DecoderSpec whole = spec("synth:gemma-3-1b?scale-down=32"), smol = spec("synth:smollm3-3b?scale-down=32");
  for (const std::string format : {"safetensors", "gguf"}) {
    const DecoderSpec part = spec("synth:gemma-3-1b@4-8?scale-down=32&format=" + format);
    for (int layer = 0; layer < part.n_layers(); ++layer) {
      EXPECT_EQ(part.layers[layer].window, whole.layers[layer + 4].window) << layer;
      EXPECT_EQ(part.layers[layer].rope, whole.layers[layer + 4].rope) << layer;
    }
    EXPECT_EQ(spec("synth:smollm3-3b@4-9?scale-down=32&format=" + format).layers[3].rope, -1);
  }
  EXPECT_EQ(spec("synth:smollm3-3b@2-9?scale-down=32").layers[1].rope, smol.layers[3].rope);
  const auto refused = make_synth_model(*parse_synth_name("synth:smollm3-3b@2-9?format=gguf&scale-down=32"));
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().message().find("multiple of 4"), std::string::npos) << refused.error().message();
}

TEST(SynthModel, TheLargestIsOpenedWithoutMakingAWeight) {
  const auto model = make("synth:llama-3.1-405b");
  const auto spec = read_decoder_spec(*model);
  ASSERT_TRUE(spec.has_value());
  EXPECT_EQ(spec->n_layers(), 126);
  EXPECT_LT(model->bytes_read(), 4u << 20);
  EXPECT_FALSE(model->has_files());
}

TEST(SynthModel, EveryIdHasATextAndEveryByteAToken) {
  const std::string text = "The \xC3\xA9t\xC3\xA9, 7\n\t!";
  for (const std::string format : {"safetensors", "gguf"}) {
    const auto model = make("synth:gemma-3-270m?scale-down=32&format=" + format);
    const auto tokenizer = format == "gguf"
                               ? Tokenizer::from_metadata(model->metadata())
                               : Tokenizer::from_json(*parse_json(*model->read_side_file("tokenizer.json")),
                                                      *parse_json(*model->read_side_file("tokenizer_config.json")));
    ASSERT_TRUE(tokenizer.has_value()) << tokenizer.error().message();
    EXPECT_EQ((*tokenizer)->n_tokens(), read_decoder_spec(*model)->n_vocab);
    const auto ids = (*tokenizer)->encode(text, {});
    EXPECT_EQ(ids.size(), text.size());
    EXPECT_EQ((*tokenizer)->decode(ids), text);
    EXPECT_EQ((*tokenizer)->token_bytes(TokenId(4000), false), " w4000");
    EXPECT_EQ((*tokenizer)->eos(), TokenId(kPlainEnd));
    EXPECT_EQ((*tokenizer)->encode("<|user|>", {}).size(), 1u);
  }
}

TEST(SynthModel, ATokenizerIsTakenFromAModelOfTheSameFormat) {
  const auto donor = make("synth:tiny"), gguf_donor = make("synth:tiny?format=gguf");
  const auto model = make("synth:gemma-3-270m?scale-down=32", donor.get());
  EXPECT_EQ(*model->read_side_file("tokenizer.json"), *donor->read_side_file("tokenizer.json"));
  EXPECT_EQ(model->config().contains("eos_token_id"), false);
  const TempFolder folder;
  ASSERT_TRUE(write_model(*donor, folder.path() + "/donor", {}).has_value());
  std::filesystem::create_directory(folder.path("donor/additional_chat_templates"));
  const std::string tools = "additional_chat_templates/tool_use.jinja";
  folder.write("donor/" + tools, "{{ tools }}");
  folder.write("donor/preprocessor_config.json", "{}");
  const auto templates = make("synth:gemma-3-270m@0-1?scale-down=32", Checkpoint::open(folder.path("donor"))->get());
  EXPECT_EQ(*templates->read_side_file(tools), "{{ tools }}");
  EXPECT_FALSE(templates->read_side_file("preprocessor_config.json").has_value()) << "it sees no images";
  ASSERT_TRUE(write_model(*templates, folder.path() + "/out", {}).has_value());
  const auto written = *Checkpoint::open(folder.path("out"));
  EXPECT_EQ(*written->read_side_file(tools), "{{ tools }}");
  EXPECT_EQ(*written->list_side_folder("additional_chat_templates"), std::vector<std::string>{"tool_use.jinja"});
  EXPECT_EQ(*templates->list_side_folder("additional_chat_templates"), std::vector<std::string>{"tool_use.jinja"});
  const auto gguf = make("synth:gemma-3-270m?scale-down=32&format=gguf", gguf_donor.get());
  EXPECT_EQ((*Tokenizer::from_metadata(gguf->metadata()))->n_tokens(), 512);
  const auto refusal = [](const std::string& name, const Checkpoint& from) {
    return make_synth_model(*parse_synth_name(name), &from).error().message();
  };
  EXPECT_NE(refusal("synth:tiny", *gguf_donor).find("say format gguf"), std::string::npos);
  EXPECT_NE(refusal("synth:tiny?format=gguf", *donor).find("say format safetensors"), std::string::npos);
  EXPECT_NE(refusal("synth:tiny", *make("synth:qwen3-0.6b?scale-down=16")).find("rows for 512"), std::string::npos);
}

TEST(SynthModel, WrittenItIsTheSameModel) {
  for (const std::string name : {"synth:tiny?3", "synth:llama-3.2-1b@0-1?scale-down=32&format=gguf",
                                 "synth:gpt-oss-20b-tiny@0-1", "synth:gemma-4-e2b-tiny@13-16?format=gguf&dtype=q8_0"}) {
    const TempFolder folder;
    const std::string path = folder.path() + "/out";
    const auto model = make(name);
    const auto written = write_model(*model, path, {});
    ASSERT_TRUE(written.has_value()) << written.error().message();
    const auto again = Checkpoint::open(path);
    ASSERT_TRUE(again.has_value()) << again.error().message();
    EXPECT_EQ((*again)->fingerprint(), model->fingerprint());
    EXPECT_EQ(sha_of_tensors(**again), sha_of_tensors(*model));
  }
}

TEST(SynthModel, AWriteThatIsStoppedLeavesNothing) {
  const TempFolder folder;
  const std::string path = folder.path() + "/new/out";
  int calls = 0;
  WriteOptions options;
  options.progress = [&](std::uint64_t, std::uint64_t) { return ++calls < 2; };
  const auto written = write_model(*make("synth:gemma-3-270m@0-5?scale-down=4&dtype=f32"), path, options);
  ASSERT_FALSE(written.has_value());
  EXPECT_EQ(written.error().code(), Code::kCancelled);
  EXPECT_EQ(calls, 2) << "some of it was written";
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(SynthModel, AnImageEncoderStandsBesideTheSameTextModel) {
  const auto text = make("synth:gemma-3-4b-tiny"), seeing = make("synth:gemma-3-4b-tiny?vision=on");
  const auto spec = read_decoder_spec(*seeing);
  ASSERT_TRUE(spec.has_value()) << (spec ? "" : spec.error().message());
  EXPECT_EQ(spec->n_layers(), read_decoder_spec(*text)->n_layers());
  EXPECT_EQ(spec->naming.prefix, "language_model.model.");
  for (const TensorInfo& tensor : text->tensors()) {
    const TensorInfo* other = seeing->find("language_model." + tensor.name);
    ASSERT_NE(other, nullptr) << tensor.name;
    EXPECT_EQ(bytes_of(*text, tensor), bytes_of(*seeing, *other)) << tensor.name;
  }
  EXPECT_NE(seeing->find("vision_tower.vision_model.encoder.layers.1.mlp.fc2.bias"), nullptr);
  EXPECT_EQ(seeing->find("multi_modal_projector.mm_input_projection_weight")->shape.back(), spec->d_model);
  EXPECT_NE(text->fingerprint(), seeing->fingerprint());

  const auto tokenizer = Tokenizer::from_json(*parse_json(*seeing->read_side_file("tokenizer.json")), nullptr);
  ASSERT_TRUE(tokenizer.has_value());
  const auto ids = (*tokenizer)->encode("<start_of_image><image_soft_token><end_of_image>", {.add_special = false});
  ASSERT_EQ(ids.size(), 3u);
  EXPECT_EQ(ids[1].value, seeing->config()["image_token_index"].get<int>());
  EXPECT_LT(ids[1].value, spec->n_vocab);
}

TEST(SynthModel, TheEncoderOfAPublishedShapeHasItsParameters) {
  const auto seeing = make("synth:gemma-3-27b?vision=on");
  std::int64_t tower = 0, projector = 0;
  for (const TensorInfo& tensor : seeing->tensors()) {
    if (tensor.name.starts_with("vision_tower.")) tower += tensor.n_elements();
    if (tensor.name.starts_with("multi_modal_projector.")) projector += tensor.n_elements();
  }
  EXPECT_EQ(tower, 416866032);
  EXPECT_EQ(projector, 6194304);
}

}  // namespace
}  // namespace commissure::testing
