#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "core/json.h"
#include "core/result.h"
#include "net/http.h"
#include "net/metadata_server.h"

namespace commissure {

/// "gs://bucket/some/object" taken apart.
struct CloudName {
  std::string bucket;
  std::string object;  ///< empty for the bucket itself
};

/// Errors: kInvalidArgument, no bucket or not a name that Cloud Storage allows.
Result<CloudName> parse_cloud_name(const std::string& location);

struct CloudOptions {
  std::string base_url = "https://storage.googleapis.com";
  std::string token;                  ///< an OAuth token, used as it is
  bool asks_metadata_server = false;  ///< where `token` is empty: asks Google's metadata server for tokens
  std::string metadata_host;          ///< as MetadataServerOptions::host
  std::chrono::milliseconds first_pause{250};

  /// The emulator at STORAGE_EMULATOR_HOST (which is never sent a token), else COMMISSURE_GCS_TOKEN, else tokens of the
  /// metadata server where K_SERVICE or GCE_METADATA_HOST says that there is one.
  static CloudOptions from_environment();
};

/// Cloud Storage's JSON API, called with the rights of the token that the options give. No error message holds a token.
/// Threading: any thread.
class CloudAccess {
 public:
  explicit CloudAccess(CloudOptions options);

  /// The URL of a bucket's objects, BASE/API/b/BUCKET/o, or of one object, the same and /OBJECT. `api` is "/storage/v1"
  /// or "/download/storage/v1".
  std::string url(std::string_view api, const CloudName& name) const;
  std::chrono::milliseconds first_pause() const { return options_.first_pause; }

  /// As HttpClient::fetch, with a token. A token that is refused is forgotten and another one tried, once.
  /// Errors: also kUnauthenticated, no token to be had.
  Result<HttpReply> fetch(HttpFetch request, const HttpReceiver& receiver = {});

  /// The JSON object at `url`; a failure that may pass is tried again. Errors: as fetch and status_error; kDataLoss.
  Result<Json> fetch_json(const std::string& url, const std::string& location);

  /// What a status of 400 and above means for `location`, and what to do.
  Error status_error(const std::string& location, int status) const;

 private:
  Result<std::string> token();
  Result<Json> fetch_json_once(const std::string& url, const std::string& location);

  const CloudOptions options_;
  std::unique_ptr<MetadataServer> metadata_;  // none: no tokens from there
  HttpClient client_;
};

/// The names of the objects right below gs://BUCKET/FOLDER/ (not those in folders below it), without the folder.
/// Errors: as CloudAccess::fetch_json; kInvalidArgument, more than a model's folder has.
Result<std::vector<std::string>> list_cloud_folder(CloudAccess& access, const std::string& folder);

}  // namespace commissure
