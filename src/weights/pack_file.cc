#include "weights/pack_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <limits>
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

Error io_error(const std::string& path, const char* what) {
  const int cause = errno;
  const Code code = cause == ENOSPC || cause == EDQUOT                    ? Code::kResourceExhausted
                    : cause == EACCES || cause == EPERM || cause == EROFS ? Code::kPermissionDenied
                                                                          : Code::kUnavailable;
  return Error(code, path, ": cannot ", what, ": ", std::generic_category().message(cause));
}

bool is_text(const Json* value, std::string_view text) {
  return value != nullptr && value->is_string() && value->get_ref<const std::string&>() == text;
}

}  // namespace

std::string pack_path(const Checkpoint& checkpoint, std::string_view layout) {
  const std::string& location = checkpoint.location();
  if (location.find("://") != std::string::npos) return {};
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

PackWriter::PackWriter(std::string path, std::string layout, std::string fingerprint)
    : path_(std::move(path)),
      temporary_(path_ + ".XXXXXX"),
      layout_(std::move(layout)),
      fingerprint_(std::move(fingerprint)) {}

Result<std::unique_ptr<PackWriter>> PackWriter::create(std::string path, std::string layout, std::string fingerprint) {
  std::unique_ptr<PackWriter> writer(new PackWriter(std::move(path), std::move(layout), std::move(fingerprint)));
  // A name of its own, also beside a process of another container with the same id.
  writer->fd_ = ::mkostemp(writer->temporary_.data(), O_CLOEXEC);
  if (writer->fd_ < 0) return io_error(writer->temporary_, "create the file");
  if (::fchmod(writer->fd_, 0644) != 0) return io_error(writer->temporary_, "make the file readable");
  return writer;
}

PackWriter::~PackWriter() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temporary_.c_str());
}

Status PackWriter::write(std::uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return io_error(temporary_, "write");
    bytes = bytes.subspan(n);
    offset += static_cast<std::uint64_t>(n);
  }
  return {};
}

Status PackWriter::add(const std::string& name, std::span<const std::byte> source, std::span<const std::byte> packed) {
  TRY(write(end_, packed));
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
  TRY(write(end_, table_bytes));
  TRY(write(0, std::as_bytes(std::span(&header, 1))));
  if (::fsync(fd_) != 0) return io_error(temporary_, "write");
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) return io_error(path_, "rename to it");
  end_ += table_bytes.size();
  ::close(std::exchange(fd_, -1));
  return {};
}

}  // namespace commissure
