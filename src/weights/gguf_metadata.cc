#include "weights/gguf_metadata.h"

#include <array>
#include <limits>
#include <string_view>
#include <utility>
#include <vector>

namespace commissure {

namespace {

// Far above any real model, low enough that a hostile header cannot fill memory.
constexpr std::uint64_t kMaxKeyBytes = 65535;
constexpr std::uint64_t kMaxTextBytes = 64u << 20;
constexpr std::uint64_t kMaxArrayLength = 16u << 20;
constexpr std::uint64_t kMaxMetadataBytes = 512u << 20;
// Of all arrays of numbers once they are widened, which makes eight bytes of one; real models' take two megabytes.
constexpr std::uint64_t kMaxNumberBytes = 64u << 20;

enum ValueType : std::uint32_t { kU8, kI8, kU16, kI16, kU32, kI32, kF32, kBool, kText, kArray, kU64, kI64, kF64, kEnd };

// Bytes of one value on disk; for texts the least (their length).
constexpr std::array<std::uint64_t, kEnd> kValueBytes = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};

bool is_float(std::uint32_t type) { return type == kF32 || type == kF64; }

template <typename T>
T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

std::int64_t load_integer(std::uint32_t type, const std::byte* from) {
  switch (type) {
    case kU8: return load<std::uint8_t>(from);
    case kI8: return load<std::int8_t>(from);
    case kU16: return load<std::uint16_t>(from);
    case kI16: return load<std::int16_t>(from);
    case kU32: return load<std::uint32_t>(from);
    case kI32: return load<std::int32_t>(from);
    default: return load<std::int64_t>(from);  // u64 above 2^63 is refused by fits_int64
  }
}

double load_float(std::uint32_t type, const std::byte* from) {
  return type == kF32 ? load<float>(from) : load<double>(from);
}

bool fits_int64(std::uint32_t type, const std::byte* from) {
  return type != kU64 || load<std::uint64_t>(from) <= std::uint64_t{std::numeric_limits<std::int64_t>::max()};
}

/// Whether a stage that does not tokenise can do without this array.
bool is_vocabulary(std::string_view key) { return key.starts_with("tokenizer.ggml."); }

class MetadataReader {
 public:
  MetadataReader(HeaderReader& reader, Vocabulary vocabulary, GgufHeader& header)
      : reader_(reader), vocabulary_(vocabulary), header_(header) {}

  Status read_pair() {
    key_ = TRY(reader_.text(kMaxKeyBytes, "a metadata key"));
    if (key_.empty()) return corrupt("an empty key");
    if (header_.metadata.has(key_) || header_.array_lengths.contains(key_)) return corrupt("the key appears twice");
    const auto type = TRY(reader_.number<std::uint32_t>("a metadata type"));
    if (type >= kEnd) return corrupt(fmt::format("unknown value type {}", type));
    if (type == kArray) return read_array();
    header_.metadata.set(key_, TRY(read_scalar(type)));
    return {};
  }

 private:
  Error corrupt(std::string_view why) const {
    return Error(Code::kDataLoss, reader_.name(), ": metadata key ", printable(key_), " before byte ",
                 reader_.position(), ": ", why, " (the file is corrupt)");
  }

  Result<MetadataValue> read_scalar(std::uint32_t type) {
    if (type == kText) return MetadataValue(std::string(TRY(reader_.text(kMaxTextBytes, printable(key_)))));
    const std::byte* value = TRY(reader_.take(kValueBytes[type], "a metadata value")).data();
    if (type == kBool) return MetadataValue(load<std::uint8_t>(value) != 0);
    if (is_float(type)) return MetadataValue(load_float(type, value));
    if (!fits_int64(type, value)) return corrupt("the number is above 2^63");
    return MetadataValue(load_integer(type, value));
  }

  Status read_array() {
    const auto type = TRY(reader_.number<std::uint32_t>("an array's type"));
    const auto n = TRY(reader_.number<std::uint64_t>("an array's length"));
    if (type >= kEnd || type == kArray) return corrupt(fmt::format("array of unsupported type {}", type));
    if (n > kMaxArrayLength) return corrupt(fmt::format("array of {} elements, at most {}", n, kMaxArrayLength));
    // Checked before anything is reserved: a small file must not make us allocate a large array.
    const std::uint64_t n_bytes = n * kValueBytes[type];
    if (n_bytes > reader_.remaining()) return reader_.truncated(n_bytes, printable(key_));

    header_.array_lengths.emplace(key_, n);
    const bool skip = vocabulary_ == Vocabulary::kSkip && is_vocabulary(key_);
    if (type == kText) return skip ? skip_texts(n) : read_texts(n);
    if (skip) return reader_.skip(n_bytes, printable(key_));
    return read_numbers(type, n, TRY(reader_.take(n_bytes, printable(key_))).data());
  }

  Status skip_texts(std::uint64_t n) {
    for (std::uint64_t i = 0; i < n; ++i) {
      const auto length = TRY(reader_.number<std::uint64_t>("a text's length"));
      TRY(reader_.skip(length, "a text of an array"));
    }
    return {};
  }

  Status read_texts(std::uint64_t n) {
    std::vector<std::string> texts;
    texts.reserve(n);
    for (std::uint64_t i = 0; i < n; ++i) texts.emplace_back(TRY(reader_.text(kMaxTextBytes, "a text of an array")));
    header_.metadata.set(key_, std::move(texts));
    return {};
  }

  Status read_numbers(std::uint32_t type, std::uint64_t n, const std::byte* from) {
    const std::uint64_t step = kValueBytes[type];
    number_bytes_ += n * (type == kBool ? 1 : is_float(type) ? sizeof(float) : sizeof(std::int64_t));
    if (number_bytes_ > kMaxNumberBytes) {
      return corrupt(
          fmt::format("the arrays of numbers so far take {} bytes, at most {}", number_bytes_, kMaxNumberBytes));
    }
    if (type == kBool) {
      std::vector<bool> values(n);
      for (std::uint64_t i = 0; i < n; ++i) values[i] = from[i] != std::byte{0};
      header_.metadata.set(key_, std::move(values));
    } else if (is_float(type)) {
      std::vector<float> values(n);
      for (std::uint64_t i = 0; i < n; ++i) values[i] = static_cast<float>(load_float(type, from + i * step));
      header_.metadata.set(key_, std::move(values));
    } else {
      std::vector<std::int64_t> values(n);
      for (std::uint64_t i = 0; i < n; ++i) {
        if (!fits_int64(type, from + i * step)) return corrupt("a number is above 2^63");
        values[i] = load_integer(type, from + i * step);
      }
      header_.metadata.set(key_, std::move(values));
    }
    return {};
  }

  HeaderReader& reader_;
  const Vocabulary vocabulary_;
  GgufHeader& header_;
  std::uint64_t number_bytes_ = 0;
  std::string key_;
};

}  // namespace

Status read_gguf_metadata(HeaderReader& reader, std::uint64_t n_keys, Vocabulary vocabulary, GgufHeader& header) {
  MetadataReader pairs(reader, vocabulary, header);
  for (std::uint64_t i = 0; i < n_keys; ++i) {
    TRY(pairs.read_pair());
    if (reader.position() > kMaxMetadataBytes) {
      return Error(Code::kDataLoss, reader.name(), ": metadata longer than ", kMaxMetadataBytes,
                   " bytes: the file is corrupt");
    }
  }
  return {};
}

}  // namespace commissure
