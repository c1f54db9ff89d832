#include "weights/checkpoint_builder.h"

#include <utility>

#include "core/index.h"
#include "weights/find_model_file.h"
#include "weights/gguf.h"
#include "weights/header_reader.h"
#include "weights/location.h"
#include "weights/oss_experts.h"
#include "weights/read_file.h"
#include "weights/safetensors.h"
#include "weights/written_quant.h"

namespace commissure {

namespace {

constexpr std::uint64_t kMaxConfigBytes = 4u << 20;
constexpr std::uint64_t kMaxIndexBytes = 64u << 20;
constexpr std::uint64_t kMaxBnbStateBytes = 64u << 10;

}  // namespace

CheckpointBuilder::CheckpointBuilder(std::string location, ReadMode mode, Vocabulary vocabulary)
    : mode_(mode), vocabulary_(vocabulary), checkpoint_(new Checkpoint) {
  checkpoint_->location_ = std::move(location);
}

CheckpointBuilder::CheckpointBuilder(std::string name, std::unique_ptr<const ModelFiles> files, Vocabulary vocabulary)
    : CheckpointBuilder(std::move(name), ReadMode::kRead, vocabulary) {
  checkpoint_->file_ = files->main_file();
  checkpoint_->made_up_ = std::move(files);
}

Result<std::string> CheckpointBuilder::read_text(const std::string& file, std::uint64_t max_bytes) const {
  return read_whole(*TRY(checkpoint_->open_file(file, ReadMode::kRead)), max_bytes);
}

Result<std::unique_ptr<Checkpoint>> CheckpointBuilder::build() {
  if (checkpoint_->has_files()) checkpoint_->file_ = TRY(find_model_file(checkpoint_->location_));
  const std::string& file = checkpoint_->file_;
  const std::string_view name = file_name_of(file);
  if (name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json")) {
    TRY(open_safetensors(file));
    TRY(add_packed());
    if (is_gpt_oss(checkpoint_->config_)) TRY(add_oss_experts());
  } else {
    TRY(open_gguf(file));
  }
  WrittenFrom from = written_from(checkpoint_->config_, checkpoint_->metadata_);
  checkpoint_->quantisation_ = std::move(from.quantisation);
  checkpoint_->written_fingerprint_ = std::move(from.fingerprint);
  for (const auto& source : checkpoint_->sources_) checkpoint_->header_bytes_ += source->bytes_read();
  return std::move(checkpoint_);
}

Status CheckpointBuilder::open_gguf(std::string file) {
  // Any file of a split may be named; the first one holds the metadata.
  const auto series = parse_series_name(file_name_of(file));
  if (series && series->number != 1) file = sibling_of(file, series->with_number(1));

  auto source = TRY(open_file(file));
  TRY(refuse_placeholder(*source));
  GgufHeader header = TRY(read_gguf_header(*source, vocabulary_));
  checkpoint_->format_ = CheckpointFormat::kGguf;
  checkpoint_->metadata_ = std::move(header.metadata);
  checkpoint_->n_keys_ = header.n_keys;
  checkpoint_->keys_begin_ = header.keys_begin;
  checkpoint_->keys_end_ = header.keys_end;
  checkpoint_->array_lengths_ = std::move(header.array_lengths);
  TRY(add_tensors(std::move(header.tensors), std::move(source)));
  return add_splits(file);
}

Status CheckpointBuilder::add_splits(const std::string& first_file) {
  const Metadata& metadata = checkpoint_->metadata_;
  const std::int64_t count = metadata.integer("split.count").value_or(1);
  if (count <= 1) return {};
  const auto series = parse_series_name(file_name_of(first_file));
  if (!series || series->count != count) {
    return Error(Code::kInvalidArgument, first_file, ": is one of ", count,
                 " splits but its name does not end in -00001-of-", fmt::format("{:05}", count),
                 ".gguf; give the files their original names");
  }
  if (const auto number = metadata.integer("split.no"); number != 0) {
    return Error(Code::kDataLoss, first_file, ": says it is split ", number.value_or(-1) + 1, ", its name says 1");
  }
  for (int number = 2; number <= series->count; ++number) {
    TRY(add_split(sibling_of(first_file, series->with_number(number)), number, count));
  }
  const auto n_tensors = static_cast<std::int64_t>(checkpoint_->tensors_.size());
  if (const auto stated = metadata.integer("split.tensors.count"); stated && *stated != n_tensors) {
    return Error(Code::kDataLoss, first_file, ": states ", *stated, " tensors, its ", count, " splits hold ", n_tensors,
                 ": fetch all splits again");
  }
  return {};
}

Status CheckpointBuilder::add_split(const std::string& file, int number, std::int64_t count) {
  auto source = open_file(file);
  if (!source) return source.error().within(fmt::format("split {} of {} cannot be opened", number, count));
  TRY(refuse_placeholder(**source));
  GgufHeader header = TRY(read_gguf_header(**source, Vocabulary::kSkip));
  const auto own_number = header.metadata.integer("split.no");
  const auto own_count = header.metadata.integer("split.count");
  if (own_number != number - 1 || own_count != count) {
    return Error(Code::kDataLoss, file, ": says it is split ", own_number.value_or(-1) + 1, " of ",
                 own_count.value_or(0), ", expected ", number, " of ", count);
  }
  return add_tensors(std::move(header.tensors), std::move(*source));
}

Status CheckpointBuilder::open_safetensors(const std::string& file) {
  checkpoint_->format_ = CheckpointFormat::kSafetensors;
  TRY(read_config(file));
  if (file_name_of(file).ends_with(".index.json")) return open_index(file);
  const auto series = parse_series_name(file_name_of(file));
  if (series && series->count > 1) return open_index(sibling_of(file, series->prefix + ".safetensors.index.json"));
  return add_safetensors(file);
}

Status CheckpointBuilder::open_index(const std::string& index_file) {
  const std::string text = TRY(read_text(index_file, kMaxIndexBytes));
  for (const std::string& shard : TRY(parse_safetensors_index(text, index_file))) {
    const Status added = add_safetensors(sibling_of(index_file, shard));
    if (!added && added.error().code() == Code::kNotFound) {
      return Error(Code::kNotFound, index_file, ": its shard ", printable(shard), " is missing; fetch it again");
    }
    if (!added) return added.error();
  }
  return {};
}

Status CheckpointBuilder::add_safetensors(const std::string& file) {
  auto source = TRY(open_file(file));
  TRY(refuse_placeholder(*source));
  SafetensorsHeader header = TRY(read_safetensors_header(*source));
  checkpoint_->unsupported_.insert(header.unsupported.begin(), header.unsupported.end());
  TRY(add_tensors(std::move(header.tensors), std::move(source)));
  for (TensorInfo& tensor : header.bytes) {
    tensor.source = count_of(checkpoint_->sources_) - 1;
    const auto [entry, is_new] = byte_tensors_.try_emplace(tensor.name, tensor);
    if (!is_new) return also_in(tensor, entry->second);
  }
  return {};
}

Status CheckpointBuilder::read_config(const std::string& file) {
  const std::string path = sibling_of(file, "config.json");
  const auto text = read_text(path, kMaxConfigBytes);
  if (!text) {
    if (text.error().code() != Code::kNotFound) return text.error();
    return Error(Code::kNotFound, path, ": is missing; a safetensors model needs its config.json beside it");
  }
  auto config = parse_json(*text);
  if (!config) return config.error().within(path);
  if (!config->is_object()) return Error(Code::kInvalidArgument, path, ": is not a JSON object");
  checkpoint_->config_ = std::move(*config);
  return {};
}

Status CheckpointBuilder::add_tensors(std::vector<TensorInfo> tensors, std::unique_ptr<ByteSource> source) {
  const int index = count_of(checkpoint_->sources_);
  checkpoint_->sources_.push_back(std::move(source));
  for (TensorInfo& tensor : tensors) {
    tensor.source = index;
    TRY(add_tensor(std::move(tensor)));
  }
  return {};
}

Status CheckpointBuilder::add_tensor(TensorInfo tensor) {
  const auto [entry, is_new] = checkpoint_->by_name_.try_emplace(tensor.name, checkpoint_->tensors_.size());
  if (!is_new) return also_in(tensor, checkpoint_->tensors_[entry->second]);
  checkpoint_->tensors_.push_back(std::move(tensor));
  return {};
}

Error CheckpointBuilder::also_in(const TensorInfo& tensor, const TensorInfo& other) const {
  return Error(Code::kDataLoss, checkpoint_->sources_[tensor.source]->name(), ": tensor ", printable(tensor.name),
               " is also in ", checkpoint_->sources_[other.source]->name());
}

Status CheckpointBuilder::add_packed() {
  std::unordered_set<std::string> states;
  for (const auto& [name, bytes] : byte_tensors_) {
    if (auto written = as_written(bytes)) {
      checkpoint_->unsupported_.erase(name);
      TRY(add_tensor(*std::move(written)));
      continue;
    }
    const auto description = byte_tensors_.find(name + std::string(kBnbStateSuffix));
    if (description == byte_tensors_.end()) continue;
    TRY(add_bnb(bytes, description->second));
    for (std::string& state : bnb_state_names(name)) states.insert(std::move(state));
    checkpoint_->unsupported_.erase(name);
  }
  if (!states.empty()) drop_tensors(states);
  return {};
}

Status CheckpointBuilder::add_oss_experts() {
  auto experts = find_oss_experts(byte_tensors_, checkpoint_->tensors_);
  if (!experts) return experts.error().within(checkpoint_->location_);
  drop_tensors({experts->replaced.begin(), experts->replaced.end()});
  for (OssTensor& expert : experts->made) {
    if (expert.layout) {
      checkpoint_->made_.emplace(expert.tensor.name, MadeTensor{.stored = std::move(expert.stored),
                                                                .dtype = expert.tensor.dtype,
                                                                .oss = *std::move(expert.layout)});
    }
    TRY(add_tensor(std::move(expert.tensor)));
  }
  return {};
}

Status CheckpointBuilder::add_bnb(const TensorInfo& codes, const TensorInfo& description) {
  const std::string& file = checkpoint_->sources_[codes.source]->name();
  if (description.n_bytes > kMaxBnbStateBytes) {
    return Error(Code::kDataLoss, file, ": tensor ", printable(description.name), " of ", description.n_bytes,
                 " bytes describes nothing (the file is corrupt)");
  }
  const ByteRange bytes = TRY(checkpoint_->load_stored(description));
  const std::string_view json(reinterpret_cast<const char*>(bytes.bytes.data()), bytes.bytes.size());
  auto state = read_bnb_state(codes, json, [this](const std::string& name) -> const TensorInfo* {
    const auto found = byte_tensors_.find(name);
    return found == byte_tensors_.end() ? checkpoint_->find(name) : &found->second;
  });
  if (!state) return state.error().within(file);
  TensorInfo tensor = codes;
  tensor.dtype = DType::kNF4;
  tensor.shape = state->shape;
  tensor.n_bytes = to_size(tensor.shape[0]) * row_bytes(tensor.dtype, tensor.shape[1]);
  checkpoint_->made_.emplace(codes.name, MadeTensor{.stored = codes, .dtype = tensor.dtype, .bnb = *std::move(state)});
  return add_tensor(std::move(tensor));
}

void CheckpointBuilder::drop_tensors(const std::unordered_set<std::string>& names) {
  for (const std::string& name : names) checkpoint_->unsupported_.erase(name);
  std::erase_if(checkpoint_->tensors_, [&](const TensorInfo& tensor) { return names.contains(tensor.name); });
  checkpoint_->by_name_.clear();
  for (std::size_t i = 0; i < checkpoint_->tensors_.size(); ++i) {
    checkpoint_->by_name_.emplace(checkpoint_->tensors_[i].name, i);
  }
}

}  // namespace commissure
