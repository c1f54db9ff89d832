#pragma once

#include <string>
#include <vector>

#include "core/dtype.h"
#include "core/json.h"
#include "support/temp_folder.h"

namespace commissure::testing {

/// One small random model of tests/golden/families (tools/golden/make_family_goldens.py): what its files say, and what
/// transformers makes of it in float32.
struct FamilyCase {
  std::string name;
  Json config;  ///< config.json as transformers saves it
  Json shapes;  ///< of every tensor, by its name in safetensors
  Json gguf;    ///< architecture, header, names, ...; null: GGUF has no such model
  std::vector<int> ids;
  std::vector<double> logprobs;  ///< [ids.size() - 1] of the token that follows
  std::vector<int> top1;         ///< [ids.size() - 1] the likeliest token
  std::string altered = {};      ///< for tests of the tests: tensors with this in their name have other values
};

/// Of all .json files in the folder.
std::vector<FamilyCase> family_cases(const std::string& folder);

/// config.json and model.safetensors (F32, or bytes of MXFP4).
void write_family_safetensors(const FamilyCase& family, const TempFolder& folder);

/// A GGUF file of the same weights, matrices in F32 or Q8_0.
std::string family_gguf(const FamilyCase& family, DType matrices);

}  // namespace commissure::testing
