#include "weights/adapter_file.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>

#include "core/sha256.h"
#include "weights/byte_source.h"

namespace commissure {
namespace {

Status hash_file(const std::string& path, std::uint64_t& n_left, Sha256& hash) {
  constexpr std::uint64_t kWindow = 8u << 20;
  const auto source = TRY(open_byte_source(path, ReadMode::kRead));
  const std::uint64_t size = source->size();
  if (size > n_left) {
    return Error(Code::kInvalidArgument, source->name(), ": has ", size, " bytes; an adapter has at most ",
                 kMaxAdapterBytes);
  }
  n_left -= size;
  std::array<std::byte, sizeof(size)> length{};
  std::memcpy(length.data(), &size, sizeof(size));
  hash.update(length);
  for (std::uint64_t offset = 0; offset < size; offset += kWindow) {
    hash.update(TRY(source->read(offset, std::min(kWindow, size - offset))).bytes);
  }
  return {};
}

/// The first 8 bytes of a hash in hex, little endian.
std::uint64_t first_bytes(const std::string& hex) {
  std::uint64_t value = 0;
  for (int i = 7; i >= 0; --i) {
    unsigned byte = 0;
    const char* const digits = hex.data() + 2 * static_cast<std::ptrdiff_t>(i);
    std::from_chars(digits, digits + 2, byte, 16);
    value = value << 8 | byte;
  }
  return value;
}

}  // namespace

AdapterFiles adapter_files(const std::string& path) {
  if (path.ends_with(".gguf")) return {.config = {}, .tensors = path};
  const std::string folder = path.ends_with('/') ? path : path + "/";
  return {.config = folder + "adapter_config.json", .tensors = folder + "adapter_model.safetensors"};
}

Result<AdapterId> adapter_id(const std::string& path) {
  const AdapterFiles files = adapter_files(path);
  std::uint64_t n_left = kMaxAdapterBytes;
  Sha256 hash;
  if (!files.is_gguf()) TRY(hash_file(files.config, n_left, hash));
  TRY(hash_file(files.tensors, n_left, hash));
  return AdapterId(std::max<std::uint64_t>(first_bytes(hash.finish()), 1));  // 0 is no adapter
}

}  // namespace commissure
