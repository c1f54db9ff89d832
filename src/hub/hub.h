#pragma once

#include <string>
#include <vector>

#include "core/result.h"
#include "hub/model_store.h"

namespace commissure {

/// A model on a hub that speaks Hugging Face's HTTP.
struct HubRequest {
  std::string repo;                  ///< "OWNER/REPO"
  std::string revision = "main";     ///< branch, tag or commit; resolved to a commit first, so that files agree
  std::string quantisation = {};     ///< of the GGUF file that is wanted, "Q4_K_M"; "": a safetensors model
  std::vector<std::string> include;  ///< globs of the files to pull; empty: the files that serving needs
  std::string endpoint;              ///< HF_ENDPOINT, or the public hub
  std::string token;                 ///< HF_TOKEN; never shown
};

/// The request for `name`, "OWNER/REPO" or "OWNER/REPO:QUANTISATION", with endpoint and token from HF_ENDPOINT,
/// HF_TOKEN and HUGGING_FACE_HUB_TOKEN.
HubRequest hub_request(const std::string& name, const std::string& revision);

/// The URL, at a commit, of the file that opens the model: the GGUF file that the request names, or the safetensors
/// model's index or only file.
/// Errors: kNotFound, no such repository, or no such model in it; kPermissionDenied, the repository is gated; else as
/// choose_quantisation.
Result<std::string> find_on_hub(const HubRequest& request);

/// The paths in the repository of all parts of the GGUF that the request names. Errors: as find_on_hub.
Result<std::vector<std::string>> list_gguf_on_hub(const HubRequest& request);

/// Downloads the repository's model files into the cache; files that are there with the right size already are kept.
/// Errors: kInvalidArgument, no "OWNER/REPO"; kNotFound, no such repository or revision, or no model files in it; as
/// download.
Result<LocalModel> pull_from_hub(const HubRequest& request);

}  // namespace commissure
