#include "weights/cloud_access.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <utility>

#include "weights/location.h"
#include "weights/remote_source.h"
#include "weights/storage_answers.h"

namespace commissure {

namespace {

constexpr std::size_t kMaxNames = 10'000;
constexpr int kMaxPages = 100;  // pages may be empty
constexpr std::uint64_t kMaxAnswerBytes = 8u << 20;

std::string variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

/// The host as people write it, with or without http:// and a slash at the end.
std::string emulator_url(std::string host) {
  while (host.ends_with('/')) host.pop_back();
  return is_url(host) ? host : fmt::format("http://{}", host);
}

}  // namespace

Result<CloudName> parse_cloud_name(const std::string& location) {
  const std::string_view path = std::string_view(location).substr(std::string_view("gs://").size());
  const auto slash = std::min(path.find('/'), path.size());
  CloudName name{std::string(path.substr(0, slash)), std::string(path.substr(std::min(slash + 1, path.size())))};
  const bool is_bucket = std::ranges::all_of(name.bucket, [](unsigned char c) {
    return std::islower(c) != 0 || std::isdigit(c) != 0 || c == '-' || c == '_' || c == '.';
  });
  if (name.bucket.empty() || name.bucket.size() > 222 || !is_bucket || name.object.size() > 1024) {
    return Error(Code::kInvalidArgument, location, ": is no Cloud Storage location; expected gs://BUCKET/OBJECT or ",
                 "gs://BUCKET/FOLDER/");
  }
  return name;
}

CloudOptions CloudOptions::from_environment() {
  CloudOptions options;
  if (const std::string host = variable("STORAGE_EMULATOR_HOST"); !host.empty()) {
    options.base_url = emulator_url(host);
    return options;
  }
  options.token = variable("COMMISSURE_GCS_TOKEN");
  options.asks_metadata_server = !variable("K_SERVICE").empty() || !variable("GCE_METADATA_HOST").empty();
  return options;
}

CloudAccess::CloudAccess(CloudOptions options) : options_(std::move(options)) {
  if (options_.token.empty() && options_.asks_metadata_server) {
    metadata_ = std::make_unique<MetadataServer>(MetadataServerOptions{.host = options_.metadata_host});
  }
}

std::string CloudAccess::url(std::string_view api, const CloudName& name) const {
  const std::string object = name.object.empty() ? "" : fmt::format("/{}", percent_encoded(name.object));
  return fmt::format("{}{}/b/{}/o{}", options_.base_url, api, name.bucket, object);
}

Result<std::string> CloudAccess::token() {
  if (!metadata_) return options_.token;
  auto got = metadata_->access_token();
  if (got || got.error().code() != Code::kNotFound) return got;
  return Error(Code::kUnauthenticated, got.error().message());  // kNotFound would speak of the object
}

Result<HttpReply> CloudAccess::fetch(HttpFetch request, const HttpReceiver& receiver) {
  const std::size_t n_headers = request.headers.size();
  for (int attempt = 1;; ++attempt) {
    const std::string token = TRY(this->token());
    request.headers.resize(n_headers);
    if (!token.empty()) request.headers.emplace_back("Authorization", fmt::format("Bearer {}", token));
    const bool may_renew = metadata_ && attempt == 1;
    HttpReceiver skipping_refusal;
    if (receiver) {
      skipping_refusal = [&](const HttpReply& head, std::string_view piece) {
        return (may_renew && head.status == 401) || receiver(head, piece);
      };
    }
    auto reply = client_.fetch(request, skipping_refusal);
    if (!may_renew || !reply || reply->status != 401) return reply;
    metadata_->forget(token);
  }
}

Result<Json> CloudAccess::fetch_json(const std::string& url, const std::string& location) {
  for (Backoff backoff(options_.first_pause);;) {
    auto answer = fetch_json_once(url, location);
    if (answer || !backoff.wait_after(answer.error())) return answer;
  }
}

Result<Json> CloudAccess::fetch_json_once(const std::string& url, const std::string& location) {
  HttpFetch request;
  request.url = url;
  request.timeout = std::chrono::seconds(30);
  request.max_body_bytes = kMaxAnswerBytes;
  const HttpReply reply = TRY(fetch(std::move(request)));
  if (reply.status >= 400) return status_error(location, reply.status);
  auto json = parse_json(reply.body, 16);
  if (json && json->is_object()) return json;
  return Error(Code::kInvalidArgument, location, ": the answer (HTTP ", reply.status, ") is not Cloud Storage's; ",
               "is STORAGE_EMULATOR_HOST right?");
}

Error CloudAccess::status_error(const std::string& location, int status) const {
  if (status == 408) return Error(Code::kUnavailable, location, ": the request took too long (HTTP 408)");
  const Error plain = http_status_error(location, status);
  std::string_view cure;
  if (status == 401 && !options_.token.empty()) {
    cure = "; COMMISSURE_GCS_TOKEN is wrong or has expired: gcloud auth print-access-token gives a new one";
  } else if (status == 401 && !metadata_) {
    cure = "; set COMMISSURE_GCS_TOKEN to what gcloud auth print-access-token says";
  } else if (status == 401) {
    cure = "; the service account's fresh token was refused, too: is the account enabled?";
  } else if (status == 403) {
    cure = "; give the account roles/storage.objectViewer on the bucket";
  } else if (status == 404) {
    cure = "; check the name with: gcloud storage ls";
  }
  return Error(plain.code(), plain.message(), cure);
}

Result<std::vector<std::string>> list_cloud_folder(CloudAccess& access, const std::string& folder) {
  const CloudName name = TRY(parse_cloud_name(folder));
  const std::string first_page =
      fmt::format("{}?delimiter=%2F&maxResults=1000&fields=items%2Fname%2CnextPageToken&prefix={}",
                  access.url("/storage/v1", {name.bucket, ""}), percent_encoded(name.object));
  std::vector<std::string> names;
  std::string page;
  for (int n_pages = 1; n_pages <= kMaxPages && names.size() <= kMaxNames; ++n_pages) {
    const std::string next = page.empty() ? "" : fmt::format("&pageToken={}", percent_encoded(page));
    const Json answer = TRY(access.fetch_json(first_page + next, folder));
    ObjectPage found = read_object_page(answer, name.object);
    names.insert(names.end(), found.files.begin(), found.files.end());
    page = std::move(found.next);
    if (page.empty() && names.size() <= kMaxNames) return names;
  }
  return Error(Code::kInvalidArgument, folder, ": holds more than ", kMaxNames,
               " objects, which no model has; name the model's file");
}

}  // namespace commissure
