#include "weights/safetensors.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string_view>

#include "core/json.h"
#include "weights/header_reader.h"
#include "weights/location.h"

namespace commissure {

namespace {

constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // the format's own limit
constexpr std::size_t kMaxDimensions = 16;

struct Entry {
  std::string_view name;
  std::string_view dtype;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;  // relative to the data section
  std::uint64_t end = 0;
};

/// Bits of one element, or nothing for a name the format does not know.
std::optional<int> element_bits(std::string_view dtype) {
  struct Size {
    std::string_view name;
    int bits;
  };
  static constexpr Size kSizes[] = {
      {"F32", 32},        {"F16", 16},        {"BF16", 16},   {"I32", 32},    {"BOOL", 8},    {"U8", 8},
      {"I8", 8},          {"I16", 16},        {"U16", 16},    {"U32", 32},    {"I64", 64},    {"U64", 64},
      {"F64", 64},        {"C64", 64},        {"F8_E4M3", 8}, {"F8_E5M2", 8}, {"F8_E8M0", 8}, {"F4", 4},
      {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"F6_E2M3", 6}, {"F6_E3M2", 6},
  };
  const auto* const it = std::ranges::find(kSizes, dtype, &Size::name);
  return it == std::end(kSizes) ? std::nullopt : std::optional(it->bits);
}

std::optional<DType> dtype_of(std::string_view name) {
  if (name == "F32") return DType::kF32;
  if (name == "F16") return DType::kF16;
  if (name == "BF16") return DType::kBF16;
  if (name == "I32") return DType::kI32;
  return std::nullopt;
}

/// A JSON number that is a whole, non-negative int64, or nothing.
std::optional<std::int64_t> whole_number(const Json& value) {
  if (!value.is_number_unsigned()) return std::nullopt;
  const auto number = value.get<std::uint64_t>();
  return number > std::uint64_t{INT64_MAX} ? std::nullopt : std::optional(static_cast<std::int64_t>(number));
}

Error corrupt(const std::string& file, std::string_view name, std::string_view why) {
  return Error(Code::kDataLoss, file, ": tensor ", printable(name), ": ", why, " (the file is corrupt)");
}

Result<Entry> parse_entry(std::string_view name, const Json& value, const std::string& file) {
  const Json* dtype = find_member(value, "dtype");
  const Json* shape = find_member(value, "shape");
  const Json* offsets = find_member(value, "data_offsets");
  if (dtype == nullptr || !dtype->is_string() || shape == nullptr || !shape->is_array() || offsets == nullptr ||
      !offsets->is_array() || offsets->size() != 2) {
    return corrupt(file, name, "needs a dtype, a shape and two data_offsets");
  }
  Entry entry{name, dtype->get_ref<const std::string&>(), {}, 0, 0};
  if (shape->size() > kMaxDimensions) return corrupt(file, name, fmt::format("has {} dimensions", shape->size()));
  for (const Json& dimension : *shape) {
    const auto length = whole_number(dimension);
    if (!length) return corrupt(file, name, "a dimension is not a whole number");
    entry.shape.push_back(*length);
  }
  const auto begin = whole_number((*offsets)[0]);
  const auto end = whole_number((*offsets)[1]);
  if (!begin || !end || *begin > *end) return corrupt(file, name, "data_offsets are not an ascending pair");
  entry.begin = static_cast<std::uint64_t>(*begin);
  entry.end = static_cast<std::uint64_t>(*end);
  return entry;
}

Status check_size(const Entry& entry, const std::string& file) {
  const auto bits = element_bits(entry.dtype);
  if (!bits) return corrupt(file, entry.name, fmt::format("unknown dtype {}", printable(entry.dtype)));
  const auto n_elements = count_elements(entry.shape);
  std::int64_t n_bits = 0;
  if (!n_elements || __builtin_mul_overflow(*n_elements, *bits, &n_bits) || n_bits % 8 != 0) {
    return corrupt(file, entry.name, fmt::format("shape {} is impossible", shape_text(entry.shape)));
  }
  if (entry.end - entry.begin != static_cast<std::uint64_t>(n_bits / 8)) {
    return corrupt(file, entry.name,
                   fmt::format("shape {} of {} takes {} bytes, its data_offsets span {}", shape_text(entry.shape),
                               entry.dtype, n_bits / 8, entry.end - entry.begin));
  }
  return {};
}

/// Checks that the entries, sorted by offset, fill [0, n_data) exactly.
Status check_layout(const std::vector<Entry>& entries, std::uint64_t n_data, const std::string& file) {
  std::uint64_t expected = 0;
  for (const Entry& entry : entries) {
    if (entry.begin != expected) {
      return corrupt(file, entry.name,
                     fmt::format("begins at {}, {} {}", entry.begin,
                                 entry.begin < expected ? "overlapping the tensor that ends at" : "leaving a gap after",
                                 expected));
    }
    expected = entry.end;
  }
  if (expected > n_data) {
    return Error(Code::kDataLoss, file, ": holds ", n_data, " bytes of tensors, its header needs ", expected, ": ",
                 expected - n_data, " bytes are missing (an interrupted download? fetch it again)");
  }
  if (expected < n_data) {
    return Error(Code::kDataLoss, file, ": holds ", n_data, " bytes of tensors, its header tells of ", expected,
                 " only (the file is corrupt)");
  }
  return {};
}

Result<Json> read_header_json(HeaderReader& reader) {
  const auto n_bytes = TRY(reader.number<std::uint64_t>("the header's length"));
  if (n_bytes < 2 || n_bytes > kMaxHeaderBytes) {
    return Error(Code::kInvalidArgument, reader.name(), ": is not a safetensors file (a header of ", n_bytes,
                 " bytes, at most ", kMaxHeaderBytes, ")");
  }
  const auto bytes = TRY(reader.take(n_bytes, "the header"));
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (text[0] != '{') {
    return Error(Code::kInvalidArgument, reader.name(), ": is not a safetensors file (no JSON object at byte 8)");
  }
  auto json = parse_json(text, 8);
  if (!json) return Error(Code::kDataLoss, reader.name(), ": header: ", json.error().message());
  return json;
}

}  // namespace

Result<SafetensorsHeader> read_safetensors_header(ByteSource& source) {
  HeaderReader reader(source);
  const Json json = TRY(read_header_json(reader));
  std::vector<Entry> entries;
  for (const auto& [name, value] : json.items()) {
    if (name == "__metadata__") continue;
    entries.push_back(TRY(parse_entry(name, value, source.name())));
    TRY(check_size(entries.back(), source.name()));
  }
  // Empty tensors share their offset with the next one, so the end decides.
  std::ranges::sort(
      entries, [](const Entry& a, const Entry& b) { return a.begin != b.begin ? a.begin < b.begin : a.end < b.end; });
  TRY(check_layout(entries, reader.remaining(), source.name()));

  SafetensorsHeader header;
  header.n_bytes = reader.position();
  for (Entry& entry : entries) {
    if (const auto dtype = dtype_of(entry.dtype)) {
      header.tensors.push_back({std::string(entry.name), *dtype, std::move(entry.shape), 0,
                                header.n_bytes + entry.begin, entry.end - entry.begin});
      continue;
    }
    header.unsupported.emplace_back(entry.name, entry.dtype);
    if (entry.dtype == "U8") {
      header.bytes.push_back({std::string(entry.name), DType::kU8, std::move(entry.shape), 0,
                              header.n_bytes + entry.begin, entry.end - entry.begin});
    }
  }
  return header;
}

Result<std::vector<std::string>> parse_safetensors_index(std::string_view text, const std::string& name) {
  auto json = parse_json(text, 8);
  if (!json) return json.error().within(name);
  const Json* map = find_member(*json, "weight_map");
  if (map == nullptr || !map->is_object() || map->empty()) {
    return Error(Code::kInvalidArgument, name, ": has no weight_map of tensor names to files");
  }
  std::set<std::string> files;
  for (const auto& [tensor, file] : map->items()) {
    if (!file.is_string() || !is_plain_file_name(file.get_ref<const std::string&>())) {
      return Error(Code::kInvalidArgument, name, ": tensor ", printable(tensor),
                   " is not in a plain file of this folder: ", printable(dump_json(file)));
    }
    files.insert(file.get<std::string>());
  }
  return std::vector<std::string>(files.begin(), files.end());
}

}  // namespace commissure
