#include <cstdio>
#include <memory>

#include "commands/command.h"
#include "hub/catalogue.h"
#include "hub/download.h"
#include "hub/hub.h"
#include "hub/model_store.h"
#include "net/http.h"

namespace commissure {

namespace {

struct PullOptions {
  std::string what;
  std::string revision = "main";
  std::vector<std::string> include;
  std::string sha256;
  bool accept_license = false;
};

Result<LocalModel> pull_url(const PullOptions& options) {
  const std::string clean = public_url(options.what);
  const std::string file = clean.substr(clean.rfind('/') + 1);
  if (file.empty()) return Error(Code::kInvalidArgument, clean, " names no file");
  const std::filesystem::path stem = std::filesystem::path(file).stem();
  const CacheLock lock;
  TRY(download({options.what, {}, models_dir() / stem / file, 0, options.sha256}));
  return resolve_model(stem.string(), false);
}

Result<LocalModel> pull(const PullOptions& options) {
  if (options.what.starts_with("hf:")) {
    HubRequest request = hub_request(options.what.substr(3), options.revision);
    request.include = options.include;
    return pull_from_hub(request);
  }
  if (options.what.starts_with("http://") || options.what.starts_with("https://")) return pull_url(options);
  if (find_known_model(options.what) == nullptr && options.what.find('/') != std::string::npos) {
    return Error(Code::kInvalidArgument, "no model is known as ", options.what,
                 "; a repository of the hub is hf:", options.what, " (commissure pull hf:", options.what, ")");
  }
  return pull_known_model(options.what, options.accept_license);
}

}  // namespace

CommandRun add_pull(CLI::App& app) {
  auto options = std::make_shared<PullOptions>();
  app.add_option("what", options->what, "a known name, hf:OWNER/REPO, or a URL")->required();
  app.add_option("--revision", options->revision, "branch, tag or commit on the hub");
  app.add_option("--include", options->include, "only files that match (may be repeated)");
  app.add_option("--sha256", options->sha256, "expected checksum of a URL's file");
  app.add_flag("--accept-license", options->accept_license, "I have read and accept the model's terms");
  app.add_option_function<std::string>(
      "--cache", [](const std::string& folder) { setenv("COMMISSURE_CACHE", folder.c_str(), 1); },
      "where models are kept; default COMMISSURE_CACHE or ~/.cache/commissure");
  return [options]() -> Result<int> {
    const LocalModel model = TRY(pull(*options));
    std::printf("%s is ready: %s\n", model.name.c_str(), model.location.c_str());
    return 0;
  };
}

}  // namespace commissure
