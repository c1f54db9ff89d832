#include "weights/remote_source.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "core/guarded.h"
#include "core/scarce.h"
#include "weights/check_range.h"
#include "weights/storage_answers.h"

namespace commissure {

namespace {

using std::chrono::milliseconds;

constexpr int kMaxFailures = 5;                     // in a row
constexpr std::uint64_t kRealProgress = 64u << 10;  // a request that brought this much begins the row anew
constexpr milliseconds kStallTimeout{20'000};
constexpr std::uint64_t kHugePageBytes = 2u << 20;
constexpr std::chrono::duration<double> kPartTime{0.5};  // some ten times what an answer takes to begin
constexpr std::chrono::duration<double> kShortest{1e-6};

std::optional<ContentRange> content_range(const HttpReply& reply) {
  const auto it = reply.headers.find("content-range");
  return it == reply.headers.end() ? std::nullopt : parse_content_range(it->second);
}

/// Room for what arrives; nothing when there is none. Large ones lie in huge pages: touching fresh memory in small
/// pages takes as long as a fast line does.
std::shared_ptr<std::byte[]> make_buffer(std::uint64_t n_bytes) {
  if (n_bytes < 2 * kHugePageBytes) return std::make_shared_for_overwrite<std::byte[]>(n_bytes);
  const std::uint64_t whole_pages = (n_bytes + kHugePageBytes - 1) / kHugePageBytes * kHugePageBytes;
  void* const memory = std::aligned_alloc(kHugePageBytes, whole_pages);
  if (memory == nullptr) return nullptr;
  madvise(memory, whole_pages, MADV_HUGEPAGE);  // a hint
  return {static_cast<std::byte*>(memory), std::free};
}

/// Whether the same request may succeed a moment later.
bool is_passing(Code code) {
  return code == Code::kUnavailable || code == Code::kDataLoss || code == Code::kDeadlineExceeded ||
         code == Code::kResourceExhausted;
}

}  // namespace

bool Backoff::wait_after(const Error& error) {
  if (!is_passing(error.code()) || ++n_failures_ == kMaxFailures) return false;
  std::this_thread::sleep_for(pause_);  // bounded by kMaxFailures
  pause_ *= 2;
  return true;
}

void Backoff::reset() {
  n_failures_ = 0;
  pause_ = first_pause_;
}

Result<ByteRange> RemoteSource::read(std::uint64_t offset, std::uint64_t n_bytes) {
  TRY(check_range(*this, offset, n_bytes));
  const std::shared_ptr<std::byte[]> buffer = make_buffer(n_bytes);
  if (!buffer) return Error(Code::kResourceExhausted, name_, ": no memory for ", n_bytes, " bytes");
  const std::span<std::byte> out(buffer.get(), n_bytes);
  TRY(read_parts(out, offset));
  if (n_bytes == size_) TRY(check_whole(out));
  bytes_read_ += n_bytes;
  return ByteRange{out, buffer};
}

std::uint64_t PartSize::next(std::uint64_t n_left) const {
  const std::uint64_t share = std::max(n_left / kMaxPartsInFlight, kPartBytes);
  return std::min({n_left, share, n_bytes_.load()});
}

void PartSize::took(std::uint64_t n_bytes, std::chrono::duration<double> time) {
  const double wanted = static_cast<double>(n_bytes) * (kPartTime / std::max(time, kShortest));
  const std::uint64_t now = n_bytes_;
  if (n_bytes < now) return;                                                  // the end of a read tells little
  const double most = static_cast<double>(std::min(2 * now, kMaxPartBytes));  // one lucky part is not trusted
  n_bytes_ = static_cast<std::uint64_t>(std::clamp(wanted, static_cast<double>(kPartBytes), most));
}

void PartSize::broke() { n_bytes_ = std::max(n_bytes_ / 2, kPartBytes); }

Status RemoteSource::read_parts(std::span<std::byte> out, std::uint64_t offset) {
  Guarded<std::uint64_t> cursor;
  std::atomic<bool> is_stopped{false};
  Guarded<Status> result;
  const auto take = [&](std::uint64_t& at) {
    const std::uint64_t first = at;
    at += part_size_.next(out.size() - at);
    return out.subspan(first, at - first);
  };
  const auto work = [&] {
    for (auto part = cursor.with(take); !part.empty() && !is_stopped; part = cursor.with(take)) {
      const auto first = static_cast<std::uint64_t>(part.data() - out.data());
      Status got = unless_scarce([&] { return read_part(part, offset + first, is_stopped); },
                                 []() -> Status { return no_memory(); });
      // The first failure is the one to tell; it ends the other parts, whose own words would be kCancelled.
      if (!got && !is_stopped.exchange(true)) result.with([&](Status& status) { status = std::move(got); });
    }
  };
  {
    std::vector<std::jthread> helpers;
    const std::uint64_t n_parts = (out.size() + kPartBytes - 1) / kPartBytes;
    done_unless_scarce([&] {  // else those that are there do it
      for (std::uint64_t i = 1; i < std::min(n_parts, kMaxPartsInFlight); ++i) helpers.emplace_back(work);
    });
    work();
  }
  return result.copy();
}

Status RemoteSource::read_part(std::span<std::byte> out, std::uint64_t offset, const std::atomic<bool>& is_stopped) {
  std::uint64_t done = 0;
  Backoff backoff(first_pause_);
  while (done < out.size()) {
    const std::uint64_t before = done;
    const auto start = std::chrono::steady_clock::now();
    const Status got = read_once(out, offset, done, is_stopped);
    if (got) {
      part_size_.took(done - before, std::chrono::steady_clock::now() - start);
      continue;
    }
    part_size_.broke();
    if (done - before >= kRealProgress) backoff.reset();
    if (is_stopped || !backoff.wait_after(got.error())) return got;
  }
  return {};
}

/// One request for what is missing; `done` grows with every byte that arrives.
Status RemoteSource::read_once(std::span<std::byte> out, std::uint64_t offset, std::uint64_t& done,
                               const std::atomic<bool>& is_stopped) {
  HttpFetch request;
  request.url = url_;
  request.stall_timeout = kStallTimeout;
  request.headers = {{"Range", fmt::format("bytes={}-{}", offset + done, offset + out.size() - 1)}};
  Status head_check;
  bool is_checked = false;
  const auto reply = fetch(request, [&](const HttpReply& head, std::string_view piece) {
    if (!std::exchange(is_checked, true)) head_check = check_head(head, offset + done);
    if (!head_check || is_stopped || piece.size() > out.size() - done) return false;
    std::memcpy(out.data() + done, piece.data(), piece.size());
    done += piece.size();
    return true;
  });
  if (!head_check) return head_check;
  if (is_stopped) return Error(Code::kCancelled, name_, ": another part of the read has failed");
  if (!reply && reply.error().code() == Code::kCancelled) {
    return Error(Code::kFailedPrecondition, name_, ": the server sent more bytes than asked for");
  }
  if (!reply) return reply.error();
  if (!is_checked) TRY(check_head(*reply, offset + done));  // an answer without a body
  if (done < out.size())
    return Error(Code::kDataLoss, name_, ": ", out.size() - done, " bytes of a range did not come");
  return {};
}

Status RemoteSource::check_head(const HttpReply& head, std::uint64_t expected_first) {
  if (head.status >= 400) return status_error(head.status);
  if (head.status != 206) {
    return Error(Code::kFailedPrecondition, name_, ": the server does not answer byte ranges (HTTP ", head.status,
                 "); download the file and name the local copy");
  }
  const auto range = content_range(head);
  if (!range) return Error(Code::kFailedPrecondition, name_, ": the server's Content-Range is missing or unclear");
  TRY(check_version(head, range->size));
  if (range->first != expected_first) {
    return Error(Code::kFailedPrecondition, name_, ": asked for bytes from ", expected_first,
                 ", the server sent them from ", range->first);
  }
  return {};
}

}  // namespace commissure
