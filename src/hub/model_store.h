#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/result.h"
#include "engine/generation.h"

namespace commissure {

/// A model that this machine can open.
struct LocalModel {
  std::string name;             ///< what requests call it
  std::string location;         ///< file, folder, URL or synth: name, as open_model takes it
  GenerationDefaults defaults;  ///< the catalogue's sampling defaults, for a file that carries none
  std::string precision = {};   ///< numeric mode that the catalogue advises, "fast" or "exact"; empty: no advice
};

/// One model of the cache.
struct CachedModel {
  std::string name;
  std::filesystem::path path;    ///< its folder
  std::uint64_t n_bytes = 0;     ///< size of the model's own files
  std::uint64_t pack_bytes = 0;  ///< size of the pack files that `pack` and `up` wrote, and would write again
};

/// The folder of the cache that holds the models.
std::filesystem::path models_dir();

/// What `--model` means: a file or folder that exists, an http(s) URL, a gs:// file or folder, synth:SHAPE (a model
/// that is made up; open_model opens it), a name in the cache, or a known name (which is pulled now unless `may_pull`
/// is false). Errors: kNotFound, listing the models that are there and how to get more; else as pull_known_model.
Result<LocalModel> resolve_model(const std::string& text, bool may_pull);

/// Downloads a known model unless the cache has it. Licence terms are shown and must be accepted: by `accept_license`,
/// or at the terminal. Errors: kPermissionDenied, the terms were not accepted; else as fetch_packages.
Result<LocalModel> pull_known_model(const std::string& name, bool accept_license);

/// All models of the cache, in no order.
std::vector<CachedModel> cached_models();

/// Removes a model from the cache, or only its pack files where `pack_only`. Returns how many bytes that freed. Errors:
/// kNotFound, the cache has no model of this name; kPermissionDenied, a file cannot be removed.
Result<std::uint64_t> remove_model(const std::string& name, bool pack_only);

/// Holds the cache's lock file while it lives, so that only one process at a time changes the cache. The constructor
/// waits for the lock.
class CacheLock {
 public:
  CacheLock();
  ~CacheLock();
  CacheLock(const CacheLock&) = delete;
  CacheLock& operator=(const CacheLock&) = delete;

 private:
  int file_ = -1;
};

}  // namespace commissure
