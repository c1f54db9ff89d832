#include "verify/verify_report.h"

#include <fmt/format.h>

#include <algorithm>

namespace commissure {

namespace {

constexpr std::size_t kLabelWidth = 46;

std::string cell(const VerifyColumn& column, std::size_t i) {
  if (!column.skipped.empty()) return "-";
  return column.differences[i] ? "DIFFERS" : "same";
}

/// The place of the first difference: the lowest layer, and of that the first step.
struct Place {
  std::size_t layer;
  int position;
};

Result<std::optional<Place>> first_place(const std::vector<VerifyAnswer::Step>& expected,
                                         const std::vector<VerifyAnswer::Step>& found) {
  std::optional<Place> place;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const auto& a = expected[i].checksums;
    const auto& b = found[i].checksums;
    if (a.size() != b.size()) {
      return Error(Code::kDataLoss, "the chain sent ", b.size(), " checksums for a model of ", a.size(), " layers");
    }
    const std::size_t layer = std::mismatch(a.begin(), a.end(), b.begin()).first - a.begin();
    if (layer < a.size() && (!place || layer < place->layer)) place = Place{layer, found[i].position};
  }
  return place;
}

}  // namespace

int VerifyColumn::first_difference() const {
  const auto it = std::find_if(differences.begin(), differences.end(), [](const auto& d) { return d.has_value(); });
  return it == differences.end() ? -1 : static_cast<int>(it - differences.begin());
}

VerifyColumn compare_all(const char* name, const std::vector<VerifyCase>& cases,
                         const std::vector<VerifyAnswer>& expected, const std::vector<VerifyAnswer>& found,
                         const VerifyTolerance& tolerance) {
  VerifyColumn column{name};
  for (std::size_t i = 0; i < expected.size(); ++i) {
    column.differences.push_back(difference(cases[i], expected[i], found[i], tolerance));
    column.largest_gap = std::max(column.largest_gap, largest_gap(expected[i], found[i]));
  }
  return column;
}

std::string verify_table(const std::vector<VerifyCase>& cases, const std::vector<VerifyAnswer>& expected,
                         const std::vector<VerifyColumn>& columns) {
  std::string text = fmt::format("{:<{}}{:>11}", "prompt", kLabelWidth, "tokens");
  for (const VerifyColumn& column : columns) text += fmt::format("{:>10}", column.name);
  text += '\n';
  for (std::size_t i = 0; i < cases.size(); ++i) {
    text += fmt::format("{}{:>11}", cases[i].label(kLabelWidth, true),
                        fmt::format("{} + {}", cases[i].prompt.size(), expected[i].tokens.size()));
    for (const VerifyColumn& column : columns) text += fmt::format("{:>10}", cell(column, i));
    text += '\n';
  }
  return text;
}

Json verify_json(const std::vector<VerifyCase>& cases, const std::vector<VerifyAnswer>& expected,
                 const std::vector<VerifyColumn>& columns) {
  Json list = Json::array();
  for (std::size_t i = 0; i < cases.size(); ++i) {
    Json entry = {{"prompt", cases[i].text},
                  {"sampled", cases[i].sampled},
                  {"prompt_tokens", cases[i].prompt.size()},
                  {"completion_tokens", expected[i].tokens.size()}};
    for (const VerifyColumn& column : columns) {
      if (!column.skipped.empty()) {
        entry[column.name] = nullptr;
      } else {
        entry[column.name] = column.differences[i] ? *column.differences[i] : "same";
      }
    }
    list.push_back(std::move(entry));
  }
  return list;
}

Result<std::string> locate_difference(ReferenceModel& reference, const std::vector<VerifiedStage>& stages,
                                      const VerifyCase& asked, const VerifyAnswer& found) {
  std::vector<TokenId> tokens = asked.prompt;
  tokens.insert(tokens.end(), found.tokens.begin(), found.tokens.end());
  std::vector<VerifyAnswer::Step> expected = found.steps;
  TRY(reference.sum_layers(tokens, expected));
  const auto place = TRY(first_place(expected, found.steps));
  if (!place) {
    return fmt::format("every layer agrees: the difference is in the head or the sampler of stage {}",
                       stages.back().name);
  }
  const auto layer = static_cast<int>(place->layer);
  for (const VerifiedStage& stage : stages) {
    if (layer < stage.first_layer || layer >= stage.last_layer) continue;
    return fmt::format(
        "the first layer that differs is layer {}, on stage {} (layers {}-{}), in the rows from position {}", layer,
        stage.name, stage.first_layer, stage.last_layer - 1, place->position);
  }
  return fmt::format("the first layer that differs is layer {}", layer);
}

bool was_replayed(const VerifyAnswer& answer) {
  int n_computed = 0;
  for (const VerifyAnswer::Step& step : answer.steps) {
    if (step.position < n_computed) return true;
    n_computed = std::max(n_computed, step.position + step.n_rows);
  }
  return false;
}

}  // namespace commissure
