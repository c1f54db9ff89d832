#include "synth/synth_model.h"

#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/check.h"
#include "core/index.h"
#include "model/decoder_spec.h"
#include "model/tensor_names.h"
#include "synth/borrowed_tokenizer.h"
#include "synth/gguf_description.h"
#include "synth/plain_tokenizer.h"
#include "synth/random_file.h"
#include "synth/random_values.h"
#include "synth/synth_config.h"
#include "synth/weight_scales.h"
#include "weights/write_header.h"

namespace commissure {
namespace {

constexpr const char* kGgufFile = "model.gguf";
constexpr const char* kSafetensorsFile = "model.safetensors";

/// What is known of a model before any of its weights.
struct Plan {
  SynthRequest request;
  Json config;        ///< of the request's layers
  DecoderSpec whole;  ///< of all layers of the shape, named as safetensors are
  DecoderSpec part;   ///< of the request's layers, named as its format does
};

Result<Plan> plan_model(const SynthRequest& request) {
  Plan plan{.request = request, .config = {}, .whole = {}, .part = {}};
  const Json config = whole_config(request);
  plan.whole = TRY(spec_from_config(config, request.dtype));
  plan.config = part_config(request, config, plan.whole);
  plan.part = TRY(spec_from_config(plan.config, request.dtype));
  if (request.format == CheckpointFormat::kGguf) plan.part.naming = gguf_naming(plan.part);
  return plan;
}

/// Vectors and routers of a GGUF are F32, as converters write them.
DType dtype_of(const Plan& plan, const ExpectedTensor& tensor) {
  const bool is_small = !is_matrix(tensor.role) || tensor.role == TensorRole::kRouter ||
                        tensor.role == TensorRole::kSharedRouter || tensor.shape.size() == 1;
  return plan.request.format == CheckpointFormat::kGguf && is_small ? DType::kF32 : plan.request.dtype;
}

/// Of what both formats know of a tensor: its name in safetensors, and its first row where it is one of several.
std::string stream_name(const ExpectedTensor& tensor) { return fmt::format("{}#{}", tensor.name, tensor.first); }

RandomRows random_rows(const Plan& plan, const ExpectedTensor& source, const ExpectedTensor& tensor) {
  RandomRows rows;
  rows.key = tensor_key(plan.request.seed, stream_name(source));
  rows.first = tensor.first;
  rows.count = tensor.shape.size() == 1 ? 1 : tensor.shape[0];
  rows.spread = spread_of(source, plan.whole);
  const bool is_gguf = plan.request.format == CheckpointFormat::kGguf;
  if (is_norm(source.role) && !is_gguf) rows.offset = static_cast<double>(plan.whole.norm_offset);
  const bool is_rotated = source.role == TensorRole::kQuery || source.role == TensorRole::kKey;
  if (is_gguf && is_rotated && is_interleaved_in_gguf(plan.whole))
    rows.interleaved_dim = plan.whole.layers[source.layer].heads.head_dim;
  return rows;
}

/// The tensors of the file in the order of their use. Values hang on what the whole model calls them.
std::vector<RandomTensor> random_tensors(const Plan& plan) {
  const LayerSpan span = layers_of(plan.request, plan.whole.n_layers());
  const std::vector<ExpectedTensor> sources = expected_tensors(plan.whole, {span.first, span.last + 1, true, true});
  const std::vector<ExpectedTensor> expected = expected_tensors(plan.part, {0, plan.part.n_layers(), true, true});
  CHECK(sources.size() == expected.size());
  std::vector<RandomTensor> tensors;
  std::unordered_map<std::string, std::size_t> by_name;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CHECK(sources[i].role == expected[i].role);
    const auto [entry, is_new] = by_name.try_emplace(expected[i].name, tensors.size());
    if (is_new) {
      RandomTensor tensor;
      tensor.info.name = expected[i].name;
      tensor.info.dtype = dtype_of(plan, expected[i]);
      tensor.info.shape = expected[i].stored_shape();
      const std::int64_t n_cols = tensor.info.shape.back();
      tensor.info.n_bytes = to_size(tensor.info.n_elements() / n_cols) * row_bytes(tensor.info.dtype, n_cols);
      tensors.push_back(std::move(tensor));
    }
    tensors[entry->second].rows.push_back(random_rows(plan, sources[i], expected[i]));
  }
  return tensors;
}

void add_rope_divisors(const Plan& plan, std::vector<RandomTensor>& tensors) {
  RandomTensor tensor;
  tensor.given = rope_divisors(plan.config, plan.part);
  if (tensor.given.empty()) return;
  tensor.info.name = "rope_freqs.weight";
  tensor.info.shape = {static_cast<std::int64_t>(tensor.given.size())};
  tensor.info.n_bytes = tensor.given.size() * sizeof(float);
  tensors.push_back(std::move(tensor));
}

/// A file's tensors with their places, and how long all of them are.
struct LaidOut {
  std::vector<TensorInfo> infos;
  std::uint64_t n_bytes = 0;
};

LaidOut lay_out(std::vector<RandomTensor>& tensors, std::uint64_t alignment) {
  LaidOut laid;
  for (const RandomTensor& tensor : tensors) laid.infos.push_back(tensor.info);
  laid.n_bytes = lay_out(laid.infos, alignment);
  for (std::size_t i = 0; i < tensors.size(); ++i) tensors[i].info.offset = laid.infos[i].offset;
  return laid;
}

/// The files of such a model.
class SynthFiles final : public ModelFiles {
 public:
  SynthFiles(Plan plan, BorrowedTokenizer tokenizer)
      : plan_(std::move(plan)), tokenizer_(std::move(tokenizer)), name_(synth_name(plan_.request)) {}

  std::string main_file() const override { return is_gguf() ? kGgufFile : kSafetensorsFile; }

  Result<std::unique_ptr<ByteSource>> open(const std::string& file) const override {
    if (file == main_file()) return is_gguf() ? open_gguf() : open_safetensors();
    if (!is_gguf() && file == "config.json") return text_file(file, pretty_json(plan_.config));
    if (const auto borrowed = tokenizer_.files.find(file); borrowed != tokenizer_.files.end())
      return text_file(file, borrowed->second);
    if (!is_gguf() && tokenizer_.is_empty()) {
      if (file == "tokenizer.json") return text_file(file, plain_tokenizer_json(plan_.part.n_vocab));
      if (file == "tokenizer_config.json") return text_file(file, plain_tokenizer_config());
    }
    return Error(Code::kNotFound, name_, ": has no ", file);
  }

 private:
  bool is_gguf() const { return plan_.request.format == CheckpointFormat::kGguf; }

  std::unique_ptr<ByteSource> text_file(const std::string& file, std::string text) const {
    return std::make_unique<RandomFile>(name_ + "/" + file, std::move(text), std::vector<RandomTensor>(), 0);
  }

  Result<std::unique_ptr<ByteSource>> open_safetensors() const {
    std::vector<RandomTensor> tensors = random_tensors(plan_);
    const LaidOut laid = lay_out(tensors, 1);
    return std::make_unique<RandomFile>(name_ + "/" + kSafetensorsFile, safetensors_header(laid.infos),
                                        std::move(tensors), laid.n_bytes);
  }

  Result<std::unique_ptr<ByteSource>> open_gguf() const {
    std::vector<RandomTensor> tensors = random_tensors(plan_);
    add_rope_divisors(plan_, tensors);
    const LaidOut laid = lay_out(tensors, kGgufAlignment);
    GgufPairs keys = TRY(gguf_keys(plan_.request, plan_.config, plan_.part));
    if (tokenizer_.is_empty()) {
      add_plain_tokenizer(plan_.part.n_vocab, keys);
    } else {
      keys.raw(tokenizer_.keys.count(), tokenizer_.keys.bytes());
    }
    std::string head = gguf_header(keys, laid.infos);
    head.resize(padded(head.size(), kGgufAlignment), '\0');
    return std::make_unique<RandomFile>(name_ + "/" + kGgufFile, std::move(head), std::move(tensors), laid.n_bytes);
  }

  const Plan plan_;
  const BorrowedTokenizer tokenizer_;
  const std::string name_;
};

}  // namespace

Result<std::unique_ptr<Checkpoint>> make_synth_model(const SynthRequest& request, const Checkpoint* tokenizer,
                                                     Vocabulary vocabulary) {
  const std::string name = synth_name(request);
  Plan plan = TRY(plan_model(request));
  BorrowedTokenizer borrowed;
  if (tokenizer != nullptr) {
    auto taken = borrow_tokenizer(*tokenizer, request.format, plan.part.n_vocab);
    if (!taken) return taken.error().within(name);
    borrowed = *std::move(taken);
  } else {
    plan.config["bos_token_id"] = kPlainBegin;
    plan.config["eos_token_id"] = kPlainEnd;
    plan.config["pad_token_id"] = kPlainPad;
  }
  return Checkpoint::open(name, std::make_unique<SynthFiles>(std::move(plan), std::move(borrowed)), vocabulary);
}

}  // namespace commissure
