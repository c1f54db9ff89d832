#include "weights/checkpoint_builder.h"

#include <utility>

#include "weights/gguf.h"
#include "weights/header_reader.h"
#include "weights/location.h"

namespace commissure {

CheckpointBuilder::CheckpointBuilder(std::string location, ReadMode mode, Vocabulary vocabulary)
    : mode_(mode), vocabulary_(vocabulary), checkpoint_(new Checkpoint) {
  checkpoint_->location_ = std::move(location);
}

Result<std::unique_ptr<Checkpoint>> CheckpointBuilder::build() {
  TRY(open_gguf(checkpoint_->location_));
  checkpoint_->header_bytes_ = checkpoint_->bytes_read();
  return std::move(checkpoint_);
}

Status CheckpointBuilder::open_gguf(std::string file) {
  // Any file of a split may be named; the first one holds the metadata.
  const auto series = parse_series_name(file_name_of(file));
  if (series && series->number != 1) file = sibling_of(file, series->with_number(1));

  auto source = TRY(open_byte_source(file, mode_));
  GgufHeader header = TRY(read_gguf_header(*source, vocabulary_));
  checkpoint_->format_ = CheckpointFormat::kGguf;
  checkpoint_->metadata_ = std::move(header.metadata);
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
    const std::string file = sibling_of(first_file, series->with_number(number));
    auto source = TRY(open_byte_source(file, mode_));
    GgufHeader header = TRY(read_gguf_header(*source, Vocabulary::kSkip));
    if (header.metadata.integer("split.no") != number - 1 || header.metadata.integer("split.count") != count) {
      return Error(Code::kDataLoss, file, ": says it is split ", header.metadata.integer("split.no").value_or(-1) + 1,
                   " of ", header.metadata.integer("split.count").value_or(0), ", expected ", number, " of ", count);
    }
    TRY(add_tensors(std::move(header.tensors), std::move(source)));
  }
  const auto n_tensors = static_cast<std::int64_t>(checkpoint_->tensors_.size());
  if (const auto stated = metadata.integer("split.tensors.count"); stated && *stated != n_tensors) {
    return Error(Code::kDataLoss, first_file, ": states ", *stated, " tensors, its ", count, " splits hold ", n_tensors,
                 ": fetch all splits again");
  }
  return {};
}

Status CheckpointBuilder::add_tensors(std::vector<TensorInfo> tensors, std::unique_ptr<ByteSource> source) {
  const int index = static_cast<int>(checkpoint_->sources_.size());
  for (TensorInfo& tensor : tensors) {
    tensor.source = index;
    const auto [entry, is_new] = checkpoint_->by_name_.try_emplace(tensor.name, checkpoint_->tensors_.size());
    if (!is_new) {
      return Error(Code::kDataLoss, source->name(), ": tensor ", printable(tensor.name), " is also in ",
                   checkpoint_->sources_[checkpoint_->tensors_[entry->second].source]->name());
    }
    checkpoint_->tensors_.push_back(std::move(tensor));
  }
  checkpoint_->sources_.push_back(std::move(source));
  return {};
}

}  // namespace commissure
