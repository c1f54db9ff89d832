#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/dtype.h"
#include "core/json.h"
#include "core/metadata.h"
#include "weights/tensor_info.h"

/// How `commissure quantise` writes what other programs have no name for. In safetensors a quantised matrix is bytes,
/// [rows, bytes of a row], with its type behind its name; in GGUF, NF4 is type kGgmlNf4. config.json's
/// quantization_config or GGUF's metadata say how and from which model it was made.
namespace commissure {

/// Far behind ggml's own types.
inline constexpr std::uint32_t kGgmlNf4 = 20064;

/// "NAME.commissure_nf4".
std::string written_name(const std::string& name, DType dtype);

/// The matrix whose bytes a tensor of such a name holds; nothing when it is none.
std::optional<TensorInfo> as_written(const TensorInfo& bytes);

/// What the files say of their making; texts are empty where they say nothing.
struct WrittenFrom {
  std::string quantisation;  ///< "nf4"
  std::string fingerprint;   ///< of the model before

  /// The value of config.json's quantization_config.
  Json to_json() const;
};
inline constexpr const char* kWrittenQuantisationKey = "commissure.quantisation";
inline constexpr const char* kWrittenFingerprintKey = "commissure.fingerprint";

/// `config` is null for GGUF, `metadata` empty for safetensors.
WrittenFrom written_from(const Json& config, const Metadata& metadata);

}  // namespace commissure
