#include "hub/model_store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <fstream>
#include <iostream>
#include <optional>
#include <utility>

#include "hub/catalogue.h"
#include "hub/hub_name.h"
#include "hub/package_fetch.h"
#include "synth/synth_request.h"
#include "terminal/file_checks.h"
#include "terminal/paths.h"
#include "terminal/progress.h"

namespace commissure {

namespace {

namespace fs = std::filesystem;

fs::path path_of(const KnownModel& model) { return models_dir() / std::string(model.name) / std::string(model.file); }

GenerationDefaults defaults_of(const KnownModel& model) {
  GenerationDefaults defaults;
  defaults.temperature = model.temperature;
  defaults.top_p = model.top_p;
  if (model.dry_multiplier > 0)
    defaults.dry = DryParams{
        .multiplier = model.dry_multiplier, .allowed_length = model.dry_allowed_length, .last_n = kDryOutputAlone};
  defaults.source = "catalogue";
  return defaults;
}

LocalModel as_local(const KnownModel& model) {
  return {std::string(model.name), path_of(model).string(), defaults_of(model), std::string(model.precision)};
}

/// A model of a place outside the cache. A known model's file is known by its name, wherever a copy lies; `n_bytes`
/// where its size can be told.
LocalModel at(std::string name, const fs::path& file, std::string location, std::optional<std::uintmax_t> n_bytes) {
  const KnownModel* known = find_known_file(file.filename().string());
  const bool is_it = known != nullptr && (!n_bytes || *n_bytes == known->n_bytes);
  // Its numeric mode is not taken over: a file is run like any other.
  return {std::move(name), std::move(location), is_it ? defaults_of(*known) : GenerationDefaults()};
}

/// A folder in the cache as something to open: its only GGUF, else the folder itself.
fs::path openable(const fs::path& folder) {
  fs::path only;
  int n_gguf = 0;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    if (entry.path().extension() == ".gguf") {
      only = entry.path();
      ++n_gguf;
    }
  }
  return n_gguf == 1 ? only : folder;
}

std::vector<std::string> files_below(const fs::path& folder) {
  std::vector<std::string> paths;
  std::error_code ignored;
  for (const auto& entry : fs::recursive_directory_iterator(folder, ignored)) {
    if (entry.is_regular_file(ignored)) paths.push_back(entry.path().lexically_relative(folder).string());
  }
  return paths;
}

bool is_whole(const KnownModel& model) {
  std::error_code ignored;
  return fs::file_size(path_of(model), ignored) == model.n_bytes;  // the checksum was made before the rename
}

Status accept_terms(const KnownModel& model, bool accepted) {
  if (model.terms.requirement.empty()) return {};
  const fs::path terms = path_of(model).parent_path() / "LICENSE-TERMS.html";
  if (!fs::exists(terms)) {
    const std::string text = TRY(fetch_terms(model, models_dir()));
    fs::create_directories(terms.parent_path());
    std::ofstream(terms) << text;
  }
  std::cerr << model.name << " is provided under the " << model.license << ": " << terms.string() << "\n";
  if (accepted) {
    std::cerr << "Accepted by --accept-license.\n";
    return {};
  }
  if (isatty(STDIN_FILENO) != 0) {
    std::cerr << "Have you read and do you accept these terms? [y/N] " << std::flush;
    std::string answer;
    std::getline(std::cin, answer);
    if (answer == "y" || answer == "Y" || answer == "yes") return {};
  }
  return Error(Code::kPermissionDenied, "the terms of ", model.name, " were not accepted; read ", terms.string(),
               " and run: commissure pull ", model.name, " --accept-license");
}

std::string what_there_is() {
  std::string text;
  for (const CachedModel& model : cached_models()) text += (text.empty() ? "" : ", ") + model.name;
  std::string known;
  for (const KnownModel& model : known_models()) known += (known.empty() ? "" : ", ") + std::string(model.name);
  return "in the cache: " + (text.empty() ? "nothing" : text) + "; known by name: " + known;
}

}  // namespace

fs::path models_dir() { return cache_dir() / "models"; }

CacheLock::CacheLock() {
  std::error_code ignored;
  fs::create_directories(cache_dir(), ignored);
  file_ = open((cache_dir() / "lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file_ >= 0) flock(file_, LOCK_EX);
}

CacheLock::~CacheLock() {
  if (file_ >= 0) close(file_);
}

Result<LocalModel> pull_known_model(const std::string& name, bool accept_license) {
  TRY(make_cache_dir());
  const KnownModel* known = find_known_model(name);
  if (known == nullptr) return Error(Code::kNotFound, "no model is known as ", name, "; ", what_there_is());
  const LocalModel model = as_local(*known);
  const CacheLock lock;
  if (is_whole(*known)) return model;
  std::error_code problem;
  fs::create_directories(path_of(*known).parent_path(), problem);
  if (problem)
    return Error(Code::kPermissionDenied, "cannot create ", path_of(*known).parent_path().string(), ": ",
                 problem.message());
  TRY(accept_terms(*known, accept_license));
  TRY(fetch_packages(*known, path_of(*known)));
  return model;
}

Result<LocalModel> resolve_model(const std::string& text, bool may_pull) {
  TRY(make_cache_dir());
  if (text.starts_with("http://") || text.starts_with("https://")) {
    const fs::path path(text.substr(0, text.find_first_of("?#")));
    return at(path.stem().string(), path, text, std::nullopt);
  }
  if (is_synth_name(text)) {
    SynthRequest request = TRY(parse_synth_name(text));
    if (!request.tokenizer.empty()) {
      // Stages may run in another folder, and what lies above this one comes into the name.
      request.tokenizer = TRY(resolve_model(request.tokenizer, may_pull)).location;
      TRY(check_request(request));
    }
    return LocalModel{served_synth_name(request), synth_name(request), {}};
  }
  if (text.starts_with("gs://")) {
    const fs::path path(text.ends_with('/') ? text.substr(0, text.size() - 1) : text);
    const bool is_file = path.extension() == ".gguf" || path.extension() == ".safetensors";
    return at(is_file ? path.stem().string() : path.filename().string(), path, text, std::nullopt);
  }
  std::error_code ignored;
  if (fs::exists(text, ignored)) {
    // Not where links lead to: a cache may keep files under their hashes, and the link has the name (and the
    // neighbours).
    fs::path path = fs::absolute(text).lexically_normal();
    if (!path.has_filename()) path = path.parent_path();  // "folder/"
    const bool is_folder = fs::is_directory(path);
    const auto n_bytes = is_folder ? 0 : fs::file_size(path, ignored);
    return at((is_folder ? path.filename() : path.stem()).string(), path, path.string(), n_bytes);
  }
  if (const KnownModel* known = find_known_model(text)) {
    if (is_whole(*known)) return as_local(*known);
    if (may_pull) return pull_known_model(text, false);
    return Error(Code::kNotFound, text, " is not in the cache; run: commissure pull ", text);
  }
  const HubName hub = parse_hub_name(text);
  for (const CachedModel& model : cached_models()) {
    if (!hub.quantisation.empty() && model.name == hub.repo) {
      const auto files = TRY(choose_quantisation(hub.repo, files_below(model.path), hub.quantisation));
      return LocalModel{text, (model.path / files.front()).string(), {}};
    }
    if (model.name == text) return LocalModel{text, openable(model.path).string(), {}};
  }
  return Error(Code::kNotFound, "no model \"", text, "\": no such file or folder, and not known by name (",
               what_there_is(), "); get one with: commissure pull hf:OWNER/REPO");
}

std::vector<CachedModel> cached_models() {
  std::vector<CachedModel> found;
  std::error_code ignored;
  const auto add = [&](const fs::path& folder, const std::string& name) {
    CachedModel model{name, folder};
    bool whole = false;
    for (const auto& entry : fs::directory_iterator(folder, ignored)) {
      if (!entry.is_regular_file(ignored)) continue;
      const auto extension = entry.path().extension();
      (extension == ".pack" ? model.pack_bytes : model.n_bytes) += entry.file_size(ignored);
      whole |= extension == ".gguf" || extension == ".safetensors";
    }
    if (whole) found.push_back(std::move(model));
  };
  for (const auto& entry : fs::directory_iterator(models_dir(), ignored)) {
    if (!entry.is_directory(ignored)) continue;
    const std::string name = entry.path().filename().string();
    add(entry.path(), name);
    for (const auto& inner : fs::directory_iterator(entry.path(), ignored)) {  // hub models: OWNER/REPO
      if (inner.is_directory(ignored)) add(inner.path(), name + "/" + inner.path().filename().string());
    }
  }
  return found;
}

Result<std::uint64_t> remove_model(const std::string& name, bool pack_only) {
  const CacheLock lock;
  for (const CachedModel& model : cached_models()) {
    if (model.name != name) continue;
    std::vector<fs::path> doomed;
    std::error_code problem;
    for (const auto& entry : fs::directory_iterator(model.path, problem)) {
      // A folder may hold another model's folder: only files are this one's.
      if (entry.is_regular_file(problem) && (!pack_only || entry.path().extension() == ".pack"))
        doomed.push_back(entry.path());
    }
    for (const fs::path& file : doomed) {
      fs::remove(file, problem);
      if (problem) return Error(Code::kPermissionDenied, "cannot remove ", file.string(), ": ", problem.message());
    }
    for (fs::path folder = model.path; folder != models_dir(); folder = folder.parent_path())
      fs::remove(folder, problem);  // only when empty
    return pack_only ? model.pack_bytes : model.n_bytes + model.pack_bytes;
  }
  return Error(Code::kNotFound, "the cache has no model ", name, "; ", what_there_is());
}

}  // namespace commissure
