#include "hub/hub_name.h"

#include <algorithm>
#include <cctype>
#include <set>
#include <string_view>

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

bool is_kind_letter(char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || c == '_'; }

/// Whether a word of such letters is a quantisation: "Q4_K_M", "IQ2_XXS", "BF16".
bool is_kind(std::string_view word) {
  if (word == "BF16" || word == "F16" || word == "F32") return true;
  if (word.starts_with('I')) word.remove_prefix(1);
  return word.size() >= 2 && word[0] == 'Q' && word[1] >= '0' && word[1] <= '9';
}

}  // namespace

HubName parse_hub_name(const std::string& name) {
  const auto colon = name.find(':');
  if (colon == std::string::npos) return {name, ""};
  return {name.substr(0, colon), upper(name.substr(colon + 1))};
}

std::string quantisation_of(const std::string& path) {
  if (!path.ends_with(".gguf") || path.find("mmproj") != std::string::npos) return "";
  const std::string stem = upper(stem_of(path));
  // Its letters go to the end of the stem; of several beginnings the first one counts ("Q4_F16" is one name).
  std::size_t first = stem.size();
  while (first > 0 && is_kind_letter(stem[first - 1])) --first;
  for (std::size_t at = first; at < stem.size(); ++at) {
    const bool begins = at > 0 && std::string_view("-._").find(stem[at - 1]) != std::string_view::npos;
    if (!begins || !is_kind(std::string_view(stem).substr(at))) continue;
    const bool is_dynamic = at >= 4 && stem.compare(at - 3, 3, "UD-") == 0 &&
                            std::string_view("-._").find(stem[at - 4]) != std::string_view::npos;
    return stem.substr(is_dynamic ? at - 3 : at);
  }
  return "";
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
