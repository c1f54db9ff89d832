#include "hub/download.h"

#include <charconv>
#include <cstdio>
#include <memory>
#include <thread>

#include "net/http.h"
#include "terminal/file_checks.h"
#include "terminal/progress.h"

namespace commissure {

namespace {

namespace fs = std::filesystem;

constexpr int kTries = 5;

using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

std::uint64_t size_of(const fs::path& path) {
  std::error_code problem;
  const auto size = fs::file_size(path, problem);
  return problem ? 0 : size;
}

/// The total from "bytes 100-999/1000"; 0 when it is not told.
std::uint64_t total_of(const HttpReply& head, std::uint64_t start) {
  const auto number = [](std::string_view text) {
    std::uint64_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
  };
  if (const auto it = head.headers.find("content-range"); it != head.headers.end()) {
    const auto slash = it->second.find('/');
    return slash == std::string::npos ? 0 : number(std::string_view(it->second).substr(slash + 1));
  }
  if (const auto it = head.headers.find("content-length"); it != head.headers.end()) return start + number(it->second);
  return 0;
}

Error refusal(int status, const std::string& url) {
  const std::string where = public_url(url);
  if (status == 404) return Error(Code::kNotFound, where, ": not found (404)");
  if (status == 401 || status == 403) {
    return Error(Code::kPermissionDenied, where, ": access refused (", status,
                 "); for a gated or private model accept its terms on its page and set HF_TOKEN");
  }
  return Error(Code::kUnavailable, where, ": the server answered ", status);
}

struct Attempt {
  const DownloadRequest& request;
  const fs::path partial;
  std::unique_ptr<ProgressLine>& progress;

  /// One connection, from where the partial file ends.
  Status run() {
    const std::uint64_t start = size_of(partial);
    if (request.n_bytes > 0 && start == request.n_bytes) return {};
    HttpFetch fetch;
    fetch.url = request.url;
    fetch.headers = request.headers;
    if (start > 0) fetch.headers.emplace_back("Range", "bytes=" + std::to_string(start) + "-");
    File file(nullptr, std::fclose);
    std::uint64_t done = start;
    bool disk_full = false;
    const auto reply = http_fetch(fetch, [&](const HttpReply& head, std::string_view piece) {
      if (head.status != 200 && head.status != 206) return true;  // an error page: let it pass
      if (!file) {
        const bool resumed = head.status == 206;
        if (!resumed) done = 0;
        file.reset(std::fopen(partial.c_str(), resumed ? "ab" : "wb"));
        if (!file) return false;
        const std::string what = "Downloading " + request.target.filename().string();
        if (!progress)
          progress = std::make_unique<ProgressLine>(what, request.n_bytes > 0 ? request.n_bytes : total_of(head, done));
      }
      disk_full = std::fwrite(piece.data(), 1, piece.size(), file.get()) != piece.size();
      done += piece.size();
      progress->update(done);
      return !disk_full;
    });
    const bool flushed = !file || std::fflush(file.get()) == 0;
    if (disk_full || !flushed) {
      return Error(Code::kResourceExhausted, "cannot write ", partial.string(),
                   ": the disk is full; make room and pull again, it goes on from here");
    }
    if (!reply) return Error(reply.error());
    if (reply->status == 416) {  // the partial file is longer than the object: start over
      fs::remove(partial);
      return Error(Code::kDataLoss, "the partial file did not match");
    }
    if (reply->status != 200 && reply->status != 206) return refusal(reply->status, request.url);
    if (!file)
      return File(std::fopen(partial.c_str(), "ab"), std::fclose)
                 ? Status()
                 : Error(Code::kPermissionDenied, "cannot write ", partial.string());
    return {};
  }
};

bool worth_another_try(const Error& error) {
  return error.code() == Code::kDataLoss || error.code() == Code::kUnavailable ||
         error.code() == Code::kDeadlineExceeded;
}

}  // namespace

Status download(const DownloadRequest& request) {
  const fs::path partial = request.target.string() + ".partial";
  const std::uint64_t have = size_of(partial);
  TRY(check_free_space(request.target.parent_path(), request.n_bytes > have ? request.n_bytes - have : 0));

  std::unique_ptr<ProgressLine> progress;
  Attempt attempt{request, partial, progress};
  Status status = attempt.run();
  for (int i = 1; !status && worth_another_try(status.error()) && i < kTries; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(200 << i));
    status = attempt.run();
  }
  if (!status) return status;
  if (progress) progress->finish();
  Status whole = check_file(partial, request.n_bytes > 0 ? request.n_bytes : size_of(partial), request.sha256);
  if (!whole) {
    fs::remove(partial);  // a wrong file must not be resumed
    return whole;
  }
  return rename_file(partial, request.target);
}

}  // namespace commissure
