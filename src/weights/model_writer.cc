#include "weights/model_writer.h"

#include <filesystem>
#include <iterator>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

#include "core/index.h"
#include "core/json.h"
#include "kernels/quant.h"
#include "weights/file_writer.h"
#include "weights/gguf_type.h"
#include "weights/written_quant.h"

namespace commissure {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kGgufAlignment = 32, kSafetensorsAlignment = 8;
constexpr std::uint32_t kGgufText = 8;  // the type number of a string

/// What is copied beside config.json, where the model has it.
constexpr const char* kSideFiles[] = {"tokenizer.json",    "tokenizer_config.json",   "special_tokens_map.json",
                                      "added_tokens.json", "generation_config.json",  "chat_template.jinja",
                                      "tokenizer.model",   "preprocessor_config.json"};
constexpr const char* kTemplateFolder = "additional_chat_templates";

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

template <typename T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void put_text(std::string& out, std::string_view text) {
  put(out, std::uint64_t{text.size()});
  out += text;
}

std::uint64_t padded(std::uint64_t n, std::uint64_t alignment) { return (n + alignment - 1) / alignment * alignment; }

/// The tensors as they will stand in the file: dtype and bytes, offsets from the first one's begin.
std::vector<TensorInfo> laid_out(const Checkpoint& checkpoint, bool expand, std::uint64_t alignment) {
  std::vector<TensorInfo> tensors = checkpoint.tensors();
  std::uint64_t end = 0;
  for (TensorInfo& tensor : tensors) {
    if (expand && is_quantised(tensor.dtype)) {
      tensor.dtype = DType::kBF16;
      tensor.n_bytes = to_size(tensor.n_elements()) * sizeof(bf16);
    }
    tensor.offset = end;
    end += padded(tensor.n_bytes, alignment);
  }
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

Status write_tensors(FileWriter& file, const Checkpoint& checkpoint, const std::vector<TensorInfo>& tensors,
                     std::uint64_t alignment, const WriteOptions& options) {
  std::uint64_t total = 0, done = 0;
  for (const TensorInfo& tensor : tensors) total += tensor.n_bytes;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const TensorInfo& from = checkpoint.tensors()[i];
    const ByteRange range = TRY(checkpoint.load(from));
    TRY(from.dtype == tensors[i].dtype ? file.write(range.bytes) : write_expanded(file, from, range.bytes));
    TRY(file.pad(alignment));
    checkpoint.release(from);
    done += tensors[i].n_bytes;
    if (options.progress && !options.progress(done, total)) return Error(Code::kCancelled, "writing was stopped");
  }
  return {};
}

// --- GGUF ---

Result<std::string> gguf_header(const Checkpoint& checkpoint, const std::vector<TensorInfo>& tensors) {
  const Checkpoint::RawMetadata keys = TRY(checkpoint.raw_metadata());
  std::vector<std::pair<const char*, std::string>> marks;
  if (!checkpoint.quantisation().empty()) {
    marks = {{kWrittenQuantisationKey, checkpoint.quantisation()}, {kWrittenFingerprintKey, checkpoint.fingerprint()}};
    std::erase_if(marks, [&](const auto& mark) { return checkpoint.metadata().has(mark.first); });
  }
  std::string header = "GGUF";
  put(header, std::uint32_t{3});
  put(header, std::uint64_t{tensors.size()});
  put(header, keys.n_keys + marks.size());
  header.append(reinterpret_cast<const char*>(keys.bytes.bytes.data()), keys.bytes.bytes.size());
  for (const auto& [key, value] : marks) {
    put_text(header, key);
    put(header, kGgufText);
    put_text(header, value);
  }
  for (const TensorInfo& tensor : tensors) {
    put_text(header, tensor.name);
    put(header, static_cast<std::uint32_t>(tensor.shape.size()));
    for (auto size = tensor.shape.rbegin(); size != tensor.shape.rend(); ++size) {
      put(header, static_cast<std::uint64_t>(*size));
    }
    put(header, ggml_type_of(tensor.dtype));
    put(header, tensor.offset);
  }
  return header;
}

Result<std::uint64_t> write_gguf(const Checkpoint& checkpoint, const std::string& folder, const WriteOptions& options) {
  const auto alignment =
      static_cast<std::uint64_t>(checkpoint.metadata().integer("general.alignment").value_or(kGgufAlignment));
  const std::vector<TensorInfo> tensors = laid_out(checkpoint, options.expand, alignment);
  const auto file = TRY(FileWriter::create(folder + "/model.gguf"));
  TRY(file->write(std::string_view(TRY(gguf_header(checkpoint, tensors)))));
  TRY(file->pad(alignment));
  TRY(write_tensors(*file, checkpoint, tensors, alignment, options));
  TRY(file->finish());
  return file->n_bytes();
}

// --- safetensors ---

std::string safetensors_header(const std::vector<TensorInfo>& tensors) {
  Json header = {{"__metadata__", {{"format", "pt"}}}};
  for (const TensorInfo& tensor : tensors) {
    const bool is_packed = is_quantised(tensor.dtype);
    std::vector<std::int64_t> shape = tensor.shape;
    if (is_packed)
      shape = {tensor.n_elements() / shape.back(), static_cast<std::int64_t>(row_bytes(tensor.dtype, shape.back()))};
    header[is_packed ? written_name(tensor.name, tensor.dtype) : tensor.name] = {
        {"dtype", is_packed ? "U8" : dtype_name(tensor.dtype)},
        {"shape", shape},
        {"data_offsets", {tensor.offset, tensor.offset + tensor.n_bytes}}};
  }
  std::string text = dump_json(header);
  text.resize(padded(text.size(), kSafetensorsAlignment), ' ');
  return text;
}

Status copy_side_files(const Checkpoint& checkpoint, const std::string& folder, FileSet& files) {
  std::vector<std::string> names(std::begin(kSideFiles), std::end(kSideFiles));
  for (const std::string& name : TRY(checkpoint.list_side_folder(kTemplateFolder))) {
    if (name.ends_with(".jinja")) names.push_back(std::string(kTemplateFolder) + "/" + name);
  }
  for (const std::string& name : names) {
    const auto text = checkpoint.read_side_file(name);
    if (!text && text.error().code() == Code::kNotFound) continue;
    if (!text) return text.error();
    std::error_code error;
    if (name.find('/') != std::string::npos) fs::create_directory(folder + "/" + kTemplateFolder, error);
    if (error) return Error(Code::kPermissionDenied, folder, "/", kTemplateFolder, ": ", error.message());
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
  const std::string header = safetensors_header(tensors);
  std::string length;
  put(length, std::uint64_t{header.size()});
  TRY(file->write(std::string_view(length)));
  TRY(file->write(std::string_view(header)));
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
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return Error(Code::kPermissionDenied, folder, ": cannot be made: ", error.message());
  const bool is_empty = fs::is_empty(folder, error);
  if (error) return Error(Code::kPermissionDenied, folder, ": cannot be read: ", error.message());
  if (!is_empty) return Error(Code::kAlreadyExists, folder, ": holds something; name a new folder");
  auto written = checkpoint.format() == CheckpointFormat::kGguf ? write_gguf(checkpoint, folder, options)
                                                                : write_safetensors(checkpoint, folder, options);
  if (!written) fs::remove(folder + "/" + kTemplateFolder, error);  // which holds nothing then
  return written;
}

}  // namespace commissure
