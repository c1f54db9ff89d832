#include "weights/http_source.h"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstring>
#include <optional>
#include <thread>
#include <utility>

#include "core/http.h"
#include "weights/check_range.h"

namespace commissure {

namespace {

using std::chrono::milliseconds;

constexpr int kMaxFailures = 5;                     // in a row
constexpr std::uint64_t kRealProgress = 64u << 10;  // a request that brought this much begins the row anew
constexpr milliseconds kStallTimeout{20'000};
constexpr std::uint64_t kHeaderStep = 1u << 20;  // a request costs a round trip, so ask for more than from a disk

/// "bytes 0-99/1234" -> 0 and 1234.
struct ContentRange {
  std::uint64_t first;
  std::uint64_t size;
};

std::optional<std::uint64_t> leading_number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() ? std::optional(value) : std::nullopt;
}

std::optional<ContentRange> content_range(const HttpReply& reply) {
  const auto it = reply.headers.find("content-range");
  if (it == reply.headers.end() || !it->second.starts_with("bytes ")) return std::nullopt;
  const std::string_view text = std::string_view(it->second).substr(6);
  const auto first = leading_number(text);
  const auto slash = text.find('/');
  const auto size = slash == text.npos ? std::nullopt : leading_number(text.substr(slash + 1));
  return first && size ? std::optional(ContentRange{*first, *size}) : std::nullopt;
}

std::string etag_of(const HttpReply& reply) {
  const auto it = reply.headers.find("etag");
  return it == reply.headers.end() ? "" : it->second;
}

/// Whether the same request may succeed a moment later.
bool is_passing(Code code) {
  return code == Code::kUnavailable || code == Code::kDataLoss || code == Code::kDeadlineExceeded ||
         code == Code::kResourceExhausted;
}

class HttpSource final : public ByteSource {
 public:
  HttpSource(const std::string& url, milliseconds first_pause)
      : url_(url), name_(public_url(url)), first_pause_(first_pause) {}

  /// Asks for the first byte: the answer tells the size and whether ranges work (HEAD is refused by signed URLs).
  Status connect() {
    std::byte first{};
    return read_into({&first, 1}, 0);
  }

  const std::string& name() const override { return name_; }
  std::uint64_t size() const override { return size_; }
  bool is_mapped() const override { return false; }
  std::uint64_t bytes_read() const override { return bytes_read_; }
  std::uint64_t preferred_read_bytes() const override { return kHeaderStep; }

  Result<ByteRange> read(std::uint64_t offset, std::uint64_t n_bytes) override {
    TRY(check_range(*this, offset, n_bytes));
    std::shared_ptr<std::byte[]> buffer = std::make_shared_for_overwrite<std::byte[]>(n_bytes);
    TRY(read_into({buffer.get(), n_bytes}, offset));
    bytes_read_ += n_bytes;
    return ByteRange{{buffer.get(), n_bytes}, buffer};
  }

 private:
  /// Fills `out`; what has arrived is kept when a transfer breaks.
  Status read_into(std::span<std::byte> out, std::uint64_t offset) {
    std::uint64_t done = 0;
    milliseconds pause = first_pause_;
    for (int failures = 0; done < out.size();) {
      const std::uint64_t before = done;
      const Status got = read_once(out, offset, done);
      if (got) continue;
      if (!is_passing(got.error().code())) return got;
      if (done - before >= kRealProgress) {
        failures = 0;
        pause = first_pause_;
      }
      if (++failures == kMaxFailures) return got;
      std::this_thread::sleep_for(pause);  // back-off, bounded by kMaxFailures
      pause *= 2;
    }
    return {};
  }

  /// One request for what is missing; `done` grows with every byte that arrives.
  Status read_once(std::span<std::byte> out, std::uint64_t offset, std::uint64_t& done) {
    HttpFetch request;
    request.url = url_;
    request.stall_timeout = kStallTimeout;
    request.headers = {{"Range", fmt::format("bytes={}-{}", offset + done, offset + out.size() - 1)}};
    Status head_check;
    bool is_checked = false;
    const auto reply = client_.fetch(request, [&](const HttpReply& head, std::string_view piece) {
      if (!std::exchange(is_checked, true)) head_check = check_head(head, offset + done);
      if (!head_check || piece.size() > out.size() - done) return false;
      std::memcpy(out.data() + done, piece.data(), piece.size());
      done += piece.size();
      return true;
    });
    if (!head_check) return head_check;
    if (!reply && reply.error().code() == Code::kCancelled) {
      return Error(Code::kFailedPrecondition, name_, ": the server sent more bytes than asked for");
    }
    if (!reply) return reply.error();
    if (!is_checked) TRY(check_head(*reply, offset + done));  // an answer without a body
    if (done < out.size())
      return Error(Code::kDataLoss, name_, ": ", out.size() - done, " bytes of a range did not come");
    return {};
  }

  Status check_head(const HttpReply& head, std::uint64_t expected_first) {
    if (head.status >= 400) return http_status_error(url_, head.status);
    if (head.status != 206) {
      return Error(Code::kFailedPrecondition, name_, ": the server does not answer byte ranges (HTTP ", head.status,
                   "); download the file and name the local copy");
    }
    const auto range = content_range(head);
    if (!range) return Error(Code::kFailedPrecondition, name_, ": the server's Content-Range is missing or unclear");
    if (size_ == 0) {
      size_ = range->size;
      etag_ = etag_of(head);
    }
    if (range->first != expected_first) {
      return Error(Code::kFailedPrecondition, name_, ": asked for bytes from ", expected_first,
                   ", the server sent them from ", range->first);
    }
    if (range->size != size_ || etag_of(head) != etag_) {
      return Error(Code::kFailedPrecondition, name_, ": has changed while it was being read");
    }
    return {};
  }

  const std::string url_;
  const std::string name_;
  const milliseconds first_pause_;
  HttpClient client_;
  std::uint64_t size_ = 0;  // set by connect(), before any other thread sees this
  std::string etag_;
  std::atomic<std::uint64_t> bytes_read_{0};
};

}  // namespace

Result<std::unique_ptr<ByteSource>> open_http_source(const std::string& url, milliseconds first_pause) {
  auto source = std::make_unique<HttpSource>(url, first_pause);
  TRY(source->connect());
  return source;
}

}  // namespace commissure
