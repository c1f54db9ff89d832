#include "weights/checkpoint.h"

#include <algorithm>
#include <utility>

#include "core/check.h"
#include "core/index.h"
#include "weights/checkpoint_builder.h"
#include "weights/find_model_file.h"
#include "weights/header_reader.h"
#include "weights/location.h"
#include "weights/read_file.h"

namespace commissure {

Result<std::unique_ptr<Checkpoint>> Checkpoint::open(const std::string& location, ReadMode mode,
                                                     Vocabulary vocabulary) {
  return CheckpointBuilder(location, mode, vocabulary).build();
}

Result<std::unique_ptr<Checkpoint>> Checkpoint::open(const std::string& name, std::unique_ptr<const ModelFiles> files,
                                                     Vocabulary vocabulary) {
  return CheckpointBuilder(name, std::move(files), vocabulary).build();
}

Result<std::unique_ptr<ByteSource>> Checkpoint::open_file(const std::string& file, ReadMode mode) const {
  return made_up_ ? made_up_->open(file) : open_byte_source(file, mode);
}

const TensorInfo* Checkpoint::find(std::string_view name) const {
  const auto it = by_name_.find(std::string(name));
  return it == by_name_.end() ? nullptr : &tensors_[it->second];
}

std::string Checkpoint::unsupported_dtype(std::string_view name) const {
  const auto it = unsupported_.find(name);
  return it == unsupported_.end() ? "" : it->second;
}

Result<const TensorInfo*> Checkpoint::require(std::string_view name) const {
  if (const TensorInfo* tensor = find(name)) return tensor;
  if (const std::string dtype = unsupported_dtype(name); !dtype.empty()) {
    return Error(Code::kNotFound, location_, ": tensor ", printable(name), " has dtype ", dtype,
                 ", which is not supported");
  }
  return Error(Code::kNotFound, location_, ": has no tensor ", printable(name),
               " (is it complete, and of the architecture it claims?)");
}

void Checkpoint::quantise(const std::string& name, DType dtype) {
  TensorInfo& tensor = tensors_[by_name_.at(name)];
  CHECK(!is_made(tensor) && !is_quantised(tensor.dtype));
  made_.emplace(name, MadeTensor{.stored = tensor, .dtype = dtype});
  tensor.dtype = dtype;
  tensor.n_bytes = to_size(tensor.n_elements() / tensor.shape.back()) * row_bytes(dtype, tensor.shape.back());
}

const TensorInfo& Checkpoint::stored(const TensorInfo& tensor) const {
  const auto made = made_.find(tensor.name);
  return made == made_.end() ? tensor : made->second.stored;
}

std::vector<const TensorInfo*> Checkpoint::parts(const TensorInfo& tensor) const {
  std::vector<const TensorInfo*> parts = {&stored(tensor)};
  if (const auto made = made_.find(tensor.name); made != made_.end()) {
    if (made->second.bnb) parts.push_back(&made->second.bnb->absmax);
    if (made->second.oss) parts.push_back(&made->second.oss->scales);
  }
  std::erase_if(parts, [](const TensorInfo* part) { return part->n_bytes == 0; });
  return parts;
}

std::uint64_t Checkpoint::stored_bytes(const TensorInfo& tensor) const {
  std::uint64_t n_bytes = 0;
  for (const TensorInfo* part : parts(tensor)) n_bytes += part->n_bytes;
  return n_bytes;
}

Result<ByteRange> Checkpoint::load_stored(const TensorInfo& tensor) const {
  return sources_.at(tensor.source)->read(tensor.offset, tensor.n_bytes);
}

Result<ByteRange> Checkpoint::load(const TensorInfo& tensor) const {
  const auto made = made_.find(tensor.name);
  if (made == made_.end()) return load_stored(tensor);
  auto bytes = make_tensor(made->second, [this](const TensorInfo& part) { return load_stored(part); });
  if (!bytes) return bytes.error().within(location_);
  release(tensor);
  return bytes;
}

Result<Checkpoint::RawMetadata> Checkpoint::raw_metadata() const {
  return RawMetadata{n_keys_, TRY(sources_.front()->read(keys_begin_, keys_end_ - keys_begin_))};
}

int Checkpoint::reads_at_once(const TensorInfo& tensor) const { return sources_.at(tensor.source)->reads_at_once(); }

void Checkpoint::prefetch(const TensorInfo& tensor) const {
  for (const TensorInfo* part : parts(tensor)) sources_.at(part->source)->prefetch(part->offset, part->n_bytes);
}

bool Checkpoint::is_mapped() const {
  return std::ranges::all_of(sources_, [](const auto& source) { return source->is_mapped(); });
}

void Checkpoint::release(const TensorInfo& tensor) const {
  for (const TensorInfo* part : parts(tensor)) sources_.at(part->source)->release(part->offset, part->n_bytes);
}

Result<std::string> Checkpoint::read_side_file(std::string_view file_name, std::uint64_t max_bytes) const {
  const std::size_t slash = file_name.find('/');  // "additional_chat_templates/NAME": one folder down, no further
  const bool is_below = slash != std::string_view::npos && is_plain_file_name(file_name.substr(0, slash));
  if (!is_plain_file_name(is_below ? file_name.substr(slash + 1) : file_name)) {
    return Error(Code::kInvalidArgument, printable(file_name), ": is not the name of a file in the model's folder");
  }
  return read_whole(*TRY(open_file(sibling_of(file_, file_name), ReadMode::kRead)), max_bytes);
}

std::string Checkpoint::path_beside(std::string_view file_name) const { return sibling_of(file_, file_name); }

Result<std::vector<std::string>> Checkpoint::list_side_folder(std::string_view name) const {
  if (made_up_) {
    const std::string begin = std::string(name) + "/";
    std::vector<std::string> names = made_up_->names();
    std::erase_if(names, [&](const std::string& file) { return !file.starts_with(begin); });
    for (std::string& file : names) file.erase(0, begin.size());
    return names;
  }
  return list_folder(sibling_of(file_, name));
}

void Checkpoint::drop_vocabulary() {
  for (const char* key : {"tokens", "scores", "token_type", "merges"}) {
    metadata_.erase(std::string("tokenizer.ggml.") + key);
  }
}

std::uint64_t Checkpoint::bytes_read() const {
  std::uint64_t n_bytes = 0;
  for (const auto& source : sources_) n_bytes += source->bytes_read();
  return n_bytes;
}

}  // namespace commissure
