#include "weights/cloud_source.h"

#include <optional>
#include <utility>

#include "core/crc32c.h"
#include "weights/remote_source.h"
#include "weights/storage_answers.h"

namespace commissure {

namespace {

class CloudSource final : public RemoteSource {
 public:
  CloudSource(const std::string& location, CloudOptions options)
      : RemoteSource(location, options.first_pause), access_(std::move(options)) {}

  Status connect() {
    const CloudName object = TRY(parse_cloud_name(name()));
    if (object.object.empty()) return Error(Code::kInvalidArgument, name(), ": names a bucket, not an object");
    const std::string url = access_.url("/storage/v1", object) + "?fields=size%2Cgeneration%2Ccrc32c";
    const ObjectFacts facts = TRY(read_object_facts(TRY(access_.fetch_json(url, name())), name()));
    set_size(facts.size);
    generation_ = std::to_string(facts.generation);
    sum_ = facts.crc32c;
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
