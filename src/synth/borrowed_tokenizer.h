#pragma once

#include <map>
#include <string>

#include "core/result.h"
#include "weights/checkpoint.h"
#include "weights/write_header.h"

namespace commissure {

/// Tokenizer and chat templates of another model, as its format holds them.
struct BorrowedTokenizer {
  std::map<std::string, std::string> files;  ///< safetensors
  GgufPairs keys;                            ///< GGUF

  bool is_empty() const { return files.empty() && keys.count() == 0; }
};

/// Errors: kInvalidArgument, the model is not of `format`, or has more tokens than `n_vocab`; as Tokenizer's.
Result<BorrowedTokenizer> borrow_tokenizer(const Checkpoint& from, CheckpointFormat format, int n_vocab);

}  // namespace commissure
