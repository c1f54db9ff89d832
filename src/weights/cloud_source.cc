#include "weights/cloud_source.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>
#include <utility>

#include "core/crc32c.h"
#include "net/jwt.h"
#include "weights/remote_source.h"

namespace commissure {

namespace {

constexpr std::uint64_t kMaxObjectBytes = 5ull << 40;  // Cloud Storage's own limit

/// A member that is a number in text, as Google's JSON writes 64 bits.
std::optional<std::uint64_t> number_member(const Json& object, std::string_view key) {
  const Json* const text = find_member(object, key);
  if (text == nullptr || !text->is_string()) return std::nullopt;
  const std::string& digits = text->get_ref<const std::string&>();
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return error == std::errc() && end == digits.data() + digits.size() ? std::optional(value) : std::nullopt;
}

/// "yZRlqg==" -> the sum: four bytes, the highest first.
std::optional<std::uint32_t> parse_sum(std::string text) {
  std::ranges::replace(text, '+', '-');
  std::ranges::replace(text, '/', '_');
  while (text.ends_with('=')) text.pop_back();
  const auto bytes = decode_base64url(text);
  if (!bytes || bytes->size() != 4) return std::nullopt;
  std::uint32_t sum = 0;
  for (const char c : *bytes) sum = sum << 8 | static_cast<unsigned char>(c);
  return sum;
}

class CloudSource final : public RemoteSource {
 public:
  CloudSource(const std::string& location, CloudOptions options)
      : RemoteSource(location, options.first_pause), access_(std::move(options)) {}

  Status connect() {
    const CloudName object = TRY(parse_cloud_name(name()));
    if (object.object.empty()) return Error(Code::kInvalidArgument, name(), ": names a bucket, not an object");
    const std::string url = access_.url("/storage/v1", object) + "?fields=size%2Cgeneration%2Ccrc32c";
    const Json facts = TRY(access_.fetch_json(url, name()));
    const auto size = number_member(facts, "size");
    const auto generation = number_member(facts, "generation");
    const Json* const sum = find_member(facts, "crc32c");
    if (sum != nullptr) sum_ = sum->is_string() ? parse_sum(sum->get<std::string>()) : std::nullopt;
    if (!size || *size > kMaxObjectBytes || !generation || (sum != nullptr && !sum_)) {
      return Error(Code::kDataLoss, name(), ": Cloud Storage's answer has no usable size, generation and crc32c");
    }
    if (*size == 0) return Error(Code::kInvalidArgument, name(), ": is empty");
    set_size(*size);
    generation_ = std::to_string(*generation);
    set_url(access_.url("/download/storage/v1", object) + "?alt=media&generation=" + generation_);
    return {};
  }

 private:
  Result<HttpReply> fetch(const HttpFetch& request, const HttpReceiver& receiver) override {
    return access_.fetch(request, receiver);
  }

  Error status_error(int status) const override {
    return status == 404 ? changed() : access_.status_error(name(), status);
  }

  Status check_version(const HttpReply& head, std::uint64_t size) override {
    const auto generation = head.headers.find("x-goog-generation");
    const bool is_same = generation == head.headers.end() || generation->second == generation_;
    if (is_same && size == this->size()) return {};
    return changed();
  }

  Status check_whole(std::span<const std::byte> bytes) const override {
    const std::uint32_t sum = crc32c(bytes);
    if (!sum_ || sum == *sum_) return {};
    return Error(Code::kDataLoss, name(),
                 fmt::format(": its bytes have CRC-32C {:08x}, Cloud Storage states {:08x}; ", sum, *sum_),
                 "start again, and upload it again if that does not help");
  }

  /// The generation that was opened is gone.
  Error changed() const {
    return Error(Code::kFailedPrecondition, name(), ": was replaced or deleted while it was being read (generation ",
                 generation_, " is gone); start again");
  }

  CloudAccess access_;
  std::string generation_;
  std::optional<std::uint32_t> sum_;
};

}  // namespace

Result<std::unique_ptr<ByteSource>> open_cloud_source(const std::string& location, CloudOptions options) {
  auto source = std::make_unique<CloudSource>(location, std::move(options));
  TRY(source->connect());
  return source;
}

}  // namespace commissure
