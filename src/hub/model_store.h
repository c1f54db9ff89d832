#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/result.h"
#include "engine/generation.h"

namespace commissure {

/// A model this machine can open.
struct LocalModel {
  std::string name;             ///< the name it is asked for by
  std::string location;         ///< file or folder, or a URL
  GenerationDefaults defaults;  ///< the catalogue's sampling defaults, for a file that carries none
  std::string precision = {};   ///< numeric mode that its catalogue entry advises; empty: none
};

/// One model of the cache.
struct CachedModel {
  std::string name;
  std::filesystem::path path;
  std::uint64_t n_bytes = 0;     ///< of the model's own files
  std::uint64_t pack_bytes = 0;  ///< of what `pack` and `up` made of it; made again when it is gone
};

/// Folder of the cache that holds models.
std::filesystem::path models_dir();

/// What `--model` means: a file or folder that exists, an http(s) URL, a gs:// file or folder, a name in the cache, or
/// a known name (which is pulled now unless `may_pull` is false). Errors: kNotFound, listing the models that are there
/// and how to get more; else as pull_known_model.
Result<LocalModel> resolve_model(const std::string& text, bool may_pull);

/// Downloads a known model unless the cache has it. Licence terms are shown and must be accepted: by `accept_license`,
/// or at the terminal. Errors: kPermissionDenied, the terms were not accepted; else as fetch_packages.
Result<LocalModel> pull_known_model(const std::string& name, bool accept_license);

/// The models of the cache.
std::vector<CachedModel> cached_models();

/// Removes a model from the cache, or only its pack files. Returns the bytes that are free now. Errors: kNotFound, the
/// cache has no such model; as the system says.
Result<std::uint64_t> remove_model(const std::string& name, bool pack_only);

/// Holds the cache's lock file while it lives, so that two pulls do not meet.
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
