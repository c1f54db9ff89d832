#pragma once

#include <string>
#include <vector>

#include "core/dtype.h"
#include "core/json.h"
#include "support/family_model.h"
#include "support/temp_folder.h"

namespace commissure::testing {

/// One small random adapter of tests/golden/adapters.json (tools/golden/make_adapter_goldens.py), and what transformers
/// with PEFT makes of its base with it in float32.
struct AdapterCase {
  std::string name;
  FamilyCase base;
  Json config;                   ///< adapter_config.json as PEFT saves it
  Json shapes;                   ///< of every tensor, by its name in adapter_model.safetensors
  std::vector<double> logprobs;  ///< [base.ids.size() - 1] of the token that follows
  std::vector<int> top1;         ///< [base.ids.size() - 1] the likeliest token
  std::string altered = {};      ///< for tests of the tests: tensors with this in their name have other values

  bool is_dora() const { return config["use_dora"].get<bool>(); }
};

/// `golden`: the folder tests/golden.
std::vector<AdapterCase> adapter_cases(const std::string& golden);

/// adapter_config.json and adapter_model.safetensors, in F32, F16 or BF16.
void write_peft_adapter(const AdapterCase& adapter, const TempFolder& folder, DType dtype = DType::kF32);

/// The same as a converter to GGUF writes it; of adapters without DoRA whose modules have one scale.
std::string adapter_gguf(const AdapterCase& adapter);

}  // namespace commissure::testing
