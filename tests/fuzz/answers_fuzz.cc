// What other people's servers answer. The first byte names the reader, so that a seed says what it is.

#include <algorithm>
#include <chrono>

#include "client/event_reader.h"
#include "core/json.h"
#include "fuzz/fuzz.h"
#include "hub/hub_answers.h"
#include "hub/hub_name.h"
#include "measure/metrics_text.h"
#include "net/jwks.h"
#include "net/metadata_answers.h"
#include "weights/location.h"
#include "weights/storage_answers.h"

namespace {

using namespace commissure;
using fuzz::is_accepted;

constexpr std::chrono::system_clock::time_point kNow{std::chrono::hours(500'000)};

bool is_visible(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7f; });
}

/// A JSON text prints and parses again as the same value, whatever was in it.
void check_json(std::string_view text) {
  const auto json = parse_json(text);
  if (!is_accepted(json)) return;
  const auto again = parse_json(dump_json(*json));
  CHECK(again.has_value() && dump_json(*again) == dump_json(*json));
  CHECK(parse_json(pretty_json(*json)).has_value());
}

void check_token(std::string_view text) {
  const auto token = parse_jwt(text);
  if (!is_accepted(token)) return;
  CHECK(token->claims.is_object() && text.starts_with(token->signed_part + "."));
  (void)token->expires();
  (void)token->text("aud");
}

/// A key set, and a token that is signed by none of its keys.
void check_key_set(std::string_view text) {
  const auto [set, token_text] = fuzz::two_texts(text);
  const auto keys = Jwks::parse(set);
  const auto token = parse_jwt(token_text);
  if (is_accepted(keys) && token) (void)is_accepted(keys->verify(*token));
}

/// The token goes into a header field.
void check_access_token(std::string_view text) {
  const auto token = read_access_token(std::string(text), kNow);
  if (is_accepted(token)) CHECK(!token->text.empty() && is_visible(token->text) && token->expires >= kNow);
}

void check_identity_token(std::string_view text) {
  const auto token = read_identity_token(std::string(text), kNow);
  if (is_accepted(token)) CHECK(is_visible(token->text) && parse_jwt(token->text).has_value());
}

void check_commit(std::string_view text) {
  const auto json = parse_json(text);
  if (!json) return;
  const auto commit = read_commit("owner/repo", *json);
  if (is_accepted(commit)) CHECK(is_visible(*commit) && commit->find_first_of("/?#%.") == commit->npos);
}

/// The list, and the quantisation that a person wants from it.
void check_tree(std::string_view text) {
  const auto [list, wanted] = fuzz::two_texts(text);
  const auto json = parse_json(list);
  if (!json) return;
  const auto files = read_file_list("owner/repo", *json);
  if (!is_accepted(files)) return;
  std::vector<std::string> paths;
  for (const HubFile& file : *files) {
    CHECK(is_safe_path(file.path));
    paths.push_back(file.path);
    if (const auto series = parse_series_name(file.path)) CHECK(series->with_number(series->number) == file.path);
  }
  const auto chosen =
      choose_quantisation("owner/repo", paths, parse_hub_name("o/r:" + std::string(wanted)).quantisation);
  if (!chosen) return;
  for (const std::string& path : *chosen) CHECK(std::ranges::find(paths, path) != paths.end());
}

void check_object_facts(std::string_view text) {
  const auto json = parse_json(text, 16);
  if (!json) return;
  const auto facts = read_object_facts(*json, "gs://b/o");
  if (is_accepted(facts)) CHECK(facts->size > 0);
}

void check_object_page(std::string_view text) {
  const auto json = parse_json(text, 16);
  if (!json) return;
  const auto page = read_object_page(*json, "m/");
  for (const std::string& file : page.files) CHECK(is_plain_file_name(file));
}

void check_content_range(std::string_view text) {
  const auto range = parse_content_range(text);
  if (range) CHECK(range->first < range->size);
}

/// The events are the same however the stream was cut.
void check_events(std::string_view text) {
  if (text.empty()) return;
  const std::size_t piece = 1 + static_cast<unsigned char>(text[0]) % 32;
  text.remove_prefix(1);
  const auto read = [&](std::size_t n) {
    std::string all;
    EventReader reader([&](const Json& event) -> Status {
      all += dump_json(event) + choice_text(event, true) + "\n";
      return {};
    });
    for (std::size_t at = 0; at < text.size(); at += n) {
      if (const Status status = reader.push(text.substr(at, n)); !status) {
        fuzz::check_refusal(status.error());
        return all + "refused";
      }
    }
    return all;
  };
  CHECK(read(text.size() + 1) == read(piece));
}

void check_metrics(std::string_view text) {
  const MetricsText page(text);
  (void)page.sum("a", {{"le", "1"}});
  (void)histogram_quantile({}, page.buckets("a"), 0.5);
}

constexpr std::pair<char, void (*)(std::string_view)> kReaders[] = {
    {'j', check_json},           {'w', check_token},         {'k', check_key_set}, {'a', check_access_token},
    {'i', check_identity_token}, {'c', check_commit},        {'t', check_tree},    {'o', check_object_facts},
    {'l', check_object_page},    {'r', check_content_range}, {'e', check_events},  {'m', check_metrics}};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return fuzz::dispatch(kReaders, data, size);
}
