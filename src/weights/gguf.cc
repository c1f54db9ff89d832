#include "weights/gguf.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "weights/gguf_metadata.h"
#include "weights/gguf_type.h"
#include "weights/header_reader.h"

namespace commissure {

namespace {

constexpr std::uint64_t kMaxKeys = 1u << 16;
constexpr std::uint64_t kMaxTensors = 1u << 20;
constexpr std::uint64_t kMaxNameBytes = 1024;  // ggml writes at most 63
constexpr std::uint32_t kMaxDimensions = 4;
constexpr std::uint64_t kMaxAlignment = 1u << 20;
// The least a pair and a tensor entry can take, to judge counts before anything is reserved.
constexpr std::uint64_t kMinPairBytes = 8 + 1 + 4 + 1;
constexpr std::uint64_t kMinTensorBytes = 8 + 1 + 4 + 8 + 4 + 8;

struct Counts {
  std::uint64_t n_tensors;
  std::uint64_t n_keys;
};

Status check_version(std::uint32_t version, const std::string& file) {
  if (version == 2 || version == 3) return {};
  if (const std::uint32_t swapped = __builtin_bswap32(version); swapped >= 1 && swapped <= 3) {
    return Error(Code::kInvalidArgument, file, ": is a big-endian GGUF file; convert it with gguf_convert_endian.py");
  }
  if (version == 1) {
    return Error(Code::kInvalidArgument, file, ": is GGUF version 1, too old; convert the model again");
  }
  return Error(Code::kInvalidArgument, file, ": is GGUF version ", version, "; versions 2 and 3 are supported");
}

Result<Counts> read_preamble(HeaderReader& reader) {
  const auto magic = TRY(reader.take(4, "the file's first bytes"));
  if (std::memcmp(magic.data(), "GGUF", 4) != 0) {
    return Error(Code::kInvalidArgument, reader.name(), ": is not a GGUF file (it does not begin with \"GGUF\")");
  }
  TRY(check_version(TRY(reader.number<std::uint32_t>("the version")), reader.name()));
  Counts counts{};
  counts.n_tensors = TRY(reader.number<std::uint64_t>("the tensor count"));
  counts.n_keys = TRY(reader.number<std::uint64_t>("the key count"));
  const auto check = [&](std::uint64_t n, std::uint64_t limit, std::uint64_t least, std::string_view what) -> Status {
    const std::uint64_t most = std::min(limit, reader.remaining() / least);
    if (n <= most) return {};
    return Error(Code::kDataLoss, reader.name(), ": claims ", n, " ", what, ", its ", reader.remaining(),
                 " remaining bytes can hold at most ", most, " (truncated or corrupt)");
  };
  TRY(check(counts.n_tensors, kMaxTensors, kMinTensorBytes, "tensors"));
  TRY(check(counts.n_keys, kMaxKeys, kMinPairBytes, "metadata keys"));
  return counts;
}

Result<std::uint64_t> read_alignment(const Metadata& metadata, const std::string& file) {
  if (!metadata.has("general.alignment")) return std::uint64_t{32};
  const auto alignment = metadata.integer("general.alignment").value_or(0);
  if (alignment <= 0 || !std::has_single_bit(static_cast<std::uint64_t>(alignment)) ||
      static_cast<std::uint64_t>(alignment) > kMaxAlignment) {
    return Error(Code::kDataLoss, file, ": general.alignment is ", alignment, ", it must be a power of two up to ",
                 kMaxAlignment);
  }
  return static_cast<std::uint64_t>(alignment);
}

Result<std::vector<std::int64_t>> read_shape(HeaderReader& reader, const std::string& name) {
  const auto n_dims = TRY(reader.number<std::uint32_t>("a tensor's dimensions"));
  if (n_dims < 1 || n_dims > kMaxDimensions) {
    return Error(Code::kDataLoss, reader.name(), ": tensor ", printable(name), " has ", n_dims,
                 " dimensions, 1 to 4 are possible (the file is corrupt)");
  }
  std::vector<std::int64_t> shape(n_dims);
  // GGUF lists the fastest dimension first.
  for (std::uint32_t i = n_dims; i-- > 0;) {
    const auto dimension = TRY(reader.number<std::uint64_t>("a tensor's shape"));
    if (dimension == 0 || dimension > std::uint64_t{std::numeric_limits<std::int64_t>::max()}) {
      return Error(Code::kDataLoss, reader.name(), ": tensor ", printable(name), " has a dimension of ", dimension,
                   " (the file is corrupt)");
    }
    shape[i] = static_cast<std::int64_t>(dimension);
  }
  return shape;
}

/// Bytes of a tensor, checked against overflow and the block length.
Result<std::uint64_t> tensor_bytes(const TensorInfo& tensor, const std::string& file) {
  const BlockSize block = block_size(tensor.dtype);
  const auto n_elements = count_elements(tensor.shape);
  std::int64_t n_bytes = 0;
  if (!n_elements || __builtin_mul_overflow(*n_elements / block.n_elements, block.n_bytes, &n_bytes)) {
    return Error(Code::kDataLoss, file, ": tensor ", printable(tensor.name), " of shape ", shape_text(tensor.shape),
                 " is too large for any file (the file is corrupt)");
  }
  if (tensor.shape.back() % block.n_elements != 0) {
    return Error(Code::kDataLoss, file, ": tensor ", printable(tensor.name), " has rows of ", tensor.shape.back(),
                 " elements, ", dtype_name(tensor.dtype), " needs a multiple of ", block.n_elements);
  }
  return static_cast<std::uint64_t>(n_bytes);
}

/// One tensor entry; its offset is still relative to the data section.
Result<TensorInfo> read_tensor(HeaderReader& reader) {
  TensorInfo tensor;
  tensor.name = TRY(reader.text(kMaxNameBytes, "a tensor's name"));
  if (tensor.name.empty()) return Error(Code::kDataLoss, reader.name(), ": a tensor has an empty name");
  tensor.shape = TRY(read_shape(reader, tensor.name));
  const auto type = TRY(reader.number<std::uint32_t>("a tensor's type"));
  const auto dtype = dtype_of_ggml(type);
  if (!dtype) {
    return Error(Code::kInvalidArgument, reader.name(), ": tensor ", printable(tensor.name), " has type ",
                 ggml_type_label(type), ", which is not supported; use a file quantised to ", supported_ggml_types());
  }
  tensor.dtype = *dtype;
  tensor.n_bytes = TRY(tensor_bytes(tensor, reader.name()));
  tensor.offset = TRY(reader.number<std::uint64_t>("a tensor's offset"));
  return tensor;
}

/// Turns relative offsets into absolute ones and checks that each tensor lies inside the file.
Status place_tensors(GgufHeader& header, std::uint64_t data_start, std::uint64_t alignment, const ByteSource& source) {
  std::uint64_t end = 0;
  for (TensorInfo& tensor : header.tensors) {
    if (tensor.offset % alignment != 0) {
      return Error(Code::kDataLoss, source.name(), ": tensor ", printable(tensor.name), " at offset ", tensor.offset,
                   " is not aligned to ", alignment, " bytes (the file is corrupt)");
    }
    if (__builtin_add_overflow(tensor.offset, data_start, &tensor.offset) ||
        tensor.offset > std::numeric_limits<std::uint64_t>::max() - tensor.n_bytes) {
      return Error(Code::kDataLoss, source.name(), ": tensor ", printable(tensor.name),
                   " has an absurd offset (the file is corrupt)");
    }
    end = std::max(end, tensor.offset + tensor.n_bytes);
  }
  if (end > source.size()) {
    return Error(Code::kDataLoss, source.name(), ": has ", source.size(), " bytes, its header needs ", end, ": ",
                 end - source.size(), " bytes are missing (an interrupted download? fetch it again)");
  }
  return {};
}

}  // namespace

Result<GgufHeader> read_gguf_header(ByteSource& source, Vocabulary vocabulary) {
  HeaderReader reader(source);
  GgufHeader header;
  const Counts counts = TRY(read_preamble(reader));
  header.n_keys = counts.n_keys;
  header.keys_begin = reader.position();
  TRY(read_gguf_metadata(reader, counts.n_keys, vocabulary, header));
  header.keys_end = reader.position();

  std::unordered_set<std::string_view> names;  // views of header.tensors, which is reserved and so never moves
  header.tensors.reserve(counts.n_tensors);
  for (std::uint64_t i = 0; i < counts.n_tensors; ++i) {
    const TensorInfo& tensor = header.tensors.emplace_back(TRY(read_tensor(reader)));
    if (!names.insert(tensor.name).second) {
      return Error(Code::kDataLoss, source.name(), ": tensor ", printable(tensor.name),
                   " appears twice (the file is corrupt)");
    }
  }
  header.n_bytes = reader.position();

  const std::uint64_t alignment = TRY(read_alignment(header.metadata, source.name()));
  const std::uint64_t data_start = (header.n_bytes + alignment - 1) / alignment * alignment;
  TRY(place_tensors(header, data_start, alignment, source));
  std::vector<const TensorInfo*> placed;
  placed.reserve(header.tensors.size());
  for (const TensorInfo& tensor : header.tensors) placed.push_back(&tensor);
  TRY(check_overlaps(std::move(placed), source.name()));
  return header;
}

}  // namespace commissure
