#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "kernels/backend.h"
#include "weights/adapter_config.h"
#include "weights/byte_source.h"
#include "weights/tensor_info.h"

namespace commissure {

/// One tensor of an adapter.
struct AdapterTensor {
  enum class Part { kDown, kUp, kMagnitude };  ///< first matrix (A), second (B), DoRA's lengths of rows
  std::string module;                          ///< what it changes: "model.layers.0.self_attn.q_proj", "blk.0.attn_q"
  Part part = Part::kDown;
  TensorInfo info;
};

/// An adapter's files, whose headers are read: a PEFT folder or a GGUF adapter.
/// Threading: const functions from any thread.
class AdapterReader {
 public:
  /// `path` as adapter_files() takes it. Errors: kNotFound; kInvalidArgument or kDataLoss, a file is malformed, with
  /// what is wrong in it; kUnimplemented, the adapter asks for what does not run, named.
  static Result<std::unique_ptr<AdapterReader>> open(const std::string& path);
  /// The same of a file that is open: of PEFT's with the text of its adapter_config.json, of a GGUF without.
  static Result<std::unique_ptr<AdapterReader>> open(std::unique_ptr<ByteSource> tensors,
                                                     const std::optional<std::string>& config);

  /// Of the file with the tensors.
  const std::string& name() const { return source_->name(); }
  bool is_gguf() const { return !config_; }
  /// Whether each module has magnitudes, too.
  bool is_dora() const { return config_ && config_->is_dora(); }
  /// In the order of the file.
  const std::vector<AdapterTensor>& tensors() const { return tensors_; }

  /// What the product of a module's matrices is multiplied with. Errors: kInvalidArgument, its configuration names
  /// another rank.
  Result<float> scale_of(const std::string& module, std::int64_t rank) const;

  /// The tensor's values as F32 or BF16, in memory of their own. Errors: kInvalidArgument, a value is not finite; as
  /// ByteSource::read.
  Result<MatrixSource> load(const TensorInfo& tensor) const;

 private:
  AdapterReader() = default;
  Status read_gguf();
  Status read_peft();
  Status add(TensorInfo info, std::string_view module, AdapterTensor::Part part);
  Error stranger(std::string_view tensor) const;

  std::unique_ptr<ByteSource> source_;
  std::optional<AdapterConfig> config_;  // of PEFT
  double alpha_ = 0.0;                   // of GGUF
  std::vector<AdapterTensor> tensors_;
};

}  // namespace commissure
