#include "plan/bucket_weights.h"

#include <algorithm>
#include <fstream>

#include "core/crc32c.h"
#include "hub/hub.h"
#include "hub/hub_name.h"
#include "hub/open_model.h"
#include "weights/find_model_file.h"
#include "weights/location.h"

namespace commissure {

namespace {

namespace fs = std::filesystem;

std::string base64(std::uint32_t sum) {
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  const std::uint64_t bits = static_cast<std::uint64_t>(sum) << 4;  // 32 bits in six digits of six
  for (int shift = 30; shift >= 0; shift -= 6) text += digits[(bits >> shift) & 63];
  return text + "==";
}

Result<WeightFile> sum_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return Error(Code::kNotFound, "cannot read ", path.string());
  WeightFile weight{path.string(), path.filename().string(), 0, ""};
  std::vector<char> piece(1 << 20);
  std::uint32_t sum = 0;
  while (file.read(piece.data(), static_cast<std::streamsize>(piece.size())), file.gcount() > 0) {
    const auto n = static_cast<std::size_t>(file.gcount());
    sum = crc32c(std::as_bytes(std::span(piece.data(), n)), sum);
    weight.n_bytes += n;
  }
  if (file.bad()) return Error(Code::kDataLoss, "cannot read all of ", path.string());
  weight.crc32c = base64(sum);
  return weight;
}

/// Letters, digits, dots, hyphens and underscores; everything else becomes a hyphen.
std::string folder_name(std::string text) {
  std::ranges::replace_if(
      text, [](unsigned char c) { return std::isalnum(c) == 0 && c != '.' && c != '-' && c != '_'; }, '-');
  return text;
}

bool serves(const fs::path& path) {
  const std::string extension = path.extension().string();
  return extension == ".safetensors" || extension == ".json" || extension == ".gguf" || extension == ".jinja" ||
         extension == ".model" || extension == ".txt";
}

Status add_folder(const fs::path& folder, CloudWeights& weights) {
  std::error_code problem;
  std::vector<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(folder, problem)) {
    if (entry.is_regular_file(problem) && serves(entry.path())) paths.push_back(entry.path());
  }
  if (problem) return Error(Code::kNotFound, "cannot list ", folder.string(), ": ", problem.message());
  std::ranges::sort(paths);
  for (const fs::path& path : paths) weights.files.push_back(TRY(sum_file(path)));
  return {};
}

/// A single file, every part of a split one, or a folder with what serving needs.
Result<CloudWeights> local_weights(const std::string& model) {
  const LocalModel local = TRY(resolve_model(model, true));
  if (is_made_up(local.location)) {
    return Error(Code::kInvalidArgument, "model ", model,
                 " lies nowhere, so it cannot be uploaded; write it (commissure synth) and name the folder");
  }
  CloudWeights weights;
  weights.prefix = "models/" + folder_name(local.name);
  const std::string file = TRY(find_model_file(local.location));
  if (fs::path(file).extension() != ".gguf") {
    TRY(add_folder(fs::path(file).parent_path(), weights));
    return weights;
  }
  weights.file = file_name_of(file);
  const auto series = parse_series_name(weights.file);
  for (int part = 1; part <= (series ? series->count : 1); ++part) {
    weights.files.push_back(TRY(sum_file(series ? sibling_of(file, series->with_number(part)) : file)));
  }
  return weights;
}

/// Safetensors with what belongs to them; or one GGUF, whose name the hub tells.
Result<CloudWeights> hub_weights(const std::string& model, const std::string& revision) {
  const HubName name = parse_hub_name(model.substr(3));
  if (std::ranges::count(name.repo, '/') != 1) {
    return Error(Code::kInvalidArgument, "model \"", model, "\" is not of the form hf:OWNER/REPO");
  }
  CloudWeights weights;
  weights.source = WeightsSource::kHub;
  weights.repository = name.repo;
  weights.revision = revision.empty() ? "main" : revision;
  weights.prefix = "models/" + folder_name(weights.repository) + "-" + folder_name(weights.revision);
  weights.include = {"*.safetensors", "*.json", "*.jinja", "tokenizer.model"};
  if (name.quantisation.empty()) return weights;
  weights.include = TRY(list_gguf_on_hub(hub_request(model.substr(3), weights.revision)));
  weights.file = weights.include.front();
  weights.prefix += "-" + name.quantisation;
  return weights;
}

Result<CloudWeights> bucket_weights(const std::string& location) {
  CloudWeights weights;
  weights.source = WeightsSource::kBucket;
  const std::string rest = location.substr(5);
  const auto slash = rest.find('/');
  weights.bucket = rest.substr(0, slash);
  weights.prefix = slash == std::string::npos ? "" : rest.substr(slash + 1);
  while (weights.prefix.ends_with('/')) weights.prefix.pop_back();
  if (weights.prefix.ends_with(".gguf") || weights.prefix.ends_with(".safetensors")) {
    const auto last = weights.prefix.rfind('/');
    weights.file = weights.prefix.substr(last == std::string::npos ? 0 : last + 1);
    weights.prefix.resize(last == std::string::npos ? 0 : last);
  }
  if (weights.bucket.empty() || weights.prefix.empty()) {
    return Error(Code::kInvalidArgument, location,
                 ": the model must lie in a folder of the bucket, gs://bucket/folder");
  }
  return weights;
}

}  // namespace

Result<CloudWeights> plan_weights(const std::string& model, const std::string& revision, const std::string& bucket) {
  if (model.starts_with("gs://")) return bucket_weights(model);
  CloudWeights weights;
  if (model.starts_with("hf:")) {
    weights = TRY(hub_weights(model, revision));
  } else if (is_url(model)) {
    weights.source = WeightsSource::kUrl;
    weights.repository = model;
    weights.file = file_name_of(model);
    weights.prefix = "models/" + folder_name(weights.file);
    if (!weights.file.ends_with(".gguf") || !is_plain_file_name(weights.file)) {
      return Error(Code::kInvalidArgument, "model \"", model, "\" is not the URL of one .gguf file");
    }
  } else {
    weights = TRY(local_weights(model));
  }
  weights.bucket = bucket;
  return weights;
}

}  // namespace commissure
