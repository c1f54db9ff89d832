#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/json.h"
#include "core/metadata.h"
#include "core/result.h"
#include "weights/byte_source.h"
#include "weights/gguf.h"
#include "weights/made_tensor.h"
#include "weights/model_files.h"
#include "weights/tensor_info.h"

namespace commissure {

enum class CheckpointFormat { kGguf, kSafetensors };

/// A model's files: single or split GGUF, single or sharded safetensors. Opening reads headers only.
/// Threading: const functions from any thread.
class Checkpoint {
 public:
  /// Opens a .gguf file (its other splits are found beside it), a .safetensors file, a model folder (config.json with
  /// model.safetensors or an index, or exactly one GGUF), the http(s) URL of any of these files, or the gs:// location
  /// of a file or folder. Errors: kNotFound; kInvalidArgument or kDataLoss, with the file, what is wrong in it and what
  /// to do.
  static Result<std::unique_ptr<Checkpoint>> open(const std::string& location, ReadMode mode = ReadMode::kMap,
                                                  Vocabulary vocabulary = Vocabulary::kKeep);
  /// A model whose files lie nowhere; `name` stands for its location. Errors: as above.
  static Result<std::unique_ptr<Checkpoint>> open(const std::string& name, std::unique_ptr<const ModelFiles> files,
                                                  Vocabulary vocabulary = Vocabulary::kKeep);

  CheckpointFormat format() const { return format_; }
  /// Whether loaded tensors are pages of the mapped files rather than copies in this process's own memory.
  bool is_mapped() const;
  const std::string& location() const { return location_; }
  /// Whether the model's files lie somewhere.
  bool has_files() const { return made_up_ == nullptr; }
  /// The files of a model that lie nowhere; nullptr where they lie somewhere.
  const ModelFiles* made_up() const { return made_up_.get(); }

  /// GGUF's key-value header; empty for safetensors.
  const Metadata& metadata() const { return metadata_; }
  /// The same as it stands in the (first) file, without the count of keys before it.
  struct RawMetadata {
    std::uint64_t n_keys = 0;
    ByteRange bytes;
  };
  Result<RawMetadata> raw_metadata() const;
  /// config.json of a safetensors model; null for GGUF.
  const Json& config() const { return config_; }
  /// Another file of the model folder (tokenizer.json, generation_config.json, ...).
  /// Errors: kNotFound; kInvalidArgument, larger than `max_bytes`.
  Result<std::string> read_side_file(std::string_view file_name, std::uint64_t max_bytes = 64u << 20) const;

  /// The location of a file that lies beside the model's.
  std::string path_beside(std::string_view file_name) const;

  /// The names of the files in a folder of the model folder (additional_chat_templates); none where there is no such
  /// folder, and of a URL, behind which nothing can be listed. Errors: as find_model_file.
  Result<std::vector<std::string>> list_side_folder(std::string_view name) const;

  const std::vector<TensorInfo>& tensors() const { return tensors_; }
  /// nullptr when the checkpoint has no such tensor.
  const TensorInfo* find(std::string_view name) const;
  /// The dtype of a tensor that the checkpoint has in a dtype we do not support; "" for any other name.
  std::string unsupported_dtype(std::string_view name) const;
  /// Name and dtype of all such tensors.
  const std::map<std::string, std::string, std::less<>>& unsupported_dtypes() const { return unsupported_; }
  /// As find. Errors: kNotFound, the checkpoint has no such tensor, or has it in a type that is not supported.
  Result<const TensorInfo*> require(std::string_view name) const;

  /// From now on the matrix is of `dtype` (Q8_0 or NF4): load() makes it from the floats that are stored. Not while
  /// another thread uses the checkpoint.
  void quantise(const std::string& name, DType dtype);
  /// What quantise() was called for, or what the model's files say that they were written with: "nf4"; "" for neither.
  const std::string& quantisation() const { return quantisation_; }
  void set_quantisation(std::string name) { quantisation_ = std::move(name); }
  /// Whether load() makes this tensor, in memory of its own.
  bool is_made(const TensorInfo& tensor) const { return made_.contains(tensor.name); }

  /// The tensor's bytes; of the files, exactly what is needed for them. Errors: as ByteSource::read and make_tensor.
  Result<ByteRange> load(const TensorInfo& tensor) const;
  /// Bytes of the files that load() reads for the tensor: where it is made, of what it is made from.
  std::uint64_t stored_bytes(const TensorInfo& tensor) const;
  /// Hints that the tensor will be loaded soon (starts the disk; with kMap, maps its pages).
  void prefetch(const TensorInfo& tensor) const;
  /// How many loads of this tensor and its neighbours are worth having under way at once.
  int reads_at_once(const TensorInfo& tensor) const;
  /// Hints that the tensor's bytes have been copied elsewhere; its mapped pages leave this process's memory.
  void release(const TensorInfo& tensor) const;

  /// Bytes read from all files so far, headers included.
  std::uint64_t bytes_read() const;
  /// Bytes of the headers (everything before tensor data that opening had to read).
  std::uint64_t header_bytes() const { return header_bytes_; }

  /// Frees the vocabulary's arrays in metadata() (megabytes), once a tokenizer was made of them. Not while another
  /// thread uses metadata().
  void drop_vocabulary();

  /// A hash (hex) over config and tensor table as they are stored: equal for the same model wherever its files lie.
  std::string fingerprint() const;
  /// The same with the quantisation behind it: "0f3a...+nf4".
  std::string quantised_fingerprint() const;

 private:
  friend class CheckpointBuilder;
  Checkpoint() = default;
  /// The tensor as its file holds it.
  const TensorInfo& stored(const TensorInfo& tensor) const;
  /// What load() reads of the files for the tensor, but for a few small tables.
  std::vector<const TensorInfo*> parts(const TensorInfo& tensor) const;
  Result<ByteRange> load_stored(const TensorInfo& tensor) const;
  Result<std::unique_ptr<ByteSource>> open_file(const std::string& file, ReadMode mode) const;

  CheckpointFormat format_ = CheckpointFormat::kGguf;
  std::string location_;
  std::string file_;  // the GGUF or safetensors file or index that location_ led to
  Metadata metadata_;
  Json config_;
  std::vector<TensorInfo> tensors_;
  std::unordered_map<std::string, std::size_t> by_name_;
  std::map<std::string, std::string, std::less<>> unsupported_;  // name -> dtype of tensors we cannot use
  std::map<std::string, std::uint64_t> array_lengths_;
  std::uint64_t n_keys_ = 0, keys_begin_ = 0, keys_end_ = 0;  // of a GGUF: where its metadata stands
  std::unordered_map<std::string, MadeTensor> made_;
  std::string quantisation_;
  std::string written_fingerprint_;  // of the model that this one was written from; "" where it was not
  std::vector<std::unique_ptr<ByteSource>> sources_;
  std::uint64_t header_bytes_ = 0;
  std::unique_ptr<const ModelFiles> made_up_;  // null where the model's files lie somewhere
};

}  // namespace commissure
