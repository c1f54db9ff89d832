#include "weights/pack_file.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "core/crc32c.h"
#include "core/json.h"

namespace commissure {

namespace {

constexpr std::array<char, 8> kMagic = {'C', 'M', 'S', 'R', 'P', 'A', 'C', 'K'};
constexpr std::uint32_t kVersion = 2;
constexpr std::uint64_t kAlignment = 64;

struct Header {
  std::array<char, 8> magic = kMagic;
  std::uint32_t version = kVersion;
  std::uint32_t table_crc = 0;
  std::uint64_t table_offset = 0;
  std::uint64_t table_bytes = 0;
  std::array<std::byte, 32> reserved = {};
};
static_assert(sizeof(Header) == kAlignment);

/// A few pieces of the tensor, first and last among them: enough to tell another model of the same shape, at the price
/// of some page touches instead of a read of the whole file.
std::uint32_t sample(std::span<const std::byte> bytes) {
  constexpr std::size_t kPieces = 5, kPieceBytes = 64;
  std::uint32_t sum = 0;
  if (bytes.size() <= kPieces * kPieceBytes) return crc32c(bytes);
  for (std::size_t i = 0; i < kPieces; ++i) {
    sum = crc32c(bytes.subspan((bytes.size() - kPieceBytes) / (kPieces - 1) * i, kPieceBytes), sum);
  }
  return crc32c(bytes.last(kPieceBytes), sum);
}

bool is_text(const Json* value, std::string_view text) {
  return value != nullptr && value->is_string() && value->get_ref<const std::string&>() == text;
}

}  // namespace

std::string pack_path(const Checkpoint& checkpoint, std::string_view layout) {
  const std::string& location = checkpoint.location();
  if (location.find("://") != std::string::npos || !checkpoint.has_files()) return {};
  const std::string suffix = fmt::format(".{}.pack", layout);
  std::error_code ignored;
  return std::filesystem::is_directory(location, ignored) ? location + "/model" + suffix : location + suffix;
}

Result<std::shared_ptr<const PackFile>> PackFile::open(const std::string& path, std::string_view layout,
                                                       const std::string& fingerprint) {
  std::shared_ptr<PackFile> pack(new PackFile());
  pack->path_ = path;
  pack->file_ = TRY(MappedFile::open(path));
  TRY(pack->read_table(path, layout, fingerprint));
  return pack;
}

Status PackFile::read_table(const std::string& path, std::string_view layout, const std::string& fingerprint) {
  const std::span<const std::byte> bytes = file_->bytes();
  Header header;
  if (bytes.size() < sizeof header) return Error(Code::kDataLoss, path, ": ", bytes.size(), " bytes are no pack file");
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.magic != kMagic) return Error(Code::kDataLoss, path, ": not a pack file");
  if (header.version != kVersion) {
    return Error(Code::kFailedPrecondition, path, ": version ", header.version, ", expected ", kVersion);
  }
  if (header.table_offset < sizeof header || header.table_offset > bytes.size() ||
      header.table_bytes != bytes.size() - header.table_offset) {
    return Error(Code::kDataLoss, path, ": cut short or damaged (", bytes.size(), " bytes, its table should be at ",
                 header.table_offset, ")");
  }
  const std::span<const std::byte> table = bytes.subspan(header.table_offset);
  if (crc32c(table) != header.table_crc) return Error(Code::kDataLoss, path, ": its table is damaged");
  const Json json = TRY(parse_json({reinterpret_cast<const char*>(table.data()), table.size()}, 4));
  if (!is_text(find_member(json, "layout"), layout) || !is_text(find_member(json, "fingerprint"), fingerprint)) {
    return Error(Code::kFailedPrecondition, path, ": made for another model or another kind of CPU");
  }
  const Json* tensors = find_member(json, "tensors");
  if (tensors == nullptr || !tensors->is_object()) return Error(Code::kDataLoss, path, ": its table lists no tensors");
  for (const auto& [name, place] : tensors->items()) {
    if (!place.is_array() || place.size() != 4 ||
        !std::ranges::all_of(place, [](const Json& value) { return value.is_number_unsigned(); })) {
      return Error(Code::kDataLoss, path, ": tensor ", name, ": expected [offset, bytes, samples, sum]");
    }
    const auto offset = place[0].get<std::uint64_t>(), n_bytes = place[1].get<std::uint64_t>();
    if (offset % kAlignment != 0 || offset > header.table_offset || n_bytes > header.table_offset - offset) {
      return Error(Code::kDataLoss, path, ": tensor ", name, ": bytes ", offset, " + ", n_bytes,
                   " are not in the file");
    }
    entries_[name] = {offset, n_bytes, static_cast<std::uint32_t>(place[2].get<std::uint64_t>()),
                      static_cast<std::uint32_t>(place[3].get<std::uint64_t>())};
  }
  return {};
}

Result<ByteRange> PackFile::find(const std::string& name, std::span<const std::byte> source,
                                 std::size_t n_bytes) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) return Error(Code::kNotFound, "tensor ", name, " is not in the pack file");
  const Entry& entry = found->second;
  if (entry.n_bytes != n_bytes || entry.samples != sample(source)) {
    return Error(Code::kFailedPrecondition, "tensor ", name, " was packed from other bytes");
  }
  const std::span<const std::byte> packed = file_->bytes().subspan(entry.offset, entry.n_bytes);
  if (crc32c(packed) != entry.sum) {
    return Error(Code::kDataLoss, path_, ": tensor ", name, " is damaged: its bytes are not those that were written");
  }
  return ByteRange{packed, file_};
}

Result<std::unique_ptr<PackWriter>> PackWriter::create(std::string path, std::string layout, std::string fingerprint) {
  auto file = TRY(FileWriter::create(std::move(path)));
  return std::unique_ptr<PackWriter>(new PackWriter(std::move(file), std::move(layout), std::move(fingerprint)));
}

Status PackWriter::add(const std::string& name, std::span<const std::byte> source, std::span<const std::byte> packed) {
  TRY(file_->write_at(end_, packed));
  tensors_[name] = {end_, packed.size(), sample(source), crc32c(packed)};
  end_ += (packed.size() + kAlignment - 1) / kAlignment * kAlignment;
  return {};
}

Status PackWriter::finish() {
  const std::string table =
      dump_json({{"layout", layout_}, {"fingerprint", fingerprint_}, {"tensors", std::move(tensors_)}});
  const std::span<const std::byte> table_bytes = std::as_bytes(std::span(table));
  Header header;
  header.table_crc = crc32c(table_bytes);
  header.table_offset = end_;
  header.table_bytes = table_bytes.size();
  TRY(file_->write_at(end_, table_bytes));
  TRY(file_->write_at(0, std::as_bytes(std::span(&header, 1))));
  TRY(file_->finish());
  end_ += table_bytes.size();
  return {};
}

}  // namespace commissure
