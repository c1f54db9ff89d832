// An adapter: adapter_config.json and, after a NUL, adapter_model.safetensors; without a configuration a GGUF adapter.

#include <optional>
#include <string>

#include "core/index.h"
#include "core/json.h"
#include "fuzz/fuzz.h"
#include "kernels/low_rank.h"
#include "model/adapter_shares.h"
#include "support/memory_source.h"

namespace {

using namespace commissure;

/// A model of the family: three layers, 64 wide, four heads of 16 (two of keys), a feed-forward of 96.
DecoderSpec spec_of(const std::string& family) {
  const auto config = parse_json(
      R"({"model_type":")" + family +
      R"(","hidden_size":64,"intermediate_size":96,"num_hidden_layers":3,"num_attention_heads":4,"num_key_value_heads":2,)"
      R"("vocab_size":100,"max_position_embeddings":256,"rms_norm_eps":1e-6})");
  CHECK(config.has_value());
  auto spec = spec_from_config(*config, DType::kBF16);
  CHECK(spec.has_value());
  return *std::move(spec);
}

/// What a share says is what its loader relies on.
void check_shares(const DecoderSpec& spec, const AdapterReader& reader) {
  const auto shares = find_adapter_shares(spec, reader);
  if (!fuzz::is_accepted(shares)) return;
  for (const AdapterShare& share : *shares) {
    CHECK(share.layer >= 0 && share.layer < spec.n_layers() && share.n_outputs > 0 && share.n_inputs > 0);
    CHECK(share.down != nullptr && share.up != nullptr && (share.magnitude != nullptr) == reader.is_dora());
    CHECK(share.rank() >= 1 && share.rank() <= kMaxAdapterRank && share.down->info.shape[1] == share.n_inputs);
    CHECK(share.up->info.shape[1] == share.rank() && share.first_output >= 0);
    CHECK(share.first_output + share.n_outputs <= share.up->info.shape[0]);
    CHECK(reader.scale_of(share.module, share.rank()).has_value());
    const auto up = reader.load(share.up->info);
    if (!fuzz::is_accepted(up)) continue;
    CHECK(up->data.bytes.size() == to_size(up->n_rows) * row_bytes(up->dtype, up->n_cols));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const DecoderSpec kLlama = spec_of("llama"), kPhi = spec_of("phi3");
  const auto [config, tensors] = fuzz::two_texts(fuzz::as_text(data, size));
  const std::optional<std::string> text = config.empty() ? std::nullopt : std::optional<std::string>(config);
  const auto reader = AdapterReader::open(std::make_unique<MemorySource>(std::string(tensors)), text);
  if (!fuzz::is_accepted(reader)) return 0;
  check_shares(kLlama, **reader);
  check_shares(kPhi, **reader);
  return 0;
}
