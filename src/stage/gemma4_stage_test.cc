#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string_view>

#include "support/family_model.h"
#include "support/stage_fixture.h"
#include "weights/model_writer.h"

// What Gemma 4 has beyond other families (embeddings of every layer, keys and values that later layers read) keeps the
// rules that hold for all: a row depends on no neighbour, a block found again holds what it held, any cut, quantised or
// not.

namespace commissure::testing {
namespace {

constexpr const char* kTable = "model.embed_tokens_per_layer.weight";

const StageOptions kOptions = {.model_name = "toy", .max_rows = 200, .n_kv_blocks = 8};

const FamilyCase& case_of(std::string_view name) {
  static const auto cases = family_cases(std::string(COMMISSURE_SOURCE_DIR) + "/tests/golden/families");
  const auto found = std::ranges::find(cases, name, &FamilyCase::name);
  CHECK(found != cases.end());
  return *found;
}

/// A model of seven layers, of which the last three read the keys and values of layers 2 (window) and 3.
const FamilyCase& sharing_case() { return case_of("gemma4-e"); }

/// Rows [first, end) of a sequence, each to be scored; the table begins at `first_block`.
SequenceRows rows(std::uint64_t id, int first, int end, int first_block) {
  const std::vector<int>& ids = sharing_case().ids;
  SequenceRows slice = rows_of(id, first, {ids.begin() + first, ids.begin() + end}, first_block);
  slice.params = SamplingParams{.n_logprobs = 3, .banned = {}};
  for (int i = first; i < end; ++i) slice.targets.push_back(TokenId(ids[to_size(i + 1)]));
  return slice;
}

std::vector<std::vector<ScoredToken>> step(Chain& chain, std::vector<SequenceRows> slices) {
  const auto result = chain.step({.step = {}, .slices = std::move(slices), .released = {}});
  EXPECT_TRUE(result.has_value()) << (result ? "" : result.error().message());
  std::vector<std::vector<ScoredToken>> scored;
  if (!result) return scored;
  for (const auto& sequence : result->results) scored.push_back(sequence.scored);
  return scored;
}

class Gemma4Stages : public ::testing::TestWithParam<std::string> {
 protected:
  Gemma4Stages() { write_family_safetensors(sharing_case(), folder_); }

  Chain chain(const std::vector<int>& cuts, const std::string& quants = "", const std::string& folder = "") {
    return Chain(*backend_, folder.empty() ? folder_.path() : folder, cuts, kOptions, KvType::kBF16, Precision::kFast,
                 quants);
  }

  const TempFolder folder_;
  const std::unique_ptr<Backend> backend_ = cpu_backend(GetParam(), 2);
};

/// The same rows alone, in chunks and in company.
void expect_own_bits(const std::function<std::unique_ptr<Chain>()>& fresh) {
  const auto alone = fresh();
  const auto expected = step(*alone, {rows(1, 0, 70, 0)});
  ASSERT_EQ(expected.size(), 1u);
  // Few rows of the table of per-layer embeddings are looked up by one thread, many by all.
  const auto chunked = fresh();
  std::vector<ScoredToken> chunks;
  for (int first = 0, end = 0; first < 70; first = end) {
    end = first + (first < 65 ? 13 : 1);
    const auto scored = step(*chunked, {rows(1, first, end, 0)});
    ASSERT_EQ(scored.size(), 1u);
    chunks.insert(chunks.end(), scored[0].begin(), scored[0].end());
  }
  EXPECT_EQ(chunks, expected[0]);
  const auto batched = fresh();
  const auto both = step(*batched, {rows(1, 0, 33, 0), rows(2, 0, 70, 4)});
  ASSERT_EQ(both.size(), 2u);
  EXPECT_EQ(both[1], expected[0]);
  EXPECT_TRUE(std::ranges::equal(both[0], std::span(expected[0]).first(33)));
}

TEST_P(Gemma4Stages, ARowDoesNotDependOnItsNeighbours) {
  for (const char* name : {"gemma4-e", "gemma4-experts-packed"}) {
    const TempFolder folder;
    write_family_safetensors(case_of(name), folder);
    const int n_layers = case_of(name).config["num_hidden_layers"].get<int>();
    for (const std::vector<int>& cuts : {std::vector<int>{}, {n_layers / 2, n_layers - 1}}) {
      SCOPED_TRACE(std::string(name) + ", " + std::to_string(cuts.size() + 1) + " stages");
      expect_own_bits([&] { return std::make_unique<Chain>(*backend_, folder.path(), cuts, kOptions); });
    }
  }
}

TEST_P(Gemma4Stages, ABlockFoundAgainHoldsCopiesOfSharedKeysToo) {
  for (const std::vector<int>& cuts : {std::vector<int>{}, {3, 5}, {4}, {1, 2, 3, 4, 5, 6}}) {
    Chain stages = chain(cuts);
    const auto first = step(stages, {rows(1, 0, 100, 0)});
    ASSERT_EQ(first.size(), 1u);
    SequenceRows again = rows(2, 64, 100, 5);
    again.table_start = 0;
    again.new_blocks.insert(again.new_blocks.begin(), BlockId(0));
    const auto second = step(stages, {again});
    ASSERT_EQ(second.size(), 1u);
    EXPECT_TRUE(std::ranges::equal(second[0], std::span(first[0]).subspan(64))) << cuts.size() + 1 << " stages";
  }
}

TEST_P(Gemma4Stages, QuantisedAnyCutGivesTheSameBitsLoadedOrWritten) {
  for (const char* quant : {"int8", "nf4+head"}) {
    Chain whole = chain({}, quant);
    const auto expected = step(whole, {rows(1, 0, 70, 0)});
    ASSERT_EQ(expected.size(), 1u);
    Chain three = chain({3, 5}, quant);
    EXPECT_EQ(step(three, {rows(1, 0, 70, 0)}), expected) << quant;

    auto checkpoint = open_checkpoint(folder_.path());
    const auto spec = read_decoder_spec(*checkpoint);
    ASSERT_TRUE(spec.has_value());
    const QuantWish wish = *parse_quant(quant);
    ASSERT_TRUE(quantise_at_load(*checkpoint, *spec, {0, 7, true, true}, wish).has_value());
    EXPECT_EQ(checkpoint->find(kTable)->dtype, DType::kF32) << "looked up, not multiplied";
    const TempFolder out;
    ASSERT_TRUE(write_model(*checkpoint, out.path() + "/out", {}).has_value());
    Chain written = chain({4, 6}, "", out.path() + "/out");
    EXPECT_EQ(step(written, {rows(1, 0, 70, 0)}), expected) << quant << ", written";
  }
}

TEST_P(Gemma4Stages, AProjectionThatIsMadeWhileItIsLoadedMayBeCut) {
  // bitsandbytes quantises it like any product.
  const auto make = [](Checkpoint& checkpoint) {
    checkpoint.quantise("model.per_layer_model_projection.weight", DType::kNF4);
  };
  const auto scores_of = [&](const std::vector<int>& cuts) {
    Chain made(*backend_, folder_.path(), cuts, kOptions, KvType::kBF16, Precision::kFast, "", make);
    return step(made, {rows(1, 0, 70, 0)});
  };
  Chain plain = chain({});
  const auto expected = scores_of({});
  ASSERT_EQ(expected.size(), 1u);
  EXPECT_NE(step(plain, {rows(1, 0, 70, 0)}), expected);
  EXPECT_EQ(scores_of({3, 5}), expected);
}

INSTANTIATE_TEST_SUITE_P(Isas, Gemma4Stages, ::testing::ValuesIn(available_isas()),
                         [](const auto& made) { return made.param; });

}  // namespace
}  // namespace commissure::testing
