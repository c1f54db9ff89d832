#include "weights/model_writer.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <iterator>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

#include "core/index.h"
#include "core/json.h"
#include "kernels/quant.h"
#include "weights/file_writer.h"
#include "weights/write_header.h"
#include "weights/written_quant.h"

namespace commissure {
namespace {

namespace fs = std::filesystem;

/// Written at a time: what progress moves by, and what a tensor that is made while it is read takes of memory.
constexpr std::uint64_t kChunkBytes = 32u << 20;

/// What is copied beside config.json, where the model has it.
constexpr const char* kSideFiles[] = {"tokenizer.json",    "tokenizer_config.json",   "special_tokens_map.json",
                                      "added_tokens.json", "generation_config.json",  "chat_template.jinja",
                                      "tokenizer.model",   "preprocessor_config.json"};
constexpr const char* kTemplateFolder = "additional_chat_templates";

/// The folders that are made for a file, of which none is left when it ends unless they are kept.
class NewFolders {
 public:
  NewFolders() = default;
  NewFolders(const NewFolders&) = delete;
  NewFolders& operator=(const NewFolders&) = delete;
  ~NewFolders() {
    std::error_code ignored;
    for (const fs::path& folder : made_) fs::remove(folder, ignored);  // where it is empty
  }

  /// Makes the folder and those above it that are missing. Errors: kPermissionDenied.
  Status make(const std::string& folder) {
    std::error_code error;
    fs::path place = fs::absolute(folder, error);
    if (!place.has_filename()) place = place.parent_path();  // "folder/"
    const auto is_missing = [&] { return fs::symlink_status(place, error).type() == fs::file_type::not_found; };
    for (; is_missing() && place.has_relative_path(); place = place.parent_path()) made_.push_back(place);
    fs::create_directories(folder, error);
    if (error) return Error(Code::kPermissionDenied, folder, ": cannot be made: ", error.message());
    return {};
  }
  void keep() { made_.clear(); }

 private:
  std::vector<fs::path> made_;  // the innermost first
};

/// Makes the folder that a file of a model's folder lies in.
Status make_inner_folder(const std::string& folder, const std::string& name) {
  const std::size_t slash = name.rfind('/');
  if (slash == std::string::npos) return {};
  const std::string inner = folder + "/" + name.substr(0, slash);
  std::error_code error;
  fs::create_directory(inner, error);
  if (error) return Error(Code::kPermissionDenied, inner, ": ", error.message());
  return {};
}

/// Files that get their names together, once all are written.
class FileSet {
 public:
  Result<FileWriter*> add(std::string path) {
    files_.push_back(TRY(FileWriter::create(std::move(path))));
    return files_.back().get();
  }
  Status add(std::string path, std::string_view text) { return TRY(add(std::move(path)))->write(text); }
  /// In the order in which they were added.
  Status finish() {
    for (const auto& file : files_) TRY(file->finish());
    return {};
  }

 private:
  std::vector<std::unique_ptr<FileWriter>> files_;
};

/// The tensors as they will stand in the file: dtype and bytes, offsets from the first one's begin.
std::vector<TensorInfo> laid_out(const Checkpoint& checkpoint, bool expand, std::uint64_t alignment) {
  std::vector<TensorInfo> tensors = checkpoint.tensors();
  for (TensorInfo& tensor : tensors) {
    if (!expand || !is_quantised(tensor.dtype)) continue;
    tensor.dtype = DType::kBF16;
    tensor.n_bytes = to_size(tensor.n_elements()) * sizeof(bf16);
  }
  lay_out(tensors, alignment);
  return tensors;
}

/// A quantised tensor as bf16, some rows at a time.
Status write_expanded(FileWriter& file, const TensorInfo& from, std::span<const std::byte> bytes) {
  const std::int64_t n_cols = from.shape.back(), n_rows = from.n_elements() / n_cols;
  const std::size_t stride = row_bytes(from.dtype, n_cols);
  std::vector<float> values(to_size(n_cols));
  std::vector<bf16> rounded(to_size(n_cols));
  for (std::int64_t row = 0; row < n_rows; ++row) {
    dequantise(from.dtype, &bytes[to_size(row) * stride], values);
    for (std::size_t i = 0; i < values.size(); ++i) rounded[i] = to_bf16(values[i]);
    TRY(file.write(std::as_bytes(std::span(rounded))));
  }
  return {};
}

Error stopped() { return Error(Code::kCancelled, "writing was stopped"); }

/// Writes a tensor as it is, some of it at a time where its bytes are the file's; calls `progress` with what was
/// written.
Status copy_tensor(FileWriter& file, const Checkpoint& checkpoint, const TensorInfo& from,
                   const std::function<Status(std::uint64_t)>& progress) {
  const std::uint64_t step = checkpoint.is_made(from) ? from.n_bytes : kChunkBytes;
  for (std::uint64_t done = 0; done < from.n_bytes; done += step) {
    TensorInfo part = from;
    part.offset += done;
    part.n_bytes = std::min(step, from.n_bytes - done);
    const ByteRange range = TRY(checkpoint.load(part));
    TRY(file.write(range.bytes));
    checkpoint.release(part);
    TRY(progress(range.bytes.size()));
  }
  return {};
}

Status write_tensors(FileWriter& file, const Checkpoint& checkpoint, const std::vector<TensorInfo>& tensors,
                     std::uint64_t alignment, const WriteOptions& options) {
  std::uint64_t total = 0, done = 0;
  for (const TensorInfo& tensor : tensors) total += tensor.n_bytes;
  const auto progress = [&](std::uint64_t n_bytes) -> Status {
    done += n_bytes;
    if (!options.progress || options.progress(done, total)) return {};
    return stopped();
  };
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const TensorInfo& from = checkpoint.tensors()[i];
    if (from.dtype == tensors[i].dtype) {
      TRY(copy_tensor(file, checkpoint, from, progress));
    } else {
      TRY(write_expanded(file, from, TRY(checkpoint.load(from)).bytes));
      checkpoint.release(from);
      TRY(progress(tensors[i].n_bytes));
    }
    TRY(file.pad(alignment));
  }
  return {};
}

// --- models that lie nowhere ---

/// Writes all files as they are. Returns the bytes of the main one.
Result<std::uint64_t> write_files(const ModelFiles& from, const std::string& folder, const WriteOptions& options) {
  const std::uint64_t total = TRY(from.open(from.main_file()))->size();
  std::uint64_t done = 0;
  FileSet files;
  for (const std::string& name : from.names()) {
    const auto source = TRY(from.open(name));
    TRY(make_inner_folder(folder, name));
    FileWriter* const file = TRY(files.add(folder + "/" + name));
    for (std::uint64_t at = 0; at < source->size(); at += kChunkBytes) {
      TRY(file->write(TRY(source->read(at, std::min(kChunkBytes, source->size() - at))).bytes));
      if (name != from.main_file()) continue;
      done = std::min(total, at + kChunkBytes);
      if (options.progress && !options.progress(done, total)) return stopped();
    }
  }
  TRY(files.finish());
  return total;
}

// --- GGUF ---

/// The model's own pairs, and behind them what is to be known of its making.
Result<GgufPairs> keys_of(const Checkpoint& checkpoint) {
  const Checkpoint::RawMetadata own = TRY(checkpoint.raw_metadata());
  GgufPairs keys;
  keys.raw(own.n_keys, {reinterpret_cast<const char*>(own.bytes.bytes.data()), own.bytes.bytes.size()});
  if (checkpoint.quantisation().empty()) return keys;
  for (const auto& [key, value] : {std::pair(kWrittenQuantisationKey, checkpoint.quantisation()),
                                   std::pair(kWrittenFingerprintKey, checkpoint.fingerprint())}) {
    if (!checkpoint.metadata().has(key)) keys.text(key, value);
  }
  return keys;
}

Result<std::uint64_t> write_gguf(const Checkpoint& checkpoint, const std::string& folder, const WriteOptions& options) {
  const auto alignment =
      static_cast<std::uint64_t>(checkpoint.metadata().integer("general.alignment").value_or(kGgufAlignment));
  const std::vector<TensorInfo> tensors = laid_out(checkpoint, options.expand, alignment);
  const auto file = TRY(FileWriter::create(folder + "/model.gguf"));
  TRY(file->write(std::string_view(gguf_header(TRY(keys_of(checkpoint)), tensors))));
  TRY(file->pad(alignment));
  TRY(write_tensors(*file, checkpoint, tensors, alignment, options));
  TRY(file->finish());
  return file->n_bytes();
}

// --- safetensors ---

Status copy_side_files(const Checkpoint& checkpoint, const std::string& folder, FileSet& files) {
  for (const std::string& name : TRY(side_files(checkpoint))) {
    const auto text = checkpoint.read_side_file(name);
    if (!text && text.error().code() == Code::kNotFound) continue;
    if (!text) return text.error();
    TRY(make_inner_folder(folder, name));
    TRY(files.add(folder + "/" + name, *text));
  }
  return {};
}

Result<std::uint64_t> write_safetensors(const Checkpoint& checkpoint, const std::string& folder,
                                        const WriteOptions& options) {
  // The format allows no gaps.
  const std::vector<TensorInfo> tensors = laid_out(checkpoint, options.expand, 1);
  FileSet files;
  TRY(copy_side_files(checkpoint, folder, files));
  FileWriter* const file = TRY(files.add(folder + "/model.safetensors"));
  TRY(file->write(std::string_view(safetensors_header(tensors))));
  TRY(write_tensors(*file, checkpoint, tensors, 1, options));
  Json config = checkpoint.config();
  config.erase("quantization_config");
  if (!checkpoint.quantisation().empty()) {
    config["quantization_config"] = WrittenFrom{checkpoint.quantisation(), checkpoint.fingerprint()}.to_json();
  }
  TRY(files.add(folder + "/config.json", pretty_json(config)));
  TRY(files.finish());
  return file->n_bytes();
}

}  // namespace

Result<std::vector<std::string>> side_files(const Checkpoint& checkpoint) {
  std::vector<std::string> names(std::begin(kSideFiles), std::end(kSideFiles));
  for (const std::string& name : TRY(checkpoint.list_side_folder(kTemplateFolder))) {
    if (name.ends_with(".jinja")) names.push_back(std::string(kTemplateFolder) + "/" + name);
  }
  return names;
}

Status check_expandable(const Checkpoint& checkpoint) {
  if (checkpoint.quantisation().empty()) return {};
  return Error(Code::kInvalidArgument, checkpoint.location(),
               ": was written by `commissure quantise`; expand the model it was made from");
}

Result<std::uint64_t> write_model(const Checkpoint& checkpoint, const std::string& folder,
                                  const WriteOptions& options) {
  if (options.expand) TRY(check_expandable(checkpoint));
  if (checkpoint.metadata().integer("split.count").value_or(1) > 1) {
    return Error(Code::kInvalidArgument, checkpoint.location(),
                 ": lies in several files; join them first (llama-gguf-split --merge)");
  }
  NewFolders folders;
  TRY(folders.make(folder));
  std::error_code error;
  const bool is_empty = fs::is_empty(folder, error);
  if (error) return Error(Code::kPermissionDenied, folder, ": cannot be read: ", error.message());
  if (!is_empty) return Error(Code::kAlreadyExists, folder, ": holds something; name a new folder");
  const bool is_gguf = checkpoint.format() == CheckpointFormat::kGguf;
  const bool is_as_made = !checkpoint.has_files() && !options.expand && checkpoint.quantisation().empty();
  auto written = is_as_made ? write_files(*checkpoint.made_up(), folder, options)
                 : is_gguf  ? write_gguf(checkpoint, folder, options)
                            : write_safetensors(checkpoint, folder, options);
  if (written) {
    folders.keep();
  } else {
    fs::remove(folder + "/" + kTemplateFolder, error);  // which holds nothing then
  }
  return written;
}

}  // namespace commissure
