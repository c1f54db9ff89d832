#include "hub/hub_name.h"

#include <algorithm>
#include <cctype>
#include <regex>
#include <set>

#include "weights/location.h"

namespace commissure {

namespace {

std::string upper(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text;
}

/// The path without ".gguf" and the number of a part.
std::string stem_of(const std::string& path) {
  const auto series = parse_series_name(path);
  return series ? series->prefix : path.substr(0, path.rfind('.'));
}

}  // namespace

HubName parse_hub_name(const std::string& name) {
  const auto colon = name.find(':');
  if (colon == std::string::npos) return {name, ""};
  return {name.substr(0, colon), upper(name.substr(colon + 1))};
}

std::string quantisation_of(const std::string& path) {
  static const std::regex kEnd("[-._]((UD-)?(I?Q[0-9][0-9A-Z_]*|BF16|F16|F32))$");
  if (!path.ends_with(".gguf") || path.find("mmproj") != std::string::npos) return "";
  std::smatch found;
  const std::string stem = upper(stem_of(path));
  return std::regex_search(stem, found, kEnd) ? found[1].str() : "";
}

Result<std::vector<std::string>> choose_quantisation(const std::string& repo, const std::vector<std::string>& paths,
                                                     const std::string& wanted) {
  if (wanted.ends_with(".GGUF")) {  // a file, by its name
    const auto named = std::ranges::find_if(paths, [&](const std::string& path) {
      const std::string name = upper(path);
      return name == wanted || name.ends_with("/" + wanted);
    });
    if (named == paths.end()) return Error(Code::kInvalidArgument, repo, " holds no file ", wanted);
    return std::vector<std::string>{*named};
  }
  std::vector<std::string> chosen;
  std::set<std::string> there, stems;
  for (const std::string& path : paths) {
    const std::string quantisation = quantisation_of(path);
    if (quantisation.empty()) continue;
    there.insert(quantisation);
    if (quantisation != wanted) continue;
    chosen.push_back(path);
    stems.insert(stem_of(path));
  }
  std::string names;
  for (const std::string& name : there) names += (names.empty() ? "" : ", ") + name;
  if (there.empty()) return Error(Code::kInvalidArgument, repo, " holds no GGUF file that names its quantisation");
  if (chosen.empty()) {
    return Error(Code::kInvalidArgument, repo, " holds ", wanted.empty() ? "GGUF files" : "no " + wanted,
                 "; choose one with hf:", repo, ":QUANTISATION; there are: ", names);
  }
  if (stems.size() > 1) return Error(Code::kInvalidArgument, repo, " holds several files of ", wanted);
  std::ranges::sort(chosen);
  return chosen;
}

}  // namespace commissure
