#include "synth/synth_request.h"

#include <gtest/gtest.h>

namespace commissure::testing {
namespace {

std::string refusal(const std::string& name) {
  const auto request = parse_synth_name(name);
  return request ? "accepted" : request.error().message();
}

TEST(SynthName, SaysShapeLayersAndSeed) {
  const SynthRequest plain = *parse_synth_name("synth:gemma-3-27b");
  EXPECT_EQ(plain.shape->name, "gemma-3-27b");
  EXPECT_FALSE(plain.layers.has_value());
  EXPECT_EQ(plain.seed, 1u);
  EXPECT_EQ(plain.dtype, DType::kBF16);
  const SynthRequest part = *parse_synth_name("synth:gemma-3-27b@20-43?7");
  EXPECT_EQ(part.layers, (LayerSpan{20, 43}));
  EXPECT_EQ(part.layers->count(), 24);
  EXPECT_EQ(part.seed, 7u);
  EXPECT_EQ(parse_synth_name("synth:tiny@2")->layers, (LayerSpan{2, 2}));
}

TEST(SynthName, IsReadAsItIsWritten) {
  for (const char* name :
       {"synth:tiny", "synth:tiny@1-3", "synth:tiny?seed=0", "synth:tiny@0-0?seed=18446744073709551615&format=gguf",
        "synth:qwen3-0.6b?format=gguf&dtype=q8_0", "synth:gemma-3-1b?dtype=f16&scale-down=8&tokenizer=/models/a b"}) {
    const auto request = parse_synth_name(name);
    ASSERT_TRUE(request.has_value()) << request.error().message();
    EXPECT_EQ(synth_name(*request), name);
  }
  EXPECT_EQ(synth_name(*parse_synth_name("synth:TINY?1&format=safetensors")), "synth:tiny");
}

TEST(SynthName, IsServedByWhatItHasUnlikeThePublishedModel) {
  const auto served = [](const char* name) { return served_synth_name(*parse_synth_name(name)); };
  EXPECT_EQ(served("synth:gemma-3-27b"), "synth-gemma-3-27b");
  EXPECT_EQ(served("synth:tiny@1-2?9"), "synth-tiny-layers-1-2-seed-9");
  EXPECT_EQ(served("synth:gpt-oss-20b-tiny"), "synth-gpt-oss-20b-layers-0-5-scale-down-64");
  EXPECT_EQ(served("synth:tiny?dtype=q8_0&format=gguf&tokenizer=/m"), "synth-tiny-q8_0-gguf");
}

TEST(SynthName, ItsTokenizerIsOneThatANameCanHold) {
  const auto refused = [](const std::string& tokenizer) {
    SynthRequest request = *request_for("tiny");
    request.tokenizer = tokenizer;
    const Status status = check_request(request);
    return status ? "accepted" : status.error().message();
  };
  EXPECT_EQ(refused("/m/a?b=c @#"), "accepted");
  EXPECT_NE(refused("/m/don&7").find("\"/m/don&7\" holds \"&\""), std::string::npos) << refused("/m/don&7");
  EXPECT_NE(refused("synth:tiny").find("write the made-up one first"), std::string::npos) << refused("synth:tiny");
  EXPECT_NE(refusal("synth:tiny?tokenizer=synth:tiny?tokenizer=synth:tiny").find("a model with files"),
            std::string::npos);
}

TEST(SynthName, ATinyOneHasAllKindsOfLayers) {
  EXPECT_EQ(synth_name(*parse_synth_name("synth:gpt-oss-20b-tiny")), "synth:gpt-oss-20b@0-5?scale-down=64");
  EXPECT_EQ(synth_name(*parse_synth_name("synth:gemma-4-e2b-tiny")), "synth:gemma-4-e2b@0-19?scale-down=64");
  EXPECT_EQ(synth_name(*parse_synth_name("synth:gemma-4-e4b-tiny?7")), "synth:gemma-4-e4b@0-29?seed=7&scale-down=64");
  EXPECT_EQ(synth_name(*parse_synth_name("synth:tiny-tiny")), "synth:tiny@0-3?scale-down=64");
  const auto told = parse_synth_name("synth:gemma-3-1b-tiny@2-3?scale-down=8");
  EXPECT_EQ(synth_name(*told), "synth:gemma-3-1b@2-3?scale-down=8") << "what is said counts";
  for (const char* name :
       {"synth:GPT OSS 20B Tiny", "synth:gpt-oss-20b.TINY", "synth:gptoss20btiny", "synth:gpt-oss-20b-t-i-n-y"}) {
    EXPECT_EQ(synth_name(*parse_synth_name(name)), "synth:gpt-oss-20b@0-5?scale-down=64") << name;
  }
  EXPECT_NE(refusal("synth:-inty").find("no shape is known as"), std::string::npos);
  EXPECT_NE(refusal("synth:gpt-oss-21b-tiny").find("nearest: gpt-oss-20b"), std::string::npos);
}

TEST(SynthName, ThatCannotBeHadIsRefusedWithWhatCan) {
  EXPECT_NE(refusal("synth:gemma-3-27b@40-62").find("gemma-3-27b has 62, 0-61"), std::string::npos);
  for (const char* layers : {"@", "@-", "@5-", "@-5", "@7-5", "@a-b", "@1-2-3", "@0x1-2", "@1-99999999999"}) {
    EXPECT_NE(refusal(std::string("synth:tiny") + layers).find("as 20-43"), std::string::npos) << layers;
  }
  EXPECT_NE(refusal("synth:tiny?seed=-1").find("0 to 2^64 - 1"), std::string::npos);
  EXPECT_NE(refusal("synth:tiny?x").find("seed is \"x\""), std::string::npos);
  EXPECT_NE(refusal("synth:tiny?format=onnx").find("safetensors, gguf"), std::string::npos);
  EXPECT_NE(refusal("synth:tiny?dtype=int8").find("bf16, f16, f32, q8_0"), std::string::npos);
  EXPECT_NE(refusal("synth:tiny?dtype=q8_0").find("format gguf"), std::string::npos);
  EXPECT_NE(refusal("synth:tiny?scale-down=0").find("1 to 64"), std::string::npos);
  EXPECT_NE(refusal("synth:tiny?scale-down=65").find("1 to 64"), std::string::npos);
  EXPECT_NE(refusal("synth:tiny?sed=1").find("there are seed, format"), std::string::npos);
  EXPECT_NE(refusal("synth:").find("no shape is known"), std::string::npos);
  EXPECT_FALSE(is_synth_name("synthetic"));
}

TEST(SynthRequest, EncodersAreOfGemma3InSafetensors) {
  EXPECT_EQ(synth_name(*parse_synth_name("synth:gemma-3-4b?vision=on")), "synth:gemma-3-4b?vision=on");
  EXPECT_EQ(synth_name(*parse_synth_name("synth:gemma-3-4b?vision=off")), "synth:gemma-3-4b");
  for (const char* name :
       {"synth:qwen3-4b?vision=on", "synth:gemma-3-4b?vision=on&format=gguf", "synth:gemma-3-4b?vision=yes"}) {
    const auto refused = parse_synth_name(name);
    ASSERT_FALSE(refused.has_value()) << name;
    EXPECT_EQ(refused.error().code(), Code::kInvalidArgument);
    EXPECT_NE(refused.error().message().find("vision"), std::string::npos) << refused.error().message();
  }
}

}  // namespace
}  // namespace commissure::testing
