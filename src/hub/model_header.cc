#include "hub/model_header.h"

#include <cstdlib>

#include "hub/hub.h"
#include "hub/model_store.h"
#include "hub/open_model.h"
#include "terminal/captured_process.h"
#include "terminal/gcloud.h"
#include "weights/location.h"

namespace commissure {

namespace {

bool is_set(const char* variable) {
  const char* const value = std::getenv(variable);
  return value != nullptr && *value != '\0';
}

/// A person's right to read buckets is gcloud's: its token, for this process, unless there is another way in.
Status lend_gcloud_token() {
  for (const char* name : {"COMMISSURE_GCS_TOKEN", "STORAGE_EMULATOR_HOST", "GCE_METADATA_HOST", "K_SERVICE"}) {
    if (is_set(name)) return {};
  }
  const ProgramAnswer answer = TRY(run_captured(gcloud({"auth", "print-access-token"})));
  if (!answer.good()) return Error(Code::kUnauthenticated, google_words(answer), "; run: gcloud auth login");
  setenv("COMMISSURE_GCS_TOKEN", answer.output.substr(0, answer.output.find('\n')).c_str(), 0);
  return {};
}

Result<std::string> header_location(const std::string& model, const std::string& revision, bool may_pull) {
  if (model.starts_with("hf:")) return find_on_hub(hub_request(model.substr(3), revision.empty() ? "main" : revision));
  if (is_cloud(model)) TRY(lend_gcloud_token());
  return TRY(resolve_model(model, may_pull)).location;
}

}  // namespace

bool is_remote_model(const std::string& model) { return model.starts_with("hf:") || is_cloud(model) || is_url(model); }

Result<std::unique_ptr<Checkpoint>> open_header(const std::string& model, const std::string& revision, bool may_pull) {
  return open_model(TRY(header_location(model, revision, may_pull)), ReadMode::kMap, Vocabulary::kSkip);
}

}  // namespace commissure
