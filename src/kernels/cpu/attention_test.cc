#include "kernels/cpu/attention/attention.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <tuple>

#include "core/index.h"
#include "kernels/cpu/cpu_backend.h"
#include "support/backend_testing.h"

namespace commissure {
namespace {

using testing::backend_for;
using testing::kEpsilon;
using testing::random_values;

constexpr int kBlock = 64;
constexpr int kMaxBlocks = 16;  // of a text

/// Queries, keys and values of whole sequences, the same for every way to cut them into steps.
struct Texts {
  HeadLayout heads;
  std::vector<int> lengths;
  std::vector<std::vector<float>> q, k, v;  // [sequence][position * width]

  int q_width() const { return heads.n_heads * heads.head_dim; }
  int kv_width() const { return heads.n_kv_heads * heads.head_dim; }
};

Texts random_texts(HeadLayout heads, std::vector<int> lengths) {
  Texts texts = {heads, std::move(lengths), {}, {}, {}};
  unsigned seed = 1;
  for (const int length : texts.lengths) {
    const auto n = static_cast<std::size_t>(length);
    texts.q.push_back(random_values(n * static_cast<std::size_t>(texts.q_width()), seed++));
    texts.k.push_back(random_values(n * static_cast<std::size_t>(texts.kv_width()), seed++));
    texts.v.push_back(random_values(n * static_cast<std::size_t>(texts.kv_width()), seed++));
  }
  return texts;
}

/// How to run the texts: every step takes up to `chunk` rows of every sequence that has some left.
struct Cut {
  std::string isa;
  int window = 0;
  int chunk = 1 << 20;
  int n_threads = 2;
  bool scattered = false;  ///< block tables that jump about and interleave the sequences
  bool poisoned = false;   ///< the cache is full of NaN before the first step
  bool keeps_f32 = true;
  KvType kv = KvType::kBF16;
  float softcap = 0.0f;
  std::vector<float> sinks = {};  ///< by head
  std::vector<int> ends = {};     ///< where steps end, instead of by `chunk`
  int image = 0, image_end = 0;   ///< rows of the first sequence that see one another; one step has all of them
};

/// The rows [first, end) of a sequence, parted where they see different things.
std::vector<SequenceSpan> spans_of(const Cut& cut, std::size_t sequence, int first, int end) {
  std::vector<SequenceSpan> spans;
  const auto add = [&](int span_end, int seen_to) {
    if (span_end <= first) return;
    spans.push_back({.n_rows = span_end - first, .first_position = first, .blocks = {}, .seen_to = seen_to});
    first = span_end;
  };
  if (sequence == 0 && cut.image < end && cut.image_end > first) {
    add(cut.image, 0);
    add(cut.image_end, cut.image_end);
  }
  add(end, 0);
  return spans;
}

constexpr KvType kKvTypes[] = {KvType::kBF16, KvType::kInt8};

/// The physical block of a sequence's block i.
std::int32_t physical_block(const Texts& texts, bool scattered, std::size_t sequence, int i) {
  const auto n_sequences = static_cast<std::int32_t>(texts.lengths.size());
  constexpr std::int32_t kPerSequence = kMaxBlocks;
  if (!scattered) return static_cast<std::int32_t>(sequence) * kPerSequence + i;
  return (kPerSequence - 1 - i) * n_sequences + static_cast<std::int32_t>(sequence);
}

constexpr const char* kWithoutBf16Products = "avx512 without vdpbf16ps";

std::unique_ptr<Backend> attention_backend(const std::string& isa, int n_threads) {
#if defined(COMMISSURE_X86_KERNELS)
  if (isa == kWithoutBf16Products) {
    const cpu::KernelSet kernels = {cpu::Isa::kAvx512, &cpu::avx512::kPointwise, &cpu::avx512::kAttention,
                                    &cpu::avx512::kDelta};
    return std::make_unique<cpu::CpuBackend>(kernels, n_threads, /*pin=*/false);
  }
#endif
  return backend_for(isa, n_threads);
}

std::span<const float> rows_of(const std::vector<float>& values, int width, int first, int n) {
  return std::span(values).subspan(static_cast<std::size_t>(first * width), static_cast<std::size_t>(n * width));
}

/// Attention outputs of all positions: [sequence][position * q_width].
std::vector<std::vector<float>> outputs(const Texts& texts, const Cut& cut) {
  const auto backend = attention_backend(cut.isa, cut.n_threads);
  const std::size_t n_blocks = kMaxBlocks * texts.lengths.size();
  const std::size_t kv_bytes = n_blocks * backend->kv_block_bytes(texts.heads, cut.kv);
  const DeviceBuffer cache = backend->allocate(kv_bytes).value();
  if (cut.poisoned) backend->upload(cache.ptr(), std::vector<std::byte>(kv_bytes, std::byte{0xff}));
  const KvLayer layer = {cache.ptr(), texts.heads, cut.kv};
  const DeviceBuffer sinks = backend->allocate(cut.sinks.size() * sizeof(float)).value();
  backend->upload(sinks.ptr(), std::as_bytes(std::span(cut.sinks)));
  const AttendOptions options = {.scale = 1.0f / std::sqrt(static_cast<float>(texts.heads.head_dim)),
                                 .window = cut.window,
                                 .softcap = cut.softcap,
                                 .keeps_f32 = cut.keeps_f32,
                                 .sinks = sinks.ptr()};

  std::vector<std::vector<float>> out(texts.lengths.size());
  const int longest = *std::max_element(texts.lengths.begin(), texts.lengths.end());
  for (int done = 0, end = 0, step = 0; done < longest; done = end, ++step) {
    end = std::min(longest, cut.ends.empty() ? done + cut.chunk : cut.ends[to_size(step)]);
    StepShape shape;
    std::vector<float> q, k, v;
    std::vector<std::size_t> running;
    for (std::size_t s = 0; s < texts.lengths.size(); ++s) {
      const int n = std::min(end, texts.lengths[s]) - done;
      if (n <= 0) continue;
      for (SequenceSpan& span : spans_of(cut, s, done, done + n)) {
        span.first_row = shape.n_rows();
        for (int i = 0; i * kBlock < done + n; ++i) span.blocks.push_back(physical_block(texts, cut.scattered, s, i));
        shape.tokens.resize(shape.tokens.size() + static_cast<std::size_t>(span.n_rows));
        shape.sequences.push_back(std::move(span));
        running.push_back(s);
      }
      for (auto [from, to, width] :
           {std::tuple(&texts.q[s], &q, texts.q_width()), std::tuple(&texts.k[s], &k, texts.kv_width()),
            std::tuple(&texts.v[s], &v, texts.kv_width())}) {
        const auto rows = rows_of(*from, width, done, n);
        to->insert(to->end(), rows.begin(), rows.end());
      }
    }
    const auto index = backend->make_step_index(shape);
    const auto dq = testing::upload(*backend, q, shape.n_rows()), dk = testing::upload(*backend, k, shape.n_rows()),
               dv = testing::upload(*backend, v, shape.n_rows());
    const auto result = testing::upload(*backend, std::vector<float>(q.size(), NAN), shape.n_rows());
    backend->append_kv(dk.rows, dv.rows, *index, layer);
    backend->attend(dq.rows, *index, layer, options, result.rows);
    const std::vector<float> values = testing::download(*backend, result.rows);
    for (std::size_t i = 0; i < running.size(); ++i) {
      const SequenceSpan& span = shape.sequences[i];
      const auto rows = rows_of(values, texts.q_width(), span.first_row, span.n_rows);
      out[running[i]].insert(out[running[i]].end(), rows.begin(), rows.end());
    }
  }
  return out;
}

/// Value `i` of a vector as the cache gives it back.
double cached_value(std::span<const float> vector, std::size_t i, KvType type) {
  if (type == KvType::kBF16) return static_cast<double>(to_float(to_bf16(vector[i])));
  float largest = 0.0f;
  for (const float value : vector) largest = std::max(largest, std::abs(value));
  const float step = largest / 127.0f;
  return static_cast<double>(step) * static_cast<double>(std::nearbyint(vector[i] * (1.0f / step)));
}

/// Softmax attention of one query straight from the definition, in double, over keys and values as they are cached.
/// `last`: the last key it sees; -1: its own.
std::vector<float> by_definition(const Texts& texts, std::size_t s, int position, int head, int window, KvType type,
                                 double softcap = 0.0, double sink = -INFINITY, int last = -1) {
  const int dim = texts.heads.head_dim, kv_head = head / (texts.heads.n_heads / texts.heads.n_kv_heads);
  const float* q = &texts.q[s][static_cast<std::size_t>(position * texts.q_width() + head * dim)];
  const auto cached = [&](const std::vector<float>& values, int at, int i) {
    const auto vector = std::span(values).subspan(static_cast<std::size_t>(at * texts.kv_width() + kv_head * dim),
                                                  static_cast<std::size_t>(dim));
    return cached_value(vector, static_cast<std::size_t>(i), type);
  };
  std::vector<double> out(static_cast<std::size_t>(dim));
  double sum = std::exp(sink);
  for (int key = 0; key <= (last < 0 ? position : last); ++key) {
    if (window > 0 && position - key >= window) continue;
    double score = 0.0;
    for (int i = 0; i < dim; ++i) score += static_cast<double>(q[i]) * cached(texts.k[s], key, i);
    score /= std::sqrt(static_cast<double>(dim));
    const double weight = std::exp(softcap > 0.0 ? softcap * std::tanh(score / softcap) : score);
    for (int i = 0; i < dim; ++i) out[static_cast<std::size_t>(i)] += weight * cached(texts.v[s], key, i);
    sum += weight;
  }
  std::vector<float> values;
  for (const double value : out) values.push_back(static_cast<float>(value / sum));
  return values;
}

/// Bound on what f32 can do to an output: a score sums head_dim products whose magnitudes add up to at most |q||k|,
/// its error enters a weight as a factor, and up to n weighted values below `largest` are summed.
float tolerance(const HeadLayout& heads, int n, float largest) {
  const auto dim = static_cast<float>(heads.head_dim);
  const float magnitude = 1.5f * std::sqrt(dim);  // |q||k| / sqrt(dim) for normal values, with room
  return largest * kEpsilon * (2.0f * dim * magnitude + static_cast<float>(n) + 8.0f);
}

constexpr int kWindows[] = {0, 1, 63, 64, 65, 100};

std::vector<std::pair<int, KvType>> windows_and_types(std::span<const int> windows = kWindows) {
  std::vector<std::pair<int, KvType>> all;
  for (const int window : windows) {
    for (const KvType kv : kKvTypes) all.emplace_back(window, kv);
  }
  return all;
}

TEST(Attention, ReferenceFollowsTheDefinition) {
  const Texts texts = random_texts({6, 2, 32}, {150, 70});
  for (const auto& [window, kv] : windows_and_types()) {
    const auto out = outputs(texts, {.isa = "reference", .window = window, .chunk = 33, .scattered = true, .kv = kv});
    for (const auto& [s, position, head] : {std::tuple(0, 0, 5), std::tuple(0, 63, 0), std::tuple(0, 64, 3),
                                            std::tuple(0, 149, 2), std::tuple(1, 1, 1), std::tuple(1, 69, 4)}) {
      const auto row = rows_of(out[static_cast<std::size_t>(s)], texts.q_width(), position, 1);
      const auto expected = by_definition(texts, static_cast<std::size_t>(s), position, head, window, kv);
      EXPECT_LE(testing::max_difference(row.subspan(static_cast<std::size_t>(head * 32), 32), expected),
                tolerance(texts.heads, 150, 5.0f))
          << kv_type_name(kv) << " window " << window << " sequence " << s << " position " << position << " head "
          << head;
    }
  }
}

TEST(Attention, EveryIsaAgreesWithTheReference) {
  for (const HeadLayout heads :
       {HeadLayout{1, 1, 16}, HeadLayout{9, 3, 64}, HeadLayout{4, 1, 256}, HeadLayout{5, 1, 80}, HeadLayout{2, 2, 96},
        HeadLayout{18, 1, 32}, HeadLayout{4, 2, 128}, HeadLayout{3, 3, 2}, HeadLayout{4, 2, 4}, HeadLayout{6, 2, 8},
        HeadLayout{5, 5, 24}, HeadLayout{20, 1, 72}, HeadLayout{2, 1, 100}, HeadLayout{3, 1, 254},
        HeadLayout{2, 1, 512}}) {
    Texts texts = random_texts(heads, {330, 67});
    // Rounded queries: what is left of bf16 then are the weights, each off by at most 2^-9 of itself.
    for (std::vector<float>& q : texts.q) {
      for (float& value : q) value = to_float(to_bf16(value));
    }
    for (const auto& [window, kv] : windows_and_types(std::array{0, 65})) {
      const auto expected = outputs(texts, {.isa = "reference", .window = window, .kv = kv});
      for (const std::string& isa : testing::fast_isas()) {
        for (const bool keeps_f32 : {true, false}) {
          const Cut cut = {.isa = isa, .window = window, .scattered = true, .keeps_f32 = keeps_f32, .kv = kv};
          const auto out = outputs(texts, cut);
          const float bound = tolerance(heads, 330, 5.0f) + (keeps_f32 ? 0.0f : 5.0f / 512.0f);
          for (std::size_t s = 0; s < out.size(); ++s) {
            EXPECT_LE(testing::max_difference(out[s], expected[s]), bound)
                << isa << " " << kv_type_name(kv) << " heads " << heads.n_heads << "/" << heads.n_kv_heads << " dim "
                << heads.head_dim;
          }
        }
      }
    }
  }
}

TEST(Attention, ASoftcapBendsTheScoresOnEveryIsa) {
  const Texts texts = random_texts({4, 2, 64}, {150});
  for (const auto& [window, kv] : windows_and_types(std::array{0, 65})) {
    const auto uncapped = outputs(texts, {.isa = "reference", .window = window, .kv = kv});
    for (const std::string& isa : available_isas()) {
      Cut cut = {.isa = isa, .window = window, .chunk = 33, .poisoned = true, .kv = kv, .softcap = 1.5f};
      const auto out = outputs(texts, cut);
      for (const auto& [position, head] : {std::pair(0, 3), std::pair(64, 0), std::pair(149, 2)}) {
        const auto row = rows_of(out[0], texts.q_width(), position, 1).subspan(static_cast<std::size_t>(head * 64), 64);
        const auto expected = by_definition(texts, 0, position, head, window, kv, 1.5);
        EXPECT_LE(testing::max_difference(row, expected), tolerance(texts.heads, 150, 5.0f))
            << isa << " " << kv_type_name(kv) << " window " << window << " position " << position;
      }
      EXPECT_GT(testing::max_difference(out[0], uncapped[0]), 0.1f) << isa;
      cut.chunk = 1 << 20;
      cut.n_threads = 1;
      EXPECT_TRUE(testing::same_bits(outputs(texts, cut)[0], out[0])) << isa << " in one chunk";
    }
  }
}

TEST(Attention, ASinkTakesItsShareOfAHeadsWeightsOnEveryIsa) {
  const Texts texts = random_texts({4, 2, 64}, {300});
  const std::vector<float> sinks = {-2.0f, 0.5f, 3.0f, 6.0f};
  for (const auto& [window, kv] : windows_and_types(std::array{0, 65})) {
    const auto without = outputs(texts, {.isa = "reference", .window = window, .kv = kv});
    for (const std::string& isa : available_isas()) {
      Cut cut = {.isa = isa, .window = window, .chunk = 33, .poisoned = true, .kv = kv, .sinks = sinks};
      const auto out = outputs(texts, cut);
      for (const auto& [position, head] :
           {std::pair(0, 3), std::pair(64, 0), std::pair(149, 2), std::pair(149, 1), std::pair(299, 3)}) {
        const auto row = rows_of(out[0], texts.q_width(), position, 1).subspan(static_cast<std::size_t>(head * 64), 64);
        const auto expected =
            by_definition(texts, 0, position, head, window, kv, 0.0, static_cast<double>(sinks[to_size(head)]));
        EXPECT_LE(testing::max_difference(row, expected), tolerance(texts.heads, 300, 5.0f))
            << isa << " " << kv_type_name(kv) << " window " << window << " position " << position << " head " << head;
      }
      EXPECT_GT(testing::max_difference(out[0], without[0]), 0.1f) << isa;
      for (const int n_threads : {1, 4}) {  // four cut one row's keys between them
        cut.chunk = n_threads == 1 ? 1 << 20 : 1;
        cut.n_threads = n_threads;
        EXPECT_TRUE(testing::same_bits(outputs(texts, cut)[0], out[0])) << isa << " on " << n_threads << " threads";
      }
    }
  }
}

TEST(Attention, ASinkFarBelowChangesNothingAndOneFarAboveLeavesNothing) {
  const Texts texts = random_texts({2, 1, 32}, {70});
  for (const std::string& isa : available_isas()) {
    const auto without = outputs(texts, {.isa = isa});
    EXPECT_TRUE(testing::same_bits(outputs(texts, {.isa = isa, .sinks = {-1000.0f, -INFINITY}})[0], without[0])) << isa;
    const auto nothing = outputs(texts, {.isa = isa, .sinks = {1000.0f, 1000.0f}});
    for (const float value : nothing[0]) ASSERT_LE(std::abs(value), 1e-30f) << isa;
  }
}

TEST(Attention, AHeadIsAsWideAsItsOwnValuesInWhateverMemory) {
  // The outputs of a model with one head after those of another: heads that are no whole number of vectors touch.
  const Texts both = random_texts({2, 2, 24}, {90});
  for (const int head : {0, 1}) {
    Texts one = both;
    one.heads = {1, 1, 24};
    for (auto [from, to] : {std::pair(&both.q, &one.q), std::pair(&both.k, &one.k), std::pair(&both.v, &one.v)}) {
      (*to)[0].clear();
      for (int position = 0; position < 90; ++position) {
        const auto row = rows_of((*from)[0], 48, position, 1).subspan(static_cast<std::size_t>(head * 24), 24);
        (*to)[0].insert((*to)[0].end(), row.begin(), row.end());
      }
    }
    for (const std::string& isa : available_isas()) {
      for (const KvType kv : kKvTypes) {
        const auto wide = outputs(both, {.isa = isa, .poisoned = true, .kv = kv});
        const auto narrow = outputs(one, {.isa = isa, .kv = kv});
        for (int position = 0; position < 90; ++position) {
          const auto row = rows_of(wide[0], 48, position, 1).subspan(static_cast<std::size_t>(head * 24), 24);
          EXPECT_TRUE(testing::same_bits(row, rows_of(narrow[0], 24, position, 1)))
              << isa << " " << kv_type_name(kv) << " position " << position;
        }
      }
    }
  }
}

TEST(Attention, RowsOfAnImageSeeOneAnotherOnEveryIsa) {
  const Texts texts = random_texts({4, 2, 64}, {420, 90});
  for (const auto& [window, kv] : windows_and_types(std::array{0, 65, 300})) {
    for (const auto& [image, image_end] : {std::pair(40, 310), std::pair(64, 128), std::pair(0, 70)}) {
      const auto as_text = outputs(texts, {.isa = "reference", .window = window, .kv = kv});
      for (const std::string& isa : available_isas()) {
        Cut cut = {.isa = isa, .window = window, .scattered = true, .poisoned = true, .kv = kv};
        cut.image = image;
        cut.image_end = image_end;
        const auto out = outputs(texts, cut);
        for (const int position : {image, (image + image_end) / 2, image_end - 1}) {
          const auto row = rows_of(out[0], texts.q_width(), position, 1).subspan(128, 64);
          const auto expected = by_definition(texts, 0, position, 2, window, kv, 0.0, -INFINITY, image_end - 1);
          EXPECT_LE(testing::max_difference(row, expected), tolerance(texts.heads, 420, 5.0f))
              << isa << " " << kv_type_name(kv) << " window " << window << " position " << position;
        }
        EXPECT_GT(testing::max_difference(rows_of(out[0], texts.q_width(), image, 1),
                                          rows_of(as_text[0], texts.q_width(), image, 1)),
                  0.01f)
            << isa;
        // Text before and behind it, and other sequences, are as they were.
        cut.image = cut.image_end = 0;
        const auto text = outputs(texts, cut);
        EXPECT_TRUE(testing::same_bits(out[1], text[1])) << isa;
        for (const auto& [first, end] : {std::pair(0, image), std::pair(image_end, 420)}) {
          EXPECT_TRUE(testing::same_bits(rows_of(out[0], texts.q_width(), first, end - first),
                                         rows_of(text[0], texts.q_width(), first, end - first)))
              << isa;
        }
        cut.image = image;
        cut.image_end = image_end;
        for (const int n_threads : {1, 4}) {
          cut.n_threads = n_threads;
          cut.ends = {std::max(1, image), image_end, image_end + 1, 420};
          if (image == 0) cut.ends.erase(cut.ends.begin());
          EXPECT_TRUE(testing::same_bits(outputs(texts, cut)[0], out[0])) << isa << " on " << n_threads << " threads";
        }
      }
    }
  }
}

TEST(Attention, AMissingKeyExceedsTheTolerance) {
  Texts texts = random_texts({4, 2, 64}, {100});
  const auto expected = outputs(texts, {.isa = "reference"});
  const auto shorter = outputs(texts, {.isa = "reference", .window = 99});  // the last row loses one key of 100
  EXPECT_GT(testing::max_difference(rows_of(shorter[0], texts.q_width(), 99, 1),
                                    rows_of(expected[0], texts.q_width(), 99, 1)),
            tolerance(texts.heads, 100, 5.0f));
}

TEST(Attention, Avx2AndAvx512GiveTheSameBits) {
  const std::vector<std::string> isas = testing::fast_isas();
  if (std::find(isas.begin(), isas.end(), "avx512") == isas.end()) GTEST_SKIP() << "this CPU lacks AVX-512";
  for (const HeadLayout heads : {HeadLayout{9, 3, 64}, HeadLayout{4, 1, 256}, HeadLayout{3, 1, 48},
                                 HeadLayout{3, 1, 100}, HeadLayout{2, 1, 512}}) {
    const Texts texts = random_texts(heads, {350});
    const std::vector<float> sinks(to_size(heads.n_heads), 1.5f);
    for (const auto& [kv, keeps_f32] : {std::pair(KvType::kBF16, true), std::pair(KvType::kBF16, false),
                                        std::pair(KvType::kInt8, true), std::pair(KvType::kInt8, false)}) {
      const auto avx2 =
          outputs(texts, {.isa = "avx2", .window = 300, .keeps_f32 = keeps_f32, .kv = kv, .sinks = sinks});
      for (const char* other : {"avx512", kWithoutBf16Products}) {
        const auto avx512 =
            outputs(texts, {.isa = other, .window = 300, .keeps_f32 = keeps_f32, .kv = kv, .sinks = sinks});
        EXPECT_TRUE(testing::same_bits(avx2[0], avx512[0])) << other << " dim " << heads.head_dim;
      }
    }
  }
}

class AttentionBits : public ::testing::TestWithParam<std::tuple<std::string, int, KvType>> {};

TEST_P(AttentionBits, DoNotDependOnChunksThreadsNeighboursOrBlocks) {
  const auto [isa, window, kv] = GetParam();
  const Texts both = random_texts({6, 2, 32}, {200, 131});
  Texts alone = both;
  alone.lengths.resize(1);
  for (const bool keeps_f32 : {true, false}) {
    const auto cut = [&, isa = isa, window = window, kv = kv](int chunk, int n_threads, bool scattered, bool poisoned) {
      return Cut{isa, window, chunk, n_threads, scattered, poisoned, keeps_f32, kv};
    };
    const auto whole = outputs(both, cut(1 << 20, 2, false, false));
    for (const Cut& other :
         {cut(1, 2, false, false), cut(7, 1, true, false), cut(64, 3, false, true), cut(65, 2, true, true)}) {
      const auto out = outputs(both, other);
      EXPECT_TRUE(testing::same_bits(out[0], whole[0])) << "chunk " << other.chunk;
      EXPECT_TRUE(testing::same_bits(out[1], whole[1])) << "chunk " << other.chunk;
    }
    EXPECT_TRUE(testing::same_bits(outputs(alone, cut(65, 2, true, true))[0], whole[0])) << "alone";
  }
}

INSTANTIATE_TEST_SUITE_P(AllIsas, AttentionBits,
                         ::testing::Combine(::testing::ValuesIn(available_isas()), ::testing::ValuesIn(kWindows),
                                            ::testing::ValuesIn(kKvTypes)),
                         [](const auto& info) {
                           return std::get<0>(info.param) + "_window_" + std::to_string(std::get<1>(info.param)) + "_" +
                                  std::string(kv_type_name(std::get<2>(info.param)));
                         });

std::vector<std::pair<std::string, int>> isas_and_dims(std::initializer_list<int> head_dims) {
  std::vector<std::pair<std::string, int>> all;
  for (const std::string& isa : testing::fast_isas()) {
    for (const int head_dim : head_dims) all.emplace_back(isa, head_dim);
  }
  return all;
}

TEST(Attention, BitsDoNotDependOnTheThreadsThatShareALongText) {
  for (const auto& [isa, head_dim] : isas_and_dims({16, 24})) {
    const Texts texts = random_texts({4, 2, head_dim}, {600});
    for (const auto& [window, kv] : windows_and_types(std::array{0, 500})) {
      const Cut alone = {.isa = isa, .window = window, .n_threads = 1, .keeps_f32 = false, .kv = kv};
      const auto expected = outputs(texts, alone);
      for (const auto& [n_threads, chunk] : {std::pair(2, 1), std::pair(3, 40), std::pair(7, 250)}) {
        Cut shared = alone;
        shared.n_threads = n_threads;
        shared.chunk = chunk;
        const auto out = outputs(texts, shared);
        EXPECT_TRUE(testing::same_bits(out[0], expected[0]))
            << isa << ", " << n_threads << " threads, window " << window << ", dim " << head_dim;
      }
    }
  }
}

TEST(Attention, AnUnwrittenNanBehindTheRowChangesNothing) {
  // Every length up to a block and a bit: each cuts its last pair of positions at another place.
  const Texts texts = random_texts({3, 1, 16}, {70});
  for (const std::string& isa : available_isas()) {
    for (const auto& [window, kv] : windows_and_types(std::array{0, 7})) {
      const auto clean = outputs(texts, {.isa = isa, .window = window, .chunk = 1, .kv = kv});
      const auto poisoned = outputs(texts, {.isa = isa, .window = window, .chunk = 1, .poisoned = true, .kv = kv});
      EXPECT_TRUE(testing::same_bits(clean[0], poisoned[0])) << isa << " " << kv_type_name(kv);
    }
  }
}

TEST(Attention, Int8LosesAtMostHalfAStepOfAValue) {
  // One key: the output is its value.
  for (const HeadLayout heads : {HeadLayout{2, 1, 16}, HeadLayout{4, 2, 80}, HeadLayout{2, 1, 100}}) {
    const Texts texts = random_texts(heads, {1});
    for (const std::string& isa : available_isas()) {
      const auto out = outputs(texts, {.isa = isa, .kv = KvType::kInt8});
      for (int i = 0; i < texts.q_width(); ++i) {
        const int group = heads.n_heads / heads.n_kv_heads, kv_head = i / heads.head_dim / group;
        const auto value =
            std::span(texts.v[0])
                .subspan(static_cast<std::size_t>(kv_head * heads.head_dim), static_cast<std::size_t>(heads.head_dim));
        float largest = 0.0f;
        for (const float v : value) largest = std::max(largest, std::abs(v));
        const float wanted = value[static_cast<std::size_t>(i % heads.head_dim)];
        EXPECT_LE(std::abs(out[0][static_cast<std::size_t>(i)] - wanted), largest * (0.5f / 127.0f + 4 * kEpsilon))
            << isa;
      }
    }
  }
}

TEST(Attention, Int8KeepsZerosAndTinyValuesFiniteAndShowsNan) {
  for (const std::string& isa : available_isas()) {
    for (const float value : {0.0f, 1e-44f, 1e-37f, 1e37f, NAN, -INFINITY}) {
      Texts texts = random_texts({2, 1, 32}, {70});
      texts.v[0][32 * 66 + 5] = value;
      for (int i = 0; i < 32; ++i) texts.v[0][static_cast<std::size_t>(32 * 65 + i)] = value;
      const auto out = outputs(texts, {.isa = isa, .kv = KvType::kInt8});
      const auto before = rows_of(out[0], 64, 0, 65), after = rows_of(out[0], 64, 66, 4);
      EXPECT_TRUE(std::ranges::all_of(before, [](float x) { return std::isfinite(x); })) << isa << " " << value;
      EXPECT_EQ(std::ranges::all_of(after, [](float x) { return std::isfinite(x); }), std::isfinite(value))
          << isa << " " << value;
    }
  }
}

}  // namespace
}  // namespace commissure
