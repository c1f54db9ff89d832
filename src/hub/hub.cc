#include "hub/hub.h"

#include <fnmatch.h>

#include <algorithm>

#include "core/json.h"
#include "hub/download.h"
#include "hub/hub_answers.h"
#include "hub/hub_name.h"
#include "net/http.h"
#include "terminal/paths.h"
#include "weights/hub_access.h"

namespace commissure {

namespace {

namespace fs = std::filesystem;

/// What serving needs of a repository when the user names nothing.
constexpr const char* kServingFiles[] = {
    "config.json",           "generation_config.json",       "tokenizer.json",
    "tokenizer_config.json", "special_tokens_map.json",      "chat_template.jinja",
    "*.safetensors",         "model.safetensors.index.json", "preprocessor_config.json"};

std::vector<std::pair<std::string, std::string>> headers_of(const HubRequest& request) {
  if (request.token.empty()) return {};
  return {{"Authorization", "Bearer " + request.token}};
}

Result<Json> ask_hub(const HubRequest& request, const std::string& path) {
  HttpFetch fetch;
  fetch.url = request.endpoint + path;
  fetch.headers = headers_of(request);
  fetch.timeout = std::chrono::seconds(60);
  const HttpReply reply = TRY(http_fetch(fetch));
  if (reply.status == 401 || reply.status == 403) {
    return Error(Code::kPermissionDenied, request.repo, ": access refused (", reply.status,
                 "); accept the model's terms on its page and set HF_TOKEN");
  }
  if (reply.status == 404)
    return Error(Code::kNotFound, request.repo, " (revision ", request.revision, "): no such repository or revision");
  if (reply.status != 200) return Error(Code::kUnavailable, public_url(fetch.url), " answered ", reply.status);
  return parse_json(reply.body);
}

Result<std::vector<HubFile>> list_files(const HubRequest& request, const std::string& commit) {
  const std::string path = "/api/models/" + request.repo + "/tree/" + commit + "?recursive=true";
  return read_file_list(request.repo, TRY(ask_hub(request, path)));
}

bool matches(const std::string& path, const std::string& glob) { return fnmatch(glob.c_str(), path.c_str(), 0) == 0; }

std::vector<std::string> paths_of(const std::vector<HubFile>& files) {
  std::vector<std::string> paths;
  for (const HubFile& file : files) paths.push_back(file.path);
  return paths;
}

/// The named globs; else the quantisation that is wanted; else a safetensors model's files; else, in a repository of
/// GGUFs, the only one there is.
Result<std::vector<HubFile>> choose(const HubRequest& request, const std::vector<HubFile>& files) {
  std::vector<HubFile> chosen;
  const auto take = [&](const auto& globs) {
    for (const HubFile& file : files) {
      if (std::any_of(std::begin(globs), std::end(globs),
                      [&](const std::string& glob) { return matches(file.path, glob); }))
        chosen.push_back(file);
    }
  };
  if (!request.include.empty()) {
    take(request.include);
  } else if (!request.quantisation.empty()) {
    take(TRY(choose_quantisation(request.repo, paths_of(files), request.quantisation)));
  } else {
    const bool has_safetensors = std::any_of(files.begin(), files.end(),
                                             [](const HubFile& file) { return file.path.ends_with(".safetensors"); });
    std::vector<std::string> globs(std::begin(kServingFiles), std::end(kServingFiles));
    if (!has_safetensors) globs = {"*.gguf"};
    take(globs);
    if (!has_safetensors && chosen.size() > 1) {
      std::string names;
      for (const HubFile& file : chosen) names += " " + file.path;
      return Error(Code::kInvalidArgument, request.repo, " holds several GGUF files; choose with --include:", names);
    }
  }
  if (chosen.empty()) return Error(Code::kNotFound, request.repo, " holds no file that fits; see --include");
  return chosen;
}

std::string escaped(std::string_view path) {
  std::string text;
  for (const char c : path) {
    const bool plain =
        std::isalnum(static_cast<unsigned char>(c)) != 0 || std::string_view("-._~/").find(c) != std::string_view::npos;
    text += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return text;
}

std::string file_url(const HubRequest& request, const std::string& commit, const std::string& path) {
  return request.endpoint + "/" + request.repo + "/resolve/" + commit + "/" + escaped(path);
}

/// The commit that a branch or tag means now.
Result<std::string> find_commit(const HubRequest& request) {
  const Json info =
      TRY(ask_hub(request, "/api/models/" + escaped(request.repo) + "/revision/" + escaped(request.revision)));
  return read_commit(request.repo, info);
}

}  // namespace

HubRequest hub_request(const std::string& name, const std::string& revision) {
  const HubAccess access = HubAccess::from_environment();
  const auto [repo, quantisation] = parse_hub_name(name);
  return {.repo = repo,
          .revision = revision,
          .quantisation = quantisation,
          .include = {},
          .endpoint = access.endpoint,
          .token = access.token};
}

Result<std::string> find_on_hub(const HubRequest& request) {
  const std::string commit = TRY(find_commit(request));
  const std::vector<HubFile> files = TRY(list_files(request, commit));
  for (const char* name : {"model.safetensors.index.json", "model.safetensors"}) {
    if (!request.quantisation.empty()) break;
    if (std::ranges::find(files, name, &HubFile::path) != files.end()) return file_url(request, commit, name);
  }
  const std::vector<std::string> paths = paths_of(files);
  const bool has_gguf = std::ranges::any_of(paths, [](const auto& path) { return !quantisation_of(path).empty(); });
  if (has_gguf || !request.quantisation.empty())
    return file_url(request, commit, TRY(choose_quantisation(request.repo, paths, request.quantisation)).front());
  return Error(Code::kNotFound, request.repo, " (revision ", request.revision, "): holds no model.safetensors");
}

Result<std::vector<std::string>> list_gguf_on_hub(const HubRequest& request) {
  const std::vector<HubFile> files = TRY(list_files(request, TRY(find_commit(request))));
  return choose_quantisation(request.repo, paths_of(files), request.quantisation);
}

Result<LocalModel> pull_from_hub(const HubRequest& request) {
  TRY(make_cache_dir());
  const auto slash = request.repo.find('/');
  if (slash == std::string::npos || slash == 0 || slash + 1 == request.repo.size() || !is_safe_path(request.repo) ||
      request.repo.find('/', slash + 1) != std::string::npos) {
    return Error(Code::kInvalidArgument, "\"", request.repo, "\" is not OWNER/REPO");
  }
  const std::string commit = TRY(find_commit(request));
  const std::vector<HubFile> files = TRY(choose(request, TRY(list_files(request, commit))));

  const CacheLock lock;
  const fs::path folder = models_dir() / request.repo;
  for (const HubFile& file : files) {
    const fs::path target = folder / file.path;
    std::error_code problem;
    if (fs::file_size(target, problem) == file.n_bytes && !problem) continue;
    fs::create_directories(target.parent_path(), problem);
    const std::string url = file_url(request, commit, file.path);
    TRY(download({url, headers_of(request), target, file.n_bytes, file.sha256}));
  }
  const std::string suffix = request.quantisation.empty() ? "" : ":" + request.quantisation;
  return resolve_model(request.repo + suffix, false);
}

}  // namespace commissure
