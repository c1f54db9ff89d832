#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/result.h"
#include "weights/checkpoint.h"

namespace commissure {

struct WriteOptions {
  bool expand = false;  ///< quantised tensors become BF16
  /// Called after every tensor with the bytes so far and in all. False stops.
  std::function<bool(std::uint64_t done_bytes, std::uint64_t total_bytes)> progress;
};

/// Errors: kInvalidArgument, the model was written quantised by this program, and the one it was made from says more.
Status check_expandable(const Checkpoint& checkpoint);

/// The files beside a model's config.json that come along where it is copied: tokenizer, chat templates and what they
/// say of each other, "additional_chat_templates/x.jinja" among them. Some may be missing. Errors: as list_side_folder.
Result<std::vector<std::string>> side_files(const Checkpoint& checkpoint);

/// Writes a model into `folder`, which is made where it is missing: every tensor as `checkpoint` hands it out, and what
/// lies beside or before the tensors as it is. A GGUF becomes model.gguf; a safetensors model model.safetensors with
/// config.json, its tokenizer and chat templates. Files get their names once all are written, config.json last; after
/// an error before that they are gone, and with them the folders that were made for them. A model whose files lie
/// nowhere, and which is to stay as it is, is written as these files are. Returns the bytes of the weights' file.
/// Errors: kAlreadyExists, the folder holds something; kInvalidArgument, a GGUF in several files, or as
/// check_expandable; kResourceExhausted, the disk is full; kUnavailable or kPermissionDenied, the folder cannot be
/// written; kCancelled; as Checkpoint::load.
Result<std::uint64_t> write_model(const Checkpoint& checkpoint, const std::string& folder, const WriteOptions& options);

}  // namespace commissure
