#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "weights/checkpoint.h"

namespace commissure {

/// Finds a checkpoint's files, reads their headers and joins them; used once, by Checkpoint::open.
class CheckpointBuilder {
 public:
  CheckpointBuilder(std::string location, ReadMode mode, Vocabulary vocabulary);

  /// Errors: as Checkpoint::open.
  Result<std::unique_ptr<Checkpoint>> build();

 private:
  Result<std::string> find_in_folder() const;
  Status open_gguf(std::string file);
  Status add_splits(const std::string& first_file);

  /// Takes over one file's tensors. Errors: kDataLoss, a name that another file has already.
  Status add_tensors(std::vector<TensorInfo> tensors, std::unique_ptr<ByteSource> source);

  const ReadMode mode_;
  const Vocabulary vocabulary_;
  std::unique_ptr<Checkpoint> checkpoint_;
};

}  // namespace commissure
