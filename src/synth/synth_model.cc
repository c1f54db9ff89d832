#include "synth/synth_model.h"

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "synth/borrowed_tokenizer.h"
#include "synth/gguf_description.h"
#include "synth/plain_tokenizer.h"
#include "synth/random_file.h"
#include "synth/synth_config.h"
#include "synth/synth_plan.h"
#include "weights/write_header.h"

namespace commissure {
namespace {

constexpr const char* kGgufFile = "model.gguf";
constexpr const char* kSafetensorsFile = "model.safetensors";
constexpr const char* kConfigFile = "config.json";
constexpr const char* kTokenizerFile = "tokenizer.json";
constexpr const char* kTokenizerConfigFile = "tokenizer_config.json";

void add_rope_divisors(const SynthPlan& plan, std::vector<RandomTensor>& tensors) {
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
  SynthFiles(SynthPlan plan, BorrowedTokenizer tokenizer)
      : plan_(std::move(plan)), tokenizer_(std::move(tokenizer)), name_(synth_name(plan_.request)) {}

  std::string main_file() const override { return is_gguf() ? kGgufFile : kSafetensorsFile; }

  std::vector<std::string> names() const override {
    if (is_gguf()) return {kGgufFile};
    std::vector<std::string> names = {kSafetensorsFile};
    for (const auto& [name, text] : tokenizer_.files) names.push_back(name);
    if (tokenizer_.is_empty()) names.insert(names.end(), {kTokenizerFile, kTokenizerConfigFile});
    names.push_back(kConfigFile);
    return names;
  }

  Result<std::unique_ptr<ByteSource>> open(const std::string& file) const override {
    if (file == main_file()) return is_gguf() ? open_gguf() : open_safetensors();
    if (!is_gguf() && file == kConfigFile) return text_file(file, pretty_json(plan_.config));
    if (const auto borrowed = tokenizer_.files.find(file); borrowed != tokenizer_.files.end())
      return text_file(file, borrowed->second);
    if (!is_gguf() && tokenizer_.is_empty()) {
      if (file == kTokenizerFile) return text_file(file, tokenizer_json());
      if (file == kTokenizerConfigFile) return text_file(file, plain_tokenizer_config(plan_.request.has_vision));
    }
    return Error(Code::kNotFound, name_, ": has no ", file);
  }

 private:
  bool is_gguf() const { return plan_.request.format == CheckpointFormat::kGguf; }

  std::string tokenizer_json() const {
    const int n_vocab = plan_.part.n_vocab;
    return plan_.request.has_vision ? plain_tokenizer_json(n_vocab, image_tokens(n_vocab))
                                    : plain_tokenizer_json(n_vocab);
  }

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

  const SynthPlan plan_;
  const BorrowedTokenizer tokenizer_;
  const std::string name_;
};

}  // namespace

Result<std::uint64_t> synth_bytes(const SynthRequest& request) {
  std::uint64_t sum = 0;
  for (const RandomTensor& tensor : random_tensors(TRY(plan_synth(request)))) sum += tensor.info.n_bytes;
  return sum;
}

Result<std::unique_ptr<Checkpoint>> make_synth_model(const SynthRequest& request, const Checkpoint* tokenizer,
                                                     Vocabulary vocabulary) {
  const std::string name = synth_name(request);
  SynthPlan plan = TRY(plan_synth(request));
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
