#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "core/result.h"
#include "weights/checkpoint.h"

namespace commissure {

/// Finds a checkpoint's files, reads their headers and joins them; used once, by Checkpoint::open.
class CheckpointBuilder {
 public:
  CheckpointBuilder(std::string location, ReadMode mode, Vocabulary vocabulary);
  CheckpointBuilder(std::string name, std::unique_ptr<const ModelFiles> files, Vocabulary vocabulary);

  /// Errors: as Checkpoint::open.
  Result<std::unique_ptr<Checkpoint>> build();

 private:
  Result<std::unique_ptr<ByteSource>> open_file(const std::string& file) const {
    return checkpoint_->open_file(file, mode_);
  }
  Result<std::string> read_text(const std::string& file, std::uint64_t max_bytes) const;

  Status open_gguf(std::string file);
  Status add_splits(const std::string& first_file);
  Status add_split(const std::string& file, int number, std::int64_t count);

  Status open_safetensors(const std::string& file);
  Status open_index(const std::string& index_file);
  Status add_safetensors(const std::string& file);
  Status read_config(const std::string& file);
  /// Adds the matrices that lie in byte tensors: those of `commissure quantise` and of bitsandbytes.
  Status add_packed();
  /// Puts one tensor for every expert in the place of gpt-oss's own.
  Status add_oss_experts();
  Status add_bnb(const TensorInfo& codes, const TensorInfo& description);
  void drop_tensors(const std::unordered_set<std::string>& names);

  /// Adds the tensors of one file, whose bytes `source` reads. Errors: kDataLoss, a tensor's name is in another file
  /// already.
  Status add_tensors(std::vector<TensorInfo> tensors, std::unique_ptr<ByteSource> source);

  Status add_tensor(TensorInfo tensor);
  /// Two files hold a tensor of the same name.
  Error also_in(const TensorInfo& tensor, const TensorInfo& other) const;

  const ReadMode mode_;
  const Vocabulary vocabulary_;
  std::unique_ptr<Checkpoint> checkpoint_;
  std::map<std::string, TensorInfo> byte_tensors_;
};

}  // namespace commissure
