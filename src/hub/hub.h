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
  std::string quantisation = {};     ///< of the GGUF file that is wanted; "" for safetensors
  std::vector<std::string> include;  ///< globs; empty: what serving needs
  std::string endpoint;              ///< HF_ENDPOINT, or the public hub
  std::string token;                 ///< HF_TOKEN; never shown
};

/// Of "OWNER/REPO" or "OWNER/REPO:QUANTISATION"; fills endpoint and token from HF_ENDPOINT, HF_TOKEN and
/// HUGGING_FACE_HUB_TOKEN.
HubRequest hub_request(const std::string& name, const std::string& revision);

/// The URL of the file that opens the repository's safetensors model (its index, or the only file) or the GGUF that is
/// wanted, at a commit. Errors: kNotFound, no such repository, or no such model in it; kPermissionDenied, it is gated;
/// as choose_quantisation.
Result<std::string> find_on_hub(const HubRequest& request);

/// The paths in the repository of the GGUF that is wanted, all its parts. Errors: as find_on_hub.
Result<std::vector<std::string>> list_gguf_on_hub(const HubRequest& request);

/// Downloads the repository's model files into the cache; files already there with the right size stay.
/// Errors: kInvalidArgument, no "OWNER/REPO"; kNotFound, no such repository or revision, or no model files in it; as
/// download.
Result<LocalModel> pull_from_hub(const HubRequest& request);

}  // namespace commissure
