#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/result.h"
#include "weights/byte_source.h"

namespace commissure {

/// The files of a model that lie nowhere: somebody makes their bytes when they are read.
/// Threading: any thread.
class ModelFiles {
 public:
  virtual ~ModelFiles() = default;

  /// The name of the file that the model is opened by: "model.gguf", "model.safetensors".
  virtual std::string main_file() const = 0;
  /// All files, the main one among them; config.json, where there is one, last.
  virtual std::vector<std::string> names() const = 0;
  /// Errors: kNotFound, there is no such file.
  virtual Result<std::unique_ptr<ByteSource>> open(const std::string& name) const = 0;
};

}  // namespace commissure
